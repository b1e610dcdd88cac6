# SPDX-License-Identifier: MIT
"""Targets: what a device can run, how kernels are scheduled and built for it."""

from .base import Target
from .registry import parse_target

__all__ = ["Target", "parse_target"]
