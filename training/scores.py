# SPDX-License-Identifier: MIT
"""Loss and metrics summed up over batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InputError
from ..ir import Array
from .metrics import Metric
from .model import Model
from .programs import INDEX, KEY, Fields, Result


@dataclass
class Scores:
    """Adds up batches.

    Attributes:
        metrics: by name; they are reset.
        model: says which fields are data and which are targets.
        losses: loss times samples, per batch.
        samples: in all batches.
    """

    metrics: Mapping[str, Metric[Any]]
    model: Model
    losses: list[float] = field(default_factory=list)
    samples: int = 0

    def __post_init__(self) -> None:
        for metric in self.metrics.values():
            metric.reset()

    def add(self, result: Result, fields: Fields) -> None:
        """Count a batch."""
        count = len(next(iter(fields[k] for k in self.model.inputs)))
        self.losses.append(result.loss * count)
        self.samples += count
        if self.metrics:
            known = {*self.model.inputs, KEY, INDEX}
            targets = only({k: a for k, a in fields.items() if k not in known})
            outputs = only(result.outputs)
            for metric in self.metrics.values():
                metric.update(outputs, targets)

    def figures(self, prefix: str = "") -> dict[str, float]:
        """Return the mean loss and all metrics that are a number, or one a class.

        Raises:
            InputError: there was no batch.
        """
        if not self.samples:
            raise InputError("no batch to take figures of; the data is empty")
        found = {f"{prefix}loss": math.fsum(self.losses) / self.samples}
        for name, metric in self.metrics.items():
            value = np.asarray(metric.result())
            if value.ndim == 0:
                found[f"{prefix}{name}"] = float(value)
            elif value.ndim == 1:  # of each class
                found.update((f"{prefix}{name}_{k}", float(x)) for k, x in enumerate(value))
        return found

    def state(self) -> dict[str, Array]:
        """Return the losses so far, for a run that is interrupted."""
        return {
            "losses": np.asarray(self.losses, np.float64),
            "samples": np.asarray(self.samples, np.int64),
        }

    def load(self, state: Mapping[str, Array]) -> None:
        """Go on adding up."""
        self.losses = state["losses"].tolist()
        self.samples = int(state["samples"])


def only(arrays: Mapping[str, Any]) -> Any:
    """Return the only value if there is one, else all by name."""
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


__all__ = ["Scores", "only"]
