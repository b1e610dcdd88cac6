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
