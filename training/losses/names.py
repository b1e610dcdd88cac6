# SPDX-License-Identifier: MIT
"""Losses by name, as configurations and the command line ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType

from ...errors import InputError
from .classification import BinaryCrossEntropy, CrossEntropy, SoftCrossEntropy
from .combined import DiceBinaryCrossEntropy, DiceCrossEntropy, Minimize, NoLoss
from .focal import Focal
from .hinge import Hinge, MultiClassHinge
from .loss import Loss
from .overlap import Dice, GeneralizedDice, Tversky
from .regression import (
    Huber,
    MeanAbsoluteError,
    MeanRelativeError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
)

LOSSES: Mapping[str, type[Loss]] = MappingProxyType(
    {
        loss.name: loss
        for loss in (
            CrossEntropy,
            SoftCrossEntropy,
            BinaryCrossEntropy,
            Focal,
            Dice,
            GeneralizedDice,
            Tversky,
            DiceCrossEntropy,
            DiceBinaryCrossEntropy,
            MeanSquaredError,
            MeanAbsoluteError,
            MeanRelativeError,
            MeanSquaredLogarithmicError,
            Huber,
            Hinge,
            MultiClassHinge,
            Minimize,
            NoLoss,
        )
    }
)
"""Every loss that has defaults for all its options, by its name."""


def loss_named(name: str, **options: object) -> Loss:
    """Return a loss by its name.

    Args:
        name: such as ``cross_entropy`` (also ``categorical_cross_entropy``) or ``mse``.
        options: fields of the loss.

    Raises:
        InputError: there is no such loss or option; the message lists what there is.

    >>> loss_named("huber", delta=0.5)
    Huber(reduction='mean', delta=0.5)
    """
    found = "cross_entropy" if name == "categorical_cross_entropy" else name
    if found not in LOSSES:
        raise InputError(f"there is no loss '{name}'; there are: {', '.join(sorted(LOSSES))}")
    kind = LOSSES[found]
    known = [f.name for f in fields(kind)]
    for option in options:
        if option not in known:
            listed = ", ".join(known) or "none"
            raise InputError(f"loss '{name}' has no option '{option}'; it has: {listed}")
    return kind(**options)
