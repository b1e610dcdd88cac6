# SPDX-License-Identifier: MIT
"""Every op, by family; importing this package fills the registry."""

from .arithmetic import *
from .imported import *
