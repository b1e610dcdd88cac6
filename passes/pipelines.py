# SPDX-License-Identifier: MIT
"""The passes that take a graph from one level to the next, in order."""

from __future__ import annotations

CANONICAL: tuple[str, ...] = (
    "eliminate-dead-nodes",
    "canonicalise",
    "fold-constants",
    "eliminate-common-subexpressions",
    "canonicalise",
)
"""From what the frontend converted to one form per idea; the same for every target."""

TARGET_READY: tuple[str, ...] = (
    "expand-composites",
    "canonicalise",
    "fold-constants",
    "eliminate-common-subexpressions",
    "fuse",
)
"""From a canonical graph to kernels. Options name what the target can do:
``expand-composites`` takes ``keep``, ``fuse`` takes ``supports``.
"""
