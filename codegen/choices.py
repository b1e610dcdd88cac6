# SPDX-License-Identifier: MIT
"""Which of several ways to compute a group is fastest on this processor, as measured and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ..errors import ArtifactError, CacheError
from ..ir.graph import Graph
from ..ir.printer import print_graph
from ..runtime.atomic import atomic_file
from ..runtime.machine import TargetInfo, cpu_model
from ..runtime.strict_json import parse_object
from .cache import VARIABLE, cache_folder
from .templates.base import Plan

_FORMAT = 1


@dataclass(frozen=True)
class Choices:
    """Plans by group.

    Attributes:
        plans: texts of plans by :func:`group_key`.
        rank: with a number, the choice of every group is its candidate of this rank, the last
            one where there are fewer; that is how candidates are measured.
    """

    plans: Mapping[str, str] = field(default_factory=dict)
    rank: int | None = None

    def pick(self, body: Graph, candidates: Iterable[Plan]) -> Plan | None:
        """Return the chosen one of the candidates, the first if nothing is known of the group.

        A choice that is no candidate any more, because templates have changed, is not obeyed.
        """
        if self.rank is not None:
            *_, plan = [None, *islice(candidates, self.rank + 1)]
            return plan
        chosen = self.plans.get(group_key(body)) if self.plans else None
        first = None
        for plan in candidates:
            if chosen is None or str(plan) == chosen:
                return plan
            first = first or plan
        return first

    @property
    def fingerprint(self) -> str:
        """A text that differs wherever choices differ."""
        return f"{self.rank} {sorted(self.plans.items())}"


def group_key(body: Graph) -> str:
    """Return the digest of what a group computes."""
    return hashlib.sha256(print_graph(body, inline=1 << 30).encode()).hexdigest()[:32]


def load_choices(target: TargetInfo) -> Choices:
    """Return what has been measured for a target on this processor; nothing if it was not."""
    path = _path(target)
    try:
        data = parse_object(path.read_bytes(), str(path))
        plans = data["choices"]
    except (OSError, ArtifactError, KeyError):
        # Choices change how fast, never what: damaged ones are measured again.
        return Choices()
    if not isinstance(plans, dict) or not all(isinstance(p, str) for p in plans.values()):
        return Choices()
    return Choices(plans)


def keep_choices(target: TargetInfo, plans: Mapping[str, str]) -> Path:
    """Add choices to those that are kept; return the file.

    Raises:
        CacheError: it cannot be written.
    """
    path = _path(target)
    merged = {**load_choices(target).plans, **plans}
    data = {"format": _FORMAT, "processor": cpu_model(), "target": target.name, "choices": merged}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            file.write(json.dumps(data, indent=1, sort_keys=True).encode())
    except OSError as error:
        raise CacheError(
            f"cannot write {path} ({error.strerror or error}); free space, or set {VARIABLE} to "
            "a writable folder"
        ) from error
    return path


def _path(target: TargetInfo) -> Path:
    text = f"{_FORMAT} {target} {cpu_model()}"
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    return cache_folder() / "choices" / f"{name}.json"
