# SPDX-License-Identifier: MIT
"""Every op, by family; importing this package fills the registry."""

from .activation import *
from .arithmetic import *
from .attention import *
from .cast import *
from .comparison import *
from .control import *
from .convolution import *
from .decomposition import *
from .deformable import *
from .elementary import *
from .fused import *
from .gather import *
from .grid_sampling import *
from .host import *
from .imported import *
from .linear import *
from .lookup import *
from .loss import *
from .max_pooling import *
from .moments import *
from .normalization import *
from .quantization import *
from .random import *
from .recurrent import *
from .reduction import *
from .region import *
from .resampling import *
from .sampling import *
from .shape import *
from .signal import *
from .softmax import *
from .sorting import *
from .text import *
from .training import *
from .window import *
