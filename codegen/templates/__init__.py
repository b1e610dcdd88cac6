# SPDX-License-Identifier: MIT
"""Kernels written by hand in TIR for the ops that take the time; the rest is lowered by TE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...ir.graph import Node
from ...ir.ops.fused import Fused
from ...ir.types import Array, TensorType
from .averaging import averaging
from .base import Plan, Template, VectorUnit, Written
from .batched_product import batched_product
from .blocks import block_kernel
from .channel_sums import channel_sums
from .depthwise import depthwise_convolution
from .depthwise_gradient import depthwise_gradient
from .direct import direct_convolution
from .moments import moments
from .narrow import narrow_convolution
from .normalise import normalise
from .planar import planar_convolution
from .pooled_moments import pooled_moments
from .pooling import pooling
from .pooling_gradient import pooling_gradient
from .product import product
from .resampling import resampling
from .rows import row_kernel
from .transposed import transposed_convolution
from .weight_gradient import weight_gradient
from .winograd import winograd_convolution
from .winograd_gradient import winograd_gradient

TEMPLATES: tuple[Template, ...] = (
    depthwise_convolution,
    narrow_convolution,
    planar_convolution,
    transposed_convolution,
    winograd_convolution,
    direct_convolution,
    depthwise_gradient,
    winograd_gradient,
    weight_gradient,
    pooling,
    pooling_gradient,
    averaging,
    resampling,
    product,
    batched_product,
    moments,
    pooled_moments,
    channel_sums,
    normalise,
    block_kernel,
    row_kernel,
)
"""In order of preference."""

ROUNDING: tuple[Template, ...] = (winograd_convolution, winograd_gradient)
"""Those whose results are less accurate than the definition computed in float32."""


def candidates(
    node: Node, arrays: Mapping[str, Array], unit: VectorUnit, accuracy: str = "default"
) -> Iterator[Plan]:
    """Yield the ways in which templates compute a fused node, the one expected to be fastest first.

    Args:
        node: a group.
        arrays: constants of the graph by name.
        unit: the processor core.
        accuracy: ``strict`` rules out the templates of :data:`ROUNDING`.
    """
    assert isinstance(node.op, Fused)
    values = [v for n in node.op.body.nodes for v in (*n.inputs, *n.outputs)]
    if not all(isinstance(v.type, TensorType) and v.type.size > 0 for v in values):
        return
    for template in TEMPLATES:
        if accuracy == "strict" and template in ROUNDING:
            continue
        plan = template(node, arrays, unit)
        if plan is not None:
            yield plan
            yield from plan.alternatives()


def choose(
    node: Node, arrays: Mapping[str, Array], unit: VectorUnit, accuracy: str = "default"
) -> Plan | None:
    """Return the first of the :func:`candidates`, ``None`` if there is none."""
    return next(candidates(node, arrays, unit, accuracy), None)


__all__ = ["ROUNDING", "TEMPLATES", "Plan", "VectorUnit", "Written", "candidates", "choose"]
