# SPDX-License-Identifier: MIT
"""The passes that take a graph from one level to the next, in order."""

from __future__ import annotations

CANONICAL: tuple[str, ...] = (
    "eliminate-dead-nodes",
    "canonicalise",
    "fold-constants",
    "eliminate-common-subexpressions",
    "canonicalise",
    "fold-normalization",
    "recognise-composites",
    "canonicalise",
    "eliminate-common-subexpressions",
)
"""From what the frontend converted to one form per idea.

Same for every target, but that ``recognise-composites`` takes ``attention=False`` for targets
that have no kernel for it.
"""

TARGET_READY: tuple[str, ...] = (
    "split-normalization",
    "expand-composites",
    "split-sums",
    "canonicalise",
    "push-slices-up",
    "fold-constants",
    "fold-normalization",
    "pool-before-pointwise",
    "canonicalise",
    "eliminate-common-subexpressions",
    "partition",
    "fuse",
    "rematerialise",
)
"""From a canonical graph to kernels.

Options say what the target can do: ``expand-composites`` takes ``keep``, ``partition`` and
``fuse`` take ``supports``. ``rematerialise`` keeps everything unless it is asked to.
"""

TRAINING: tuple[str, ...] = (
    "use-batch-statistics",
    "use-dropout",
    "differentiate",
)
"""From what a graph computes to what it learns by; unlike the others, these add outputs."""
