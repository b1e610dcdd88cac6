# SPDX-License-Identifier: MIT
"""Learning: losses, metrics, optimizers, data and the loop that trains a graph.

Names are loaded when they are first used: data and metrics need neither compiler nor onnx.

>>> from ranvier.training import SGD, DataLoader, losses
>>> losses.CrossEntropy(label_smoothing=0.1).name, SGD(0.1).learning_rate
('cross_entropy', 0.1)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import data as data
    from . import losses as losses
    from . import metrics as metrics
    from . import optimizers as optimizers
    from . import schedules as schedules
    from .callbacks import Callback as Callback
    from .callbacks import Checkpoints as Checkpoints
    from .callbacks import EarlyStopping as EarlyStopping
    from .callbacks import OnEpochEnd as OnEpochEnd
    from .data import ArrayDataset as ArrayDataset
    from .data import DataLoader as DataLoader
    from .groups import ClipNorm as ClipNorm
    from .groups import ClipValue as ClipValue
    from .groups import Group as Group
    from .kpis import Kpis as Kpis
    from .logs import CSVLog as CSVLog
    from .logs import JSONLog as JSONLog
    from .logs import TensorBoardLog as TensorBoardLog
    from .optimizers import LAMB as LAMB
    from .optimizers import LARS as LARS
    from .optimizers import SGD as SGD
    from .optimizers import Adadelta as Adadelta
    from .optimizers import Adagrad as Adagrad
    from .optimizers import Adam as Adam
    from .optimizers import Adamax as Adamax
    from .optimizers import AdamW as AdamW
    from .optimizers import AMSGrad as AMSGrad
    from .optimizers import NAdam as NAdam
    from .optimizers import RMSprop as RMSprop
    from .progress import Progress as Progress
    from .report import TrainingReport as TrainingReport
    from .report import write_report as write_report
    from .trainer import Options as Options
    from .trainer import Trainer as Trainer
    from .update import Average as Average

_NAMES = {
    "callbacks": ("Callback", "Checkpoints", "EarlyStopping", "OnEpochEnd"),
    "data": ("ArrayDataset", "DataLoader"),
    "groups": ("ClipNorm", "ClipValue", "Group"),
    "kpis": ("Kpis",),
    "logs": ("CSVLog", "JSONLog", "TensorBoardLog"),
    "optimizers": (
        "LAMB", "LARS", "SGD", "AMSGrad", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax",
        "NAdam", "RMSprop",
    ),
    "progress": ("Progress",),
    "report": ("TrainingReport", "write_report"),
    "trainer": ("Options", "Trainer"),
    "update": ("Average",),
}  # fmt: skip
_MODULES = ("data", "losses", "metrics", "optimizers", "schedules")
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [  # noqa: PLE0604 - a list of texts, put together from the table
    *sorted(_HOME),
    *_MODULES,
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
