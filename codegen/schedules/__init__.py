# SPDX-License-Identifier: MIT
"""Schedules per target: how the loops of a kernel are ordered, split and bound."""
