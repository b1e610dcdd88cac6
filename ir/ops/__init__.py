# SPDX-License-Identifier: MIT
"""Every op, by family; importing this package fills the registry."""

from .arithmetic import *
from .comparison import *
from .control import *
from .elementary import *
from .fused import *
from .imported import *
from .reduction import *
from .shape import *
