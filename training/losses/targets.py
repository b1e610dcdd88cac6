# SPDX-License-Identifier: MIT
"""The forms that targets come in, brought into the one that a loss computes with."""

from __future__ import annotations

from ...frontend import builder as nn
from ...frontend.builder import Tensor
from .loss import Loss


def check_scores(loss: Loss, outputs: Tensor) -> None:
    """Raise unless ``outputs`` are scores (N, C, spatial...) of two classes or more."""
    if outputs.rank < 2 or outputs.shape[1] < 2:
        raise loss.error(
            f"expected scores (N, C, spatial...) of two classes or more, found {outputs}; for "
            "one channel there is binary_cross_entropy"
        )


def holds_labels(outputs: Tensor, targets: Tensor) -> bool:
    """Whether targets are labels of the elements of ``outputs``, with or without a channel."""
    batch, channels, *spatial = outputs.shape
    return channels > 1 and targets.shape in ((batch, *spatial), (batch, 1, *spatial))


def labels(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return labels (N, spatial...) as int32 or int64.

    Args:
        loss: names the error.
        outputs: (N, C, spatial...), C > 1.
        targets: (N, spatial...) or (N, 1, spatial...) of any type; floats are whole numbers.

    Raises:
        LayerError: shapes do not fit.
    """
    if not holds_labels(outputs, targets):
        raise mismatch(loss, outputs, targets, one_hot=False)
    # int32 holds every label and costs half as much; wide types stay as they are.
    wide = "int64" if targets.dtype in ("int64", "uint32", "uint64") else "int32"
    whole = nn.cast(targets, wide)
    return nn.reshape(whole, _labels_shape(outputs)) if whole.rank == outputs.rank else whole


def aligned(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return targets in the shape and type of ``outputs``.

    Args:
        loss: names the error.
        outputs: any shape.
        targets: of this shape, or without the axis 1 of size 1 that it has.

    Raises:
        LayerError: shapes do not fit.
    """
    dense = nn.cast(targets, outputs.dtype)
    if targets.shape == outputs.shape:
        return dense
    if outputs.rank > 1 and outputs.shape[1] == 1 and targets.shape == _labels_shape(outputs):
        return nn.reshape(dense, outputs.shape)
    raise loss.error(f"targets must have the shape of the outputs {outputs}, found {targets}")


def dense(
    loss: Loss, outputs: Tensor, targets: Tensor, ignore_index: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """Return targets as numbers in the shape of ``outputs``, and where they count.

    Args:
        loss: names the error.
        outputs: (N, C, spatial...).
        targets: labels (N, 1?, spatial...) if C > 1, or one number per output: one-hot,
            probabilities, or several binary masks.
        ignore_index: label, or number, of elements that do not count.

    Returns:
        The targets, 0 where they do not count; and 1 where they count, in a shape that
        broadcasts to them, or ``None`` if all do.

    Raises:
        LayerError: shapes do not fit.
    """
    if outputs.rank < 2:
        raise loss.error(f"outputs must be (N, C, spatial...), found {outputs}")
    if holds_labels(outputs, targets):
        found = labels(loss, outputs, targets)
        hot = nn.one_hot(found, outputs.shape[1], dtype=outputs.dtype)
        if ignore_index is None:
            return hot, None
        row = nn.cast(nn.not_equal(found, ignore_index), outputs.dtype)
        row = nn.reshape(row, (outputs.shape[0], 1, *outputs.shape[2:]))
        return hot * row, row
    if targets.shape not in (outputs.shape, _labels_shape(outputs)):
        raise mismatch(loss, outputs, targets, one_hot=True)
    numbers = aligned(loss, outputs, targets)
    if ignore_index is None:
        return numbers, None
    counts = nn.not_equal(numbers, ignore_index)
    return nn.where(counts, numbers, 0), nn.cast(counts, outputs.dtype)


def mismatch(loss: Loss, outputs: Tensor, targets: Tensor, *, one_hot: bool) -> Exception:
    """Return the error that lists the shapes which fit."""
    batch, channels, *spatial = outputs.shape
    fitting = [[batch, *spatial], [batch, 1, *spatial]]
    if one_hot and channels > 1:
        fitting.append([batch, channels, *spatial])
    shapes = " or ".join(map(str, fitting))
    return loss.error(f"outputs {outputs} take targets of shape {shapes}, found {targets}")


def _labels_shape(outputs: Tensor) -> tuple[int, ...]:
    return (outputs.shape[0], *outputs.shape[2:])
