# SPDX-License-Identifier: MIT
"""Cross entropy of scores and labels as one op, which keeps its kernels and gradients whole."""

from __future__ import annotations

from ...ir import ops
from .tensor import Layer, Tensor


def cross_entropy(
    scores: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Return ``-weights[label] * log_softmax(scores)[label]``, reduced.

    A label that is no class adds nothing, like ``ignore_index``.

    Args:
        scores: (N, C, D1, ...).
        labels: integers (N, D1, ...).
        weights: one per class (C).
        reduction: ``none``, ``sum``, or ``mean``: the sum divided by the weights of the labels
            that are not ignored.
        ignore_index: label of elements that do not count.
        name: of the layer.

    Raises:
        LayerError: types or shapes do not fit.

    >>> from ranvier.frontend import builder as nn
    >>> scores, labels = nn.input("scores", (8, 3)), nn.input("labels", (8,), "int64")
    >>> nn.cross_entropy(scores, labels).shape
    ()
    """
    extra = () if weights is None else (weights,)
    op = ops.SoftmaxCrossEntropy(reduction, ignore_index)
    return Layer.begin("cross_entropy", name).apply(op, scores, labels, *extra)
