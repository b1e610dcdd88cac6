# SPDX-License-Identifier: MIT
"""Targets looked at on the host, before a graph takes them in without a word."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import InputError
from ..ir import Array
from .losses import check_batch
from .scores import only


def check_targets(
    loss: object,
    shapes: Mapping[str, tuple[int, ...]],
    targets: Mapping[str, Array],
    samples: Array | None,
) -> None:
    """Raise if labels are no classes, masks not from 0 to 1, or numbers not finite.

    What is checked is what the losses of :mod:`ranvier.training.losses` ask for; functions of
    one's own know what they take.

    Args:
        loss: that the targets are for.
        shapes: of the model's outputs, by name.
        targets: of a batch, by name.
        samples: numbers of the batch's samples in their dataset.

    Raises:
        InputError: the message names the sample and the place.
    """
    if not hasattr(loss, "check_batch") or not targets:
        return
    check_batch(loss, only(shapes), only(targets), samples)
    for name, target in targets.items():
        if target.dtype.kind == "f" and not np.isfinite(target).all():
            row = int(np.argmin(np.isfinite(target).reshape(len(target), -1).all(axis=1)))
            named = f"sample {row} of the batch" if samples is None else f"sample {samples[row]}"
            raise InputError(f"target '{name}': {named} holds a NaN or an infinity")


__all__ = ["check_targets"]
