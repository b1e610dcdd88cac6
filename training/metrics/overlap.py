# SPDX-License-Identifier: MIT
"""Metrics of the overlap of regions: Dice and intersection over union."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir import Array
from .exact_sum import digits_of, quotient_of
from .metric import Metric, check_option
from .regions import Regions, regions


@dataclass(kw_only=True, eq=False)
class PerRegion(Metric[float]):
    """Base of means of one value per image and region.

    Shapes: outputs are scores (N, C, spatial...), targets labels (N, spatial...) or
        (N, 1, spatial...) or one-hot; of one channel, and with ``sigmoid``, every channel is a
        mask, and targets are masks too.

    Attributes:
        activation: ``softmax``: classes exclude each other; ``sigmoid``: regions may overlap;
            ``auto``: sigmoid for one channel, softmax for more.
        background: whether class 0 is a region; of one channel the only region is the mask.
        threshold: of masks; 0 for logits, 0.5 for probabilities.
        ignore_index: label of elements that do not count.
        average: ``image``: the mean over the regions of an image, then over images; ``class``:
            the mean over the images with a region, then over regions.
    """

    activation: str = "auto"
    background: bool = True
    threshold: float = 0.0
    ignore_index: int | None = None
    average: str = "image"

    averages: ClassVar[tuple[str, ...]] = ("image", "class")

    def check(self) -> None:
        """Check the choices."""
        check_option(self, "activation", ("auto", "softmax", "sigmoid"))
        check_option(self, "average", self.averages)

    def regions(self, outputs: Array, targets: Array) -> Regions:
        """Return regions of a batch as masks."""
        return regions(
            self,
            outputs,
            targets,
            activation=self.activation,
            background=self.background,
            threshold=self.threshold,
            ignore_index=self.ignore_index,
        )

    def add_values(self, values: Array) -> None:
        """Add the values (N, regions) of a batch; NaN does not count."""
        there = ~np.isnan(values)
        images = [digits_of(_quotients(row[row == row])) for row in values]
        self._add(
            {
                "sums": np.stack([digits_of(v[k]) for v, k in zip(values.T, there.T, strict=True)]),
                "counts": there.sum(0, dtype=np.int64),
                "image_sum": np.stack(images).sum(0, keepdims=True),
                "image_count": np.array([[there.any(1).sum()]], np.int64),
            }
        )

    def per_class(self) -> Array:
        """Return the mean over images per region, NaN where no image has it."""
        sums, counts = self._counted("sums"), self._counted("counts")
        pairs = zip(sums, counts, strict=True)
        return np.array([quotient_of(s, int(n)) for s, n in pairs])

    def result(self) -> float:
        """Return the mean, NaN if no image has a region that counts."""
        if self.average == "class":
            values = self.per_class()
            values = values[~np.isnan(values)]
            return float(values.mean()) if values.size else float("nan")
        (digits,), (count,) = self._counted("image_sum"), self._counted("image_count")
        return quotient_of(digits, int(count[0]))


@dataclass(kw_only=True, eq=False)
class Overlap(PerRegion):
    """Base of quotients of sizes of regions.

    Shapes and further options: :class:`PerRegion`.

    Attributes:
        average: also ``pooled``: sizes are added up over all images first.
        empty: what an image without a region in its target counts: ``skip``: not at all, found
            or not, as MONAI does; ``skip_both``: not at all if it was not found either, else 0;
            ``one``: 1 if it was not found, else 0.
    """

    averages: ClassVar[tuple[str, ...]] = ("image", "class", "pooled")
    empty: str = "skip"

    def check(self) -> None:
        """Check the choices."""
        super().check()
        check_option(self, "empty", ("skip", "skip_both", "one"))

    def update(self, outputs: Array, targets: Array) -> None:
        """Add values of images, and sizes."""
        found, truth = self.regions(outputs, targets)
        common = (found & truth).sum(2, dtype=np.int64)
        sizes = found.sum(2, dtype=np.int64), truth.sum(2, dtype=np.int64)
        values = self._values(common, *sizes)
        if self.empty == "skip":
            values[sizes[1] == 0] = np.nan
        elif self.empty == "one":
            values[np.isnan(values)] = 1.0
        self.add_values(values)
        self._add({"sizes": np.stack([common, *sizes], 2).sum(0)})

    @abstractmethod
    def ratio(self, common: Array, found: Array, truth: Array) -> tuple[Array, Array]:
        """Return numerators and denominators of sizes."""

    def per_class(self) -> Array:
        """Return the value per region, NaN where no image has it."""
        if self.average != "pooled":
            return super().per_class()
        return self._values(*self._counted("sizes").T)

    def result(self) -> float:
        """Return the mean, NaN if no image has a region that counts."""
        if self.average != "pooled":
            return super().result()
        values = self.per_class()
        values = values[~np.isnan(values)]
        return float(values.mean()) if values.size else float("nan")

    def _values(self, common: Array, found: Array, truth: Array) -> Array:
        numerator, denominator = self.ratio(common, found, truth)
        values = np.full(common.shape, np.nan)
        np.divide(numerator, denominator, out=values, where=denominator > 0)
        return values


@dataclass(kw_only=True, eq=False)
class Dice(Overlap):
    """``2 |A and B| / (|A| + |B|)`` of predicted and true regions. Options: :class:`Overlap`.

    References:
        L. R. Dice, Measures of the amount of ecologic association between species, Ecology 26,
        1945.

    >>> import numpy as np
    >>> metric = Dice()
    >>> metric.update(np.array([[[1.0, 1.0, -1.0, -1.0]]]), np.array([[[1, 0, 0, 0]]]))
    >>> round(metric.result(), 4)
    0.6667
    """

    name: ClassVar[str] = "dice"

    def ratio(self, common: Array, found: Array, truth: Array) -> tuple[Array, Array]:
        """Return twice the intersection and the sum of sizes."""
        return 2 * common, found + truth


@dataclass(kw_only=True, eq=False)
class IoU(Overlap):
    """``|A and B| / |A or B|``, also the Jaccard index. Options: :class:`Overlap`."""

    name: ClassVar[str] = "iou"

    def ratio(self, common: Array, found: Array, truth: Array) -> tuple[Array, Array]:
        """Return intersection and union."""
        return common, found + truth - common


def _quotients(values: Array) -> Array:
    """Return the mean of some values as an array, of nothing as an empty one."""
    if not values.size:
        return values
    return np.array([quotient_of(digits_of(values), values.size)])
