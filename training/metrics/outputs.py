# SPDX-License-Identifier: MIT
"""Metrics of one output of a model that has several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...ir import Array
from .metric import Metric


@dataclass(kw_only=True, eq=False)
class OfOutput(Metric[Any]):
    """Another metric, of the output and the target that are named.

    Attributes:
        metric: what is counted.
        output: name of the model's output; not needed if it has one.
        target: name of the target; not needed if there is one.

    >>> import numpy as np
    >>> from ranvier.training.metrics import MeanAbsoluteError
    >>> age = OfOutput(metric=MeanAbsoluteError(), output="age", target="years")
    >>> outputs = {"age": np.array([40.0, 61.0]), "kind": np.zeros((2, 3))}
    >>> age.update(outputs, {"years": np.array([41.0, 60.0]), "label": np.array([0, 2])})
    >>> age.result()
    1.0
    """

    name: ClassVar[str] = "of_output"
    metric: Metric[Any]
    output: str | None = None
    target: str | None = None

    def reset(self) -> None:
        """Forget all data."""
        self.metric.reset()

    def update(
        self, outputs: Array | Mapping[str, Array], targets: Array | Mapping[str, Array]
    ) -> None:
        """Count a batch.

        Args:
            outputs: by name if there are several.
            targets: by name if there are several.

        Raises:
            InputError: a name is missing or unknown, or the metric does not take such data.
        """
        chosen = self._chosen("output", self.output, outputs)
        self.metric.update(chosen, self._chosen("target", self.target, targets))

    def result(self) -> Any:
        """Return the metric's value."""
        return self.metric.result()

    def merge(self, other: Metric[Any]) -> None:
        """Count all that ``other`` has counted, a metric of the same names.

        Raises:
            InputError: it counts something else.
        """
        if not isinstance(other, OfOutput) or (other.output, other.target) != (
            self.output,
            self.target,
        ):
            raise self.error(f"cannot merge {other} into {self}; make both with the same options")
        self.metric.merge(other.metric)

    def state(self) -> dict[str, Array]:
        """Return a copy of the metric's state."""
        return self.metric.state()

    def load(self, state: Mapping[str, Array]) -> None:
        """Go on from a state."""
        self.metric.load(state)

    def _chosen(self, what: str, name: str | None, arrays: Array | Mapping[str, Array]) -> Array:
        if not isinstance(arrays, Mapping):
            return arrays
        if name is None or name not in arrays:
            asked = "none is named" if name is None else f"there is no {what} '{name}'"
            raise self.error(f"{asked}; {what}s are: {', '.join(arrays) or 'none'}")
        return arrays[name]
