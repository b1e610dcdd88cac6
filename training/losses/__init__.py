# SPDX-License-Identifier: MIT
"""Losses: functions of builder tensors that return a scalar; see README.md.

A loss of one's own is a Python function, which is differentiated and compiled like the others:

>>> from ranvier.frontend import builder as nn
>>> def charbonnier(outputs, targets):
...     return nn.mean(nn.sqrt(nn.square(outputs - targets) + 1e-6))
>>> image, clean = nn.input("image", (1, 1, 8, 8)), nn.input("clean", (1, 1, 8, 8))
>>> loss = WeightedSum((charbonnier, MeanSquaredError()), (1.0, 0.1))
>>> nn.network("loss", [image, clean], {"loss": loss(image, clean)}).graph().outputs[0].type.shape
()
"""

from .classification import BinaryCrossEntropy, CrossEntropy, SoftCrossEntropy
from .combined import (
    DeepSupervision,
    DiceBinaryCrossEntropy,
    DiceCrossEntropy,
    Minimize,
    NoLoss,
    PerOutput,
    WeightedSum,
    check_batch,
)
from .focal import Focal
from .hinge import Hinge, MultiClassHinge
from .labels import check_labels, check_shares
from .loss import Loss, LossFunction
from .names import LOSSES, loss_named
from .overlap import Dice, GeneralizedDice, Tversky
from .regression import (
    Huber,
    MeanAbsoluteError,
    MeanRelativeError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
)

__all__ = [
    "LOSSES",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "DeepSupervision",
    "Dice",
    "DiceBinaryCrossEntropy",
    "DiceCrossEntropy",
    "Focal",
    "GeneralizedDice",
    "Hinge",
    "Huber",
    "Loss",
    "LossFunction",
    "MeanAbsoluteError",
    "MeanRelativeError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Minimize",
    "MultiClassHinge",
    "NoLoss",
    "PerOutput",
    "SoftCrossEntropy",
    "Tversky",
    "WeightedSum",
    "check_batch",
    "check_labels",
    "check_shares",
    "loss_named",
]
