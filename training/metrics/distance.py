# SPDX-License-Identifier: MIT
"""Metrics of the distance of surfaces: the Hausdorff distance and its percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir import Array
from .metric import check_option
from .overlap import PerRegion


@dataclass(kw_only=True, eq=False)
class HausdorffDistance(PerRegion):
    """Percentile of the distances between the surfaces of predicted and true regions.

    From every element of one surface, the distance to the nearest element of the other one; the
    percentile of these, one way and the other way, and the larger of both. The surface of a
    region are its elements that have a neighbour along an axis that is outside, or none. A region
    that is neither in the target nor found does not count.

    Shapes: :class:`PerRegion`, with one to three spatial axes (or more). Units: those of the
        spacing, mm for medical images; lower is better.

    Attributes:
        percentile: 95 by default; 100 is the Hausdorff distance itself.
        spacing: distance between neighbours along each spatial axis; 1 if left out.
        missed: what a region counts that is in the target or was found, but not both:
            ``diagonal``: the length of the image's diagonal, so that means stay finite and a
            model that finds nothing looks bad; ``inf``; or ``skip``: nothing.

    References:
        D. P. Huttenlocher et al., Comparing images using the Hausdorff distance, IEEE TPAMI 15,
        1993; L. Maier-Hein et al., Metrics reloaded, Nature Methods 21, 2024.

    >>> import numpy as np
    >>> found, truth = np.full((1, 1, 8, 8), -1.0), np.zeros((1, 1, 8, 8))
    >>> found[..., 2, 2], truth[..., 2, 5] = 1, 1
    >>> metric = HausdorffDistance(spacing=(1.0, 0.5))
    >>> metric.update(found, truth)
    >>> metric.result()
    1.5
    """

    name: ClassVar[str] = "hd95"
    percentile: float = 95.0
    spacing: tuple[float, ...] | None = None
    missed: str = "diagonal"

    def check(self) -> None:
        """Check the choices."""
        super().check()
        check_option(self, "missed", ("diagonal", "inf", "skip"))
        if not 0 < self.percentile <= 100:
            raise self.error(f"percentile={self.percentile} must be above 0 and at most 100")

    def update(
        self, outputs: Array, targets: Array, spacing: Sequence[float] | None = None
    ) -> None:
        """Add distances of a batch.

        Args:
            outputs: scores (N, C, spatial...).
            targets: labels or masks.
            spacing: of this batch; that of the metric if left out.
        """
        shape = np.shape(outputs)[2:]
        steps = self._steps(shape, self.spacing if spacing is None else tuple(spacing))
        found, truth = (
            masks.reshape(*masks.shape[:2], *shape) for masks in self.regions(outputs, targets)
        )
        values = np.empty(found.shape[:2])
        for place in np.ndindex(*values.shape):
            values[place] = self._distance(found[place], truth[place], steps)
        self.add_values(values)

    def _steps(self, shape: tuple[int, ...], spacing: tuple[float, ...] | None) -> Array:
        steps = np.array((1.0,) * len(shape) if spacing is None else spacing, np.float64)
        if not shape or steps.shape != (len(shape),) or not all(0 < s < math.inf for s in steps):
            raise self.error(
                f"spacing={list(steps)} must be {max(len(shape), 1)} positive numbers, one per "
                "spatial axis"
            )
        return steps

    def _distance(self, found: Array, truth: Array, steps: Array) -> float:
        ends = found.any(), truth.any()
        if not any(ends):
            return math.nan
        if not all(ends):
            diagonal = float(np.linalg.norm(np.array(found.shape) * steps))
            return {"diagonal": diagonal, "inf": math.inf, "skip": math.nan}[self.missed]
        one, other = (np.argwhere(surface(m)) * steps for m in (found, truth))
        ways = nearest(one, other), nearest(other, one)
        return max(float(np.percentile(w, self.percentile)) for w in ways)


def surface(mask: Array) -> Array:
    """Return the elements of a mask with a neighbour outside it, or at the border of the image.

    >>> import numpy as np
    >>> surface(np.array([True, True, True, False])).tolist()
    [True, False, True, False]
    """
    inner = mask.copy()
    for axis in range(mask.ndim):
        moved = np.moveaxis(mask, axis, 0)
        kept = np.moveaxis(inner, axis, 0)
        kept[0] = kept[-1] = False
        kept[1:-1] &= moved[:-2] & moved[2:]
    result: Array = mask & ~inner
    return result


def nearest(points: Array, others: Array) -> Array:
    """Return the distance from each of ``points`` (n, axes) to the nearest of ``others``."""
    from scipy.spatial import KDTree  # loaded by those alone who measure distances

    distances: Array = KDTree(others).query(points)[0]
    return distances
