# SPDX-License-Identifier: MIT
"""Targets: what a device can run, how kernels are scheduled and built for it."""

from .base import Target
from .registry import parse_target, parse_targets

__all__ = ["Target", "parse_target", "parse_targets"]
