# SPDX-License-Identifier: MIT
"""Writes resizing, where ONNX's operator says exactly the same."""

from __future__ import annotations

import math

import numpy as np

from ...ir import Node, TensorType, ops
from ...ir.types import FLOATS
from ..export import Exporter, Names, exporter

_COORDINATES = ("align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel")


@exporter(ops.Resize)
def resize(e: Exporter, op: ops.Resize, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a Resize by scales or by sizes, whichever gives both; else the expansion."""
    x = node.inputs[0].type
    assert isinstance(x, TensorType)
    plain = op.coordinates in _COORDINATES and not (op.antialias or op.region)
    scaled = all(map(_rounds_to, x.dims, *_spread(op, x)))
    exact = all(s == n / m for m, n, s in zip(x.dims, *_spread(op, x), strict=True) if m)
    if not plain or 0 in x.dims or not (scaled or exact) or not _is_standard(op, x.dtype):
        e.expand(node, inputs, outputs)
        return
    sizes, scales = _spread(op, x)
    if scaled:
        operands = [inputs[0], "", e.constant(np.asarray(scales, np.float32))]
    else:
        operands = [inputs[0], "", "", e.ints(sizes)]
    e.node(
        "Resize",
        operands,
        outputs,
        mode=op.mode,
        coordinate_transformation_mode=op.coordinates,
        nearest_mode=op.rounding,
        cubic_coeff_a=op.cubic_a if op.mode == "cubic" else None,
        exclude_outside=int(op.exclude_outside) or None,
    )


def _spread(op: ops.Resize, x: TensorType) -> tuple[list[int], list[float]]:
    """Return sizes and scales of every axis, also of those that stay as they are."""
    sizes, scales = list(x.dims), [1.0] * x.rank
    for axis, size, scale in zip(op.axes, op.sizes, op.scales, strict=True):
        sizes[axis], scales[axis] = size, scale
    return sizes, scales


def _rounds_to(length: int, size: int, scale: float) -> bool:
    """Whether the scale, which ONNX keeps in float32, is exact there and gives the size."""
    narrow = np.float32(scale)
    return float(narrow) == scale and math.floor(np.float32(length) * narrow) == size


def _is_standard(op: ops.Resize, dtype: str) -> bool:
    """Whether ONNX leaves nothing open: how integers are rounded it does not say."""
    return op.mode == "nearest" or dtype in FLOATS
