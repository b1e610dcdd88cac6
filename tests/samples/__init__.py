# SPDX-License-Identifier: MIT
"""Small operands for every op; the op contract is checked on all of them."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Any

from ranvier.ir import Array, Op


@dataclass(frozen=True)
class Sample:
    """An op applied to operands that show what is particular about it.

    Attributes:
        op: the op with its attributes.
        inputs: operands; lists are sequences and ``None`` an absent optional, as in `evaluate`.
        label: tells several samples of one op apart.
        rtol: relative tolerance of compiled against evaluated values.
        atol: absolute tolerance of compiled against evaluated values.
        gradient: whether the op has a gradient; with `False` its `vjp` must refuse, with `None`
            it has one that differences do not show at these operands (a kink, NaN).
    """

    op: Op
    inputs: tuple[Array | list[Any] | None, ...]
    label: str = ""
    rtol: float = 1e-5
    atol: float = 1e-6
    gradient: bool | None = True

    def __str__(self) -> str:
        return f"{self.op.name}-{self.label}" if self.label else self.op.name


def all_samples() -> list[Sample]:
    """Return the `SAMPLES` of every module of this folder, in the order of the modules' names."""
    modules = sorted(info.name for info in pkgutil.iter_modules(__path__))
    return [s for name in modules for s in importlib.import_module(f"{__name__}.{name}").SAMPLES]
