# SPDX-License-Identifier: MIT
"""Every engine by name."""

from __future__ import annotations

from .engines import Engine, OnnxRuntime, OpenVino, Ranvier, UnoptimisedOnnxRuntime
from .exact import ExactInterpreter
from .own_engines import RanvierArtifact, RanvierBound
from .torch_engines import TorchCompile, TorchDouble, TorchEager

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


def engine_named(name: str) -> Engine:
    """Return an engine.

    Raises:
        KeyError: there is none of this name.
    """
    return {engine.name: engine for engine in (*ENGINES, *REFERENCES, *OTHERS)}[name]
