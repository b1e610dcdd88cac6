# SPDX-License-Identifier: MIT
"""Reads a target's name: ``cpu``, ``cpu{march=x86-64-v3}``, ``cuda{arch=sm_90}``."""

from __future__ import annotations

import re

from ...errors import TargetError
from .base import Target
from .cpu import CpuTarget
from .cuda import CudaTarget

_FORM = re.compile(r"(?P<kind>\w+)(?:\{(?P<options>[^{}]*)\})?\Z")
_KINDS: dict[str, type[CpuTarget | CudaTarget]] = {"cpu": CpuTarget, "cuda": CudaTarget}


def parse_targets(text: str) -> tuple[Target, ...]:
    """Return the targets that ``text`` names: a ``+`` joins several values of an option.

    Raises:
        TargetError: as for :func:`parse_target`, or a target is named twice.

    >>> [t.name for t in parse_targets("cpu{march=x86-64-v3+x86-64-v4}")]
    ['cpu{march=x86-64-v3}', 'cpu{march=x86-64-v4}']
    """
    head, equals, values = text.partition("=")
    if "+" not in values or "," in values or not values.endswith("}"):
        return (parse_target(text),)
    names = [f"{head}{equals}{value}}}" for value in values[:-1].split("+")]
    targets = tuple(map(parse_target, names))
    if len({(t.info().arch, t.info().cpu, t.info().device) for t in targets}) != len(targets):
        raise TargetError(f"target {text!r} names one processor twice")
    return targets


def parse_target(text: str) -> Target:
    """Return the target that ``text`` names.

    Raises:
        TargetError: the kind, an option or a value is unknown; the message lists the known.

    >>> parse_target("cpu{march=x86-64-v3}").name
    'cpu{march=x86-64-v3}'
    """
    match = _FORM.match(text.strip())
    if match is None or match["kind"] not in _KINDS:
        raise TargetError(
            f"unknown target {text!r}; known: cpu, cpu{{march=MARCH}}, cuda, cuda{{arch=sm_NN}}"
        )
    options: dict[str, str] = {}
    for item in filter(None, (match["options"] or "").split(",")):
        key, equals, value = item.partition("=")
        if not equals or not value.strip():
            raise TargetError(f"target {text!r}: expected option=value, found {item.strip()!r}")
        options[key.strip()] = value.strip()
    return _KINDS[match["kind"]].from_options(options)
