# SPDX-License-Identifier: MIT
"""Words of the command line that name a choice and its options, and numbers of bytes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import click

_COMMA = re.compile(r",(?![^\[]*\])")
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@dataclass(frozen=True)
class Named:
    """A choice with options, such as ``focal:gamma=2,alpha=[0.2,0.8]``.

    Attributes:
        name: of the choice.
        options: numbers, truth values, texts, and tuples of numbers.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ",".join(f"{k}={json.dumps(v)}" for k, v in self.options.items())
        return f"{self.name}:{options}" if options else self.name


def named(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Read one choice or several, as a callback of an option."""
    if isinstance(value, tuple):
        return tuple(map(parse_named, value))
    return None if value is None else parse_named(value)


def parse_named(text: str) -> Named:
    """Return a choice.

    >>> parse_named("focal:gamma=2,alpha=[0.2,0.8]")
    Named(name='focal', options={'gamma': 2, 'alpha': (0.2, 0.8)})

    Raises:
        click.BadParameter: the text does not look like that.
    """
    name, colon, rest = text.partition(":")
    options: dict[str, Any] = {}
    for part in _COMMA.split(rest) if colon else ():
        option, equals, value = part.partition("=")
        if not (name and option and equals and value):
            raise click.BadParameter(f"{text!r} must look like focal:gamma=2,alpha=[0.2,0.8]")
        options[option.replace("-", "_")] = _value(value)
    return Named(name, options)


def memory(ctx: click.Context, param: click.Parameter, value: str) -> str | int:
    """Read a level or a number of bytes, as a callback of an option."""
    return parse_memory(value)


def parse_memory(text: str) -> str | int:
    """Return a level, or a number of bytes; units are powers of 1000, with an ``i`` of 1024.

    >>> parse_memory("low"), parse_memory("512MiB"), parse_memory("2GB")
    ('low', 536870912, 2000000000)

    Raises:
        click.BadParameter: it is neither.
    """
    if text in ("full", "mid", "low"):
        return text
    match = _BYTES.fullmatch(text)
    number = 0
    if match is not None:
        base = 1024 if match[3] else 1000
        number = int(float(match[1]) * base ** _POWERS[match[2].upper()])
    if number < 1:
        raise click.BadParameter(f"{text!r} must be full, mid, low or bytes such as 512MiB")
    return number


def parse_pair(text: str) -> tuple[str, str]:
    """Return both sides of ``NAME=FIELD``.

    Raises:
        click.BadParameter: the text does not look like that.
    """
    name, _, other = text.partition("=")
    if not name or not other:
        raise click.BadParameter(f"{text!r} must look like NAME=FIELD, such as x=image")
    return name, other


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return tuple(value) if isinstance(value, list) else value
