# SPDX-License-Identifier: MIT
"""Every op, by family; importing this package fills the registry."""

from .imported import *
