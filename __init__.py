# SPDX-License-Identifier: MIT
"""ranvier: a graph compiler and runtime for medical deep learning."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import backend as backend
    from . import errors as errors
    from . import training as training
    from .compiler import Session as Session
    from .compiler import compile as compile
    from .runtime import Artifact as Artifact
    from .training import Trainer as Trainer

__version__ = "0.1.0"

# Name -> module that holds it, or "" when the name is itself a submodule. Resolved on first
# use, so that importing `ranvier.runtime` to run an artifact loads neither onnx nor a compiler.
_LAZY = {
    "Artifact": "runtime",
    "Session": "compiler",
    "Trainer": "training",
    "backend": "",
    "compile": "compiler",
    "errors": "",
    "training": "",
}

__all__ = [
    "Artifact",
    "Session",
    "Trainer",
    "__version__",
    "backend",
    "compile",
    "errors",
    "training",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_LAZY[name] or name}", __name__)
    value = getattr(module, name) if _LAZY[name] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
