# SPDX-License-Identifier: MIT
"""Targets looked at on the host, before a graph takes them in without a word."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from ..errors import InputError
from ..ir import Array
from .losses import Loss, check_labels


def check_targets(
    loss: object,
    shapes: Mapping[str, tuple[int, ...]],
    targets: Mapping[str, Array],
    samples: Array | None,
) -> None:
    """Raise if labels are no classes or numbers are not finite.

    What is checked is the target of a model with one output, for a loss of
    :mod:`ranvier.training.losses`; functions of one's own know what they take.

    Args:
        loss: that the targets are for.
        shapes: of the model's outputs, by name.
        targets: of a batch, by name.
        samples: numbers of the batch's samples in their dataset.

    Raises:
        InputError: the message names the sample and the place.
    """
    if not isinstance(loss, Loss) or len(shapes) != 1 or len(targets) != 1:
        return
    (shape,), (target,) = shapes.values(), targets.values()
    if is_labels(shape, target.shape):
        check_labels(target, shape[1], _ignored(loss), samples)
    elif target.dtype.kind == "f" and not np.isfinite(target).all():
        row = int(np.argmin(np.isfinite(target).reshape(len(target), -1).all(axis=1)))
        which = f"sample {row} of the batch" if samples is None else f"sample {int(samples[row])}"
        raise InputError(f"targets: {which} holds a NaN or an infinity")


def is_labels(outputs: tuple[int, ...], targets: tuple[int, ...]) -> bool:
    """Whether targets of this shape are labels of outputs (N, C, spatial...).

    >>> is_labels((8, 3, 32, 32), (8, 32, 32)), is_labels((8, 1), (8, 1))
    (True, False)
    """
    if len(outputs) < 2 or outputs[1] < 2:
        return False
    batch, _, *spatial = outputs
    return targets in ((batch, *spatial), (batch, 1, *spatial))


def _ignored(loss: object) -> int | None:
    """Return the label that a loss, or one that it is made of, leaves out."""
    return next((k for k in _ignored_by(loss) if k is not None), None)


def _ignored_by(loss: object) -> Iterator[int | None]:
    yield getattr(loss, "ignore_index", None)
    if dataclasses.is_dataclass(loss):
        for part in dataclasses.fields(loss):
            value = getattr(loss, part.name)
            for member in value if isinstance(value, tuple) else (value,):
                if isinstance(member, Loss):
                    yield from _ignored_by(member)


__all__ = ["check_targets", "is_labels"]
