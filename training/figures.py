# SPDX-License-Identifier: MIT
"""Named numbers of a training run, and how they are written where NaN has no place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from ..errors import TrainingError

Figures: TypeAlias = Mapping[str, float]
"""Loss, metrics, ``val_`` metrics, ``learning_rate``, ``grad_norm``, ``seconds``, ``samples``."""

Mode: TypeAlias = Literal["min", "max"]
"""Whether less or more of a figure is better."""

JSON: TypeAlias = "bool | int | float | str | list[Any] | dict[str, Any] | None"
"""What ``json`` reads and writes."""

VALIDATION = "val_"
"""How names of figures of the validation data begin."""

_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def to_json(value: float) -> float | str:
    """Return a number as JSON has it; NaN and infinities, which it lacks, as words.

    >>> [to_json(x) for x in (0.5, math.nan, -math.inf)]
    [0.5, 'nan', '-inf']
    """
    number = float(value)
    return number if math.isfinite(number) else str(number)


def from_json(value: object, where: str) -> float:
    """Return the number that ``to_json`` wrote.

    >>> from_json("inf", "loss")
    inf

    Raises:
        TrainingError: it is not a number.
    """
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise TrainingError(f"{where}: expected a number, 'nan', 'inf' or '-inf', found {value!r:.80}")


def figure(figures: Figures, name: str, who: str) -> float:
    """Return the figure called ``name``.

    Raises:
        TrainingError: there is none; the message lists those that there are.
    """
    if name not in figures:
        known = ", ".join(figures) or "none"
        raise TrainingError(
            f"{who} watches {name!r}, but the figures of the epoch are: {known}; choose one of "
            f"these, or give validation data or the metric that reports it"
        )
    return float(figures[name])


def improves(value: float, best: float | None, mode: Mode, margin: float = 0.0) -> bool:
    """Return whether ``value`` is better than ``best`` by more than ``margin``; NaN never is.

    >>> improves(0.5, 0.6, "min"), improves(0.5, 0.6, "max"), improves(math.nan, None, "min")
    (True, False, False)
    """
    if math.isnan(value):
        return False
    if best is None:
        return True
    return value < best - margin if mode == "min" else value > best + margin


def check_mode(mode: str, who: str) -> None:
    """Check that ``mode`` says which way is better.

    Raises:
        TrainingError: it is neither ``min`` nor ``max``.
    """
    if mode not in {"min", "max"}:
        raise TrainingError(f"{who}: mode={mode!r}, expected 'min' or 'max'")


def check_count(value: int, name: str, who: str) -> None:
    """Check that an argument is a whole number of at least one.

    Raises:
        TrainingError: it is not.
    """
    if type(value) is not int or value < 1:
        raise TrainingError(f"{who}: {name}={value!r}, expected a whole number of at least 1")
