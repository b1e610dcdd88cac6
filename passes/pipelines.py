# SPDX-License-Identifier: MIT
"""The passes in the order in which the compiler runs them."""

from __future__ import annotations

CANONICAL: tuple[str, ...] = ("eliminate-dead-nodes",)
"""From a specialised graph to one form per idea; options: none."""

TARGET_READY: tuple[str, ...] = (
    "expand-composites",
    "eliminate-dead-nodes",
    "fuse",
)
"""From a canonical graph to kernels; options ``keep`` and ``supports`` come from the target."""
