# SPDX-License-Identifier: MIT
"""Checks of hyperparameters, with messages that show ``name=value``."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from ..errors import InputError

_LEAST = 1e-30
"""Smaller numbers than this soon vanish in float32."""


def require(owner: object, allowed: bool, expected: str, **found: object) -> None:
    """Raise unless a hyperparameter is allowed.

    >>> require("sgd", False, "at least 0", momentum=-1)
    Traceback (most recent call last):
    ...
    ranvier.errors.InputError: sgd: momentum=-1 must be at least 0

    Raises:
        InputError: it is not.
    """
    if not allowed:
        ((name, value),) = found.items()
        raise InputError(f"{owner}: {name}={value!r} must be {expected}")


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def require_fraction(owner: object, **found: Any) -> None:
    """Raise unless numbers are at least 0 and below 1."""
    for name, value in found.items():
        allowed = is_number(value) and 0 <= value < 1
        require(owner, allowed, "a number from 0 to below 1", **{name: value})


def require_not_negative(owner: object, **found: Any) -> None:
    """Raise unless numbers are finite and at least 0."""
    for name, value in found.items():
        allowed = is_number(value) and value >= 0
        require(owner, allowed, "a finite number of at least 0", **{name: value})


def require_positive(owner: object, **found: Any) -> None:
    """Raise unless numbers are finite and more than 0 in float32."""
    for name, value in found.items():
        allowed = is_number(value) and value >= _LEAST
        require(owner, allowed, f"a finite number of at least {_LEAST:g}", **{name: value})


def require_count(owner: object, **found: Any) -> None:
    """Raise unless numbers are whole and positive."""
    for name, value in found.items():
        allowed = isinstance(value, int) and not isinstance(value, bool) and value > 0
        require(owner, allowed, "a positive whole number", **{name: value})


def require_whole(owner: object, **found: Any) -> None:
    """Raise unless numbers are whole and at least 0."""
    for name, value in found.items():
        allowed = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        require(owner, allowed, "a whole number of at least 0", **{name: value})


def require_flags(owner: Any) -> None:
    """Raise unless the fields of a dataclass that are declared ``bool`` are truth values."""
    for field in fields(owner):
        if field.type == "bool":
            value = getattr(owner, field.name)
            allowed = isinstance(value, bool)
            require(type(owner).__name__, allowed, "True or False", **{field.name: value})


__all__ = [
    "is_number",
    "require",
    "require_count",
    "require_flags",
    "require_fraction",
    "require_not_negative",
    "require_positive",
    "require_whole",
]
