# SPDX-License-Identifier: MIT
"""Pooling of regions of interest, whose boxes are data."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...errors import ExecutionError
from ..op import Arrays, Cotangents, Kind, Op, Types, Values
from ..types import FLOATS, INTEGERS, Array, TensorType, Type
from .elementwise import result_type, widened
from .gather import Gather
from .reduction import ReduceMax, ReduceMean
from .shape import Iota, Reshape, Transpose, slice_along
from .terms import Term

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value

MAX_SAMPLES = 4096
"""Samples per bin and axis beyond which an adaptive grid gets no finer."""


@dataclass(frozen=True)
class RoiAlign(Op):
    """Boxes of ``x`` resampled to one size: every bin is the mean or maximum of its samples.

    A box (x1, y1, x2, y2) is scaled by ``spatial_scale`` and divided into ``size`` bins, each
    sampled at the centres of ``sampling_ratio`` by ``sampling_ratio`` cells; with 0 the number
    adapts to the box such that cells are no larger than an element. A sample interpolates
    linearly; beyond one element outside of ``x`` it is 0.

    Shapes: x (N, C, H, W), boxes (R, 4), batch (R) integers: the image of each box; result
    (R, C, size...). Float types narrower than float32 are computed in float32.
    Gradient: of the formula, if ``sampling_ratio`` is given; none for an adaptive grid, whose
    size is data. ONNX: RoiAlign-22.

    Attributes:
        size: number of bins along height and width.
        sampling_ratio: cells per bin and axis, or 0.
        spatial_scale: scale of box coordinates to elements of ``x``.
        mode: ``avg``, or ``max``: the largest of the weighted corners of all samples.
        half_pixel: shift boxes by half an element; without it boxes are at least 1 large.

    References: K. He et al., Mask R-CNN, ICCV 2017.
    """

    name: ClassVar[str] = "roi_align"
    kind: ClassVar[Kind] = Kind.OPAQUE
    size: tuple[int, ...]
    sampling_ratio: int = 0
    spatial_scale: float = 1.0
    mode: str = "avg"
    half_pixel: bool = True

    def infer(self, *inputs: Type) -> Types:
        """Return the type of the bins."""
        x, boxes, batch = self.tensors(inputs, 3)
        if x.rank != 4 or x.dtype not in FLOATS or boxes.dtype != x.dtype:
            raise self.error(f"expected float images and boxes, found {x} and {boxes}")
        if boxes.rank != 2 or boxes.shape[1] != 4 or batch.shape != boxes.shape[:1]:
            raise self.error(f"expected boxes (R, 4) and their images (R), found {boxes}, {batch}")
        if batch.dtype not in INTEGERS or self.mode not in ("avg", "max"):
            raise self.error(f"expected integers, found {batch}; mode avg or max: {self.mode!r}")
        if len(self.size) != 2 or min(self.size) < 1 or self.sampling_ratio < 0 or 0 in x.dims[2:]:
            raise self.error(f"size={self.size}, ratio={self.sampling_ratio} do not fit {x}")
        return (TensorType(x.dtype, (boxes.shape[0], x.shape[1], *self.size)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Sample box by box."""
        x, boxes = map(widened, inputs[:2])
        batch = check_batch(self, inputs[2], x.shape[0])
        y = np.zeros((len(boxes), x.shape[1], *self.size), x.dtype)
        for r, box in enumerate(boxes):
            y[r] = self._bins(x[batch[r]], box)
        return (y.astype(inputs[0].dtype),)

    def _bins(self, image: Array, box: Array) -> Array:
        rows, cells = self._samples(box[1], box[3], self.size[0], image.shape[1])
        columns, across = self._samples(box[0], box[2], self.size[1], image.shape[2])
        corners = [
            image[:, i[:, None], j[None, :]] * (u[:, None] * v[None, :]).astype(image.dtype)
            for (i, u), (j, v) in itertools.product(rows, columns)
        ]
        grid = (len(image), self.size[0], cells, self.size[1], across)
        if self.mode == "avg":
            total = np.asarray(sum(corners)).reshape(grid).sum((2, 4))
            return np.asarray(total / max(cells * across, 1))
        if cells * across == 0:
            return np.zeros((len(image), *self.size), image.dtype)
        return np.asarray(np.maximum.reduce(corners).reshape(grid).max((2, 4)))

    def _samples(self, begin: Any, end: Any, bins: int, n: int) -> tuple[Any, int]:
        """Return the two neighbours of every sample with weights, and the samples per bin."""
        dtype = begin.dtype.type
        offset = dtype(0.5 if self.half_pixel else 0)
        start = begin * dtype(self.spatial_scale) - offset
        extent = end * dtype(self.spatial_scale) - offset - start
        extent = extent if self.half_pixel else np.maximum(extent, dtype(1))
        each = extent / dtype(bins)
        cells = self.sampling_ratio or int(np.clip(np.nan_to_num(np.ceil(each)), 0, MAX_SAMPLES))
        k = (np.arange(cells).astype(dtype) + dtype(0.5)) * each / dtype(max(cells, 1))
        c = (start + np.arange(bins).astype(dtype)[:, None] * each + k).reshape(-1)
        inside = (c >= -1) & (c <= n)
        c = np.clip(np.nan_to_num(c), 0, n - 1)
        low = np.floor(c).astype(np.int64)
        fraction = c - low
        high = np.minimum(low + 1, n - 1)
        return [(low, inside * (1 - fraction)), (high, inside * fraction)], cells

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Differentiate the formula for a grid of known size."""
        from ..emitter import Emitter as NewEmitter
        from ..gradient import pullback

        if cotangents[0] is None:
            return None, None, None
        if not self.sampling_ratio:
            raise self.error("has no gradient for an adaptive grid; give a sampling_ratio")
        inner = NewEmitter()
        arguments = tuple(inner.argument(v.type) for v in inputs)
        graph = inner.graph(self.name, arguments, [self._formula(inner, *arguments)])
        return pullback(emit, graph, inputs, cotangents)

    def _formula(self, emit: Emitter, x: Value, boxes: Value, batch: Value) -> Value:
        n, channels, height, width = result_type(x).dims
        count, ratio = result_type(boxes).dims[0], self.sampling_ratio
        edges = [Term(emit, slice_along(emit, boxes, 1, k, k + 1)) for k in range(4)]
        rows = self._axis(emit, edges[1], edges[3], self.size[0], height)
        columns = self._axis(emit, edges[0], edges[2], self.size[1], width)
        last = emit(Transpose((0, 2, 3, 1)), x)
        flat = emit(Reshape((n * height * width, channels)), last)
        first = Term(emit, batch).cast("int32").reshape(count, 1, 1) * (height * width)
        shape = (count, self.size[0] * ratio, self.size[1] * ratio)
        corners: list[Term] = []
        for (i, u), (j, v) in itertools.product(rows, columns):
            at = first + i.reshape(count, shape[1], 1) * width + j.reshape(count, 1, shape[2])
            value = Term(emit, emit(Gather(0), flat, at.value))
            weight = u.reshape(count, shape[1], 1) * v.reshape(count, 1, shape[2])
            corners.append(value * weight.reshape(*shape, 1))
        return self._pooled(emit, corners, channels)

    def _pooled(self, emit: Emitter, corners: list[Term], channels: int) -> Value:
        total = corners[0]
        for corner in corners[1:]:
            total = total + corner if self.mode == "avg" else total.maximum(corner)
        ratio, count = self.sampling_ratio, total.shape[0]
        cells = total.reshape(count, self.size[0], ratio, self.size[1], ratio, channels)
        reduced = ReduceMean((2, 4)) if self.mode == "avg" else ReduceMax((2, 4))
        return emit(Transpose((0, 3, 1, 2)), cells.apply(reduced).value)

    def _axis(
        self, emit: Emitter, begin: Term, end: Term, bins: int, n: int
    ) -> list[tuple[Term, Term]]:
        offset, ratio = 0.5 if self.half_pixel else 0.0, self.sampling_ratio
        start = begin * self.spatial_scale - offset
        extent = end * self.spatial_scale - offset - start
        each = (extent if self.half_pixel else extent.maximum(1)) / bins
        dtype = result_type(begin.value).dtype
        p = Term(emit, emit(Iota(dtype, (1, bins, ratio), 1)))
        k = Term(emit, emit(Iota(dtype, (1, bins, ratio), 2)))
        cell = (p + (k + 0.5) / ratio).reshape(1, bins * ratio)
        c = start + cell * each
        inside = ((c >= -1) & (-c >= -n)).cast(dtype)
        c = c.clip(0, n - 1)
        whole = c.floor()
        low = whole.cast("int32")
        fraction = c - whole
        return [(low, inside * (1 - fraction)), ((low + 1).minimum(n - 1), inside * fraction)]


@dataclass(frozen=True)
class MaxRoiPool(Op):
    """The largest element of each bin of boxes, whose edges are rounded to whole elements.

    A box (image, x1, y1, x2, y2) is scaled by ``spatial_scale``, rounded (halves away from
    zero), made at least 1 large and divided into ``size`` bins, which overlap where they do
    not divide evenly. An empty bin is 0.

    Shapes: x (N, C, H, W), boxes (R, 5), result (R, C, size...). No gradient: superseded by
    RoiAlign. ONNX: MaxRoiPool-22.

    Attributes:
        size: number of bins along height and width.
        spatial_scale: scale of box coordinates to elements of ``x``.

    References: R. Girshick, Fast R-CNN, ICCV 2015.
    """

    name: ClassVar[str] = "max_roi_pool"
    kind: ClassVar[Kind] = Kind.OPAQUE
    size: tuple[int, ...]
    spatial_scale: float = 1.0

    def infer(self, *inputs: Type) -> Types:
        """Return the type of the bins."""
        x, boxes = self.tensors(inputs, 2)
        if x.rank != 4 or x.dtype not in FLOATS or boxes.dtype != x.dtype:
            raise self.error(f"expected float images and boxes, found {x} and {boxes}")
        if boxes.rank != 2 or boxes.shape[1] != 5:
            raise self.error(f"expected boxes (R, 5), found {boxes}")
        if len(self.size) != 2 or min(self.size) < 1:
            raise self.error(f"size={self.size} must be two positive numbers of bins")
        return (TensorType(x.dtype, (boxes.shape[0], x.shape[1], *self.size)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Take the maximum bin by bin."""
        x, boxes = map(widened, inputs)
        batch = check_batch(self, boxes[:, 0].astype(np.int64), x.shape[0])
        y = np.zeros((len(boxes), x.shape[1], *self.size), x.dtype)
        for r, box in enumerate(boxes):
            rows = self._edges(box[2], box[4], self.size[0], x.shape[2])
            columns = self._edges(box[1], box[3], self.size[1], x.shape[3])
            for (i, (a, b)), (j, (c, d)) in itertools.product(enumerate(rows), enumerate(columns)):
                if a < b and c < d:
                    y[r, :, i, j] = x[batch[r], :, a:b, c:d].max((1, 2))
        return (y.astype(inputs[0].dtype),)

    def _edges(self, begin: Any, end: Any, bins: int, n: int) -> list[tuple[int, int]]:
        """Return first and end element of each bin."""
        scale = begin.dtype.type(self.spatial_scale)
        first, last = (_rounded(edge * scale) for edge in (begin, end))
        each = begin.dtype.type(max(last - first + 1, 1)) / begin.dtype.type(bins)
        return [
            (
                min(max(math.floor(p * each) + first, 0), n),
                min(max(math.ceil((p + 1) * each) + first, 0), n),
            )
            for p in np.arange(bins).astype(begin.dtype)
        ]


def _rounded(edge: Any) -> int:
    """Round to nearest, halves away from zero."""
    return int(np.copysign(np.floor(np.abs(edge) + edge.dtype.type(0.5)), edge))


def check_batch(op: Op, batch: Array, count: int) -> Array:
    """Return the images of boxes after checking that they exist."""
    if batch.size and not (batch.min() >= 0 and batch.max() < count):
        raise ExecutionError(f"{op.name}: a box belongs to an image that is not among {count}")
    return batch


__all__ = ["MaxRoiPool", "RoiAlign"]
