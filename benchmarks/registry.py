# SPDX-License-Identifier: MIT
"""Every engine by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from .engines import Engine, OnnxRuntime, OpenVino, Ranvier, UnoptimisedOnnxRuntime
from .exact import ExactInterpreter
from .own_engines import RanvierArtifact, RanvierBound
from .torch_engines import TorchCompile, TorchDouble, TorchEager
from .training_engines import CompiledTorchTraining, RanvierTraining, TorchTraining

Work = Literal["run", "train"]
"""What an engine does with a case: runs the model, or takes steps of training."""

ENGINES: tuple[Engine, ...] = (
    Ranvier(),
    OnnxRuntime(),
    OpenVino(),
    TorchEager(),
    TorchCompile(),
)
"""Those that are timed, in the order of tables."""

REFERENCES: tuple[Engine, ...] = (TorchDouble(), ExactInterpreter(), UnoptimisedOnnxRuntime())
"""Those that others are compared with, the most exact first."""

OTHERS: tuple[Engine, ...] = (RanvierArtifact(), RanvierBound())
"""Other ways to run ranvier, for questions of memory, loading and overhead."""


TRAINING_ENGINES: tuple[Engine, ...] = (
    RanvierTraining(),
    TorchTraining(),
    TorchTraining(channels_last=True),
    CompiledTorchTraining(),
    CompiledTorchTraining(channels_last=True),
)
"""Those whose steps of training are timed; torch in both layouts, as neither is always faster."""

TRAINING_REFERENCES: tuple[Engine, ...] = (TorchTraining(double=True),)
"""Those whose losses others are compared with."""

REFERENCES_OF: Mapping[Work, Sequence[Engine]] = {"run": REFERENCES, "train": TRAINING_REFERENCES}


def engine_named(name: str, work: str = "run") -> Engine:
    """Return an engine.

    Raises:
        KeyError: there is none of this name.
    """
    trained = (*TRAINING_ENGINES, *TRAINING_REFERENCES)
    engines = trained if work == "train" else (*ENGINES, *REFERENCES, *OTHERS)
    return {engine.name: engine for engine in engines}[name]
