# SPDX-License-Identifier: MIT
"""Views of tensors in memory and the homes that the kernels of a graph get."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.codegen.packing import Packing, convolution
from ranvier.codegen.placement import Home, homes_of
from ranvier.codegen.targets import parse_target
from ranvier.codegen.templates import choose
from ranvier.codegen.templates.base import Plan
from ranvier.codegen.unit import VectorUnit
from ranvier.codegen.views import (
    Order,
    Request,
    View,
    is_channels_last,
    laid_out,
    merged,
    row_major,
)
from ranvier.compiler import target_ready
from ranvier.ir import Emitter, Graph, TensorType, Value, ops

SIZES = st.lists(st.integers(1, 5), min_size=3, max_size=5).map(tuple)
ENDS = st.tuples(st.integers(0, 2), st.integers(0, 2))


@given(SIZES, st.sampled_from(["any", "channels_last"]), st.data())
def test_elements_of_a_view_are_distinct_and_inside(
    shape: tuple[int, ...], order: Order, data: st.DataObject
) -> None:
    halo = tuple(data.draw(ENDS) for _ in shape)
    view, first, size = laid_out(shape, order, halo)
    offsets = {first + view.offset(i) for i in np.ndindex(*shape)}
    assert len(offsets) == np.prod(shape)
    assert min(offsets) >= 0
    assert max(offsets) < size
    corner = first - sum(low * s for (low, _), s in zip(halo, view.strides, strict=True))
    assert corner == 0


def test_channels_last_has_channels_innermost() -> None:
    view, first, size = laid_out((1, 8, 4, 5), "channels_last", ((0, 0), (0, 0), (1, 1), (1, 2)))
    assert view.strides == (6 * 8 * 8, 1, 8 * 8, 8)
    assert first == 8 * 8 + 8
    assert size == 6 * 8 * 8
    assert is_channels_last(view)


def test_a_request_is_met_by_order_and_halo() -> None:
    plain = row_major((1, 4, 3, 3))
    wide, _, _ = laid_out((1, 4, 3, 3), "channels_last", ((0, 0), (0, 0), (1, 1), (1, 1)))
    assert Request().accepts(plain)
    assert not Request("channels_last").accepts(plain)
    assert Request("channels_last", ((0, 0), (0, 0), (1, 0), (0, 1))).accepts(wide)
    assert not Request("channels_last", ((0, 0), (0, 0), (2, 0), (0, 0))).accepts(wide)
    assert not Request("row_major").accepts(wide)


def test_halos_merge_to_the_larger_of_both() -> None:
    assert merged((), ((1, 2),)) == ((1, 2),)
    assert merged(((1, 0), (0, 3)), ((0, 2), (1, 1))) == ((1, 2), (1, 3))


@pytest.mark.parametrize(("outputs", "block"), [(8, 8), (5, 8), (17, 16), (3, 2)])
def test_packed_weights_hold_every_weight_once(outputs: int, block: int) -> None:
    weights = np.arange(1, outputs * 3 * 6 + 1, dtype=np.float32).reshape(outputs, 3, 2, 3)
    packed = convolution(weights, block).reshape(-1, 2, 3, 3, block)
    for o, c, h, w in np.ndindex(*weights.shape):
        assert packed[o // block, h, w, c, o % block] == weights[o, c, h, w]
    assert np.count_nonzero(packed) == weights.size


def test_a_packing_is_found_again_by_its_text() -> None:
    packing = Packing("convolution", (16,))
    assert Packing.parse(str(packing)) == packing


def _homes(graph: Graph) -> tuple[Graph, dict[Value, Home]]:
    ready = target_ready(graph, parse_target("cpu{march=x86-64-v3}"))
    plans: dict[Value, Plan] = {}
    for node in ready.nodes:
        plan = choose(node, ready.parameters, VectorUnit(8, 16))
        if plan is not None:
            plans[node.outputs[0]] = plan
    return ready, homes_of(ready, plans)


def _conv(emit: Emitter, x: Value, outputs: int, window: int) -> Value:
    assert isinstance(x.type, TensorType)
    channels = x.type.dims[1]
    weights = np.linspace(-1, 1, outputs * channels * window**2, dtype=np.float32)
    w = emit.constant(weights.reshape(outputs, channels, window, window))
    pad = (window // 2,) * 2
    y = emit(ops.Conv((1, 1), pad, pad, (1, 1), (1, 1)), x, w)
    return emit(ops.Relu(), y)


def test_a_growth_buffer_holds_the_parts_of_all_concatenations() -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 8, 6, 6)), "x")
    features = [_conv(emit, x, 8, 1)]
    for _ in range(3):
        joined = features[0] if len(features) == 1 else emit(ops.Concat(1), *features)
        features.append(_conv(emit, joined, 8, 3))
    result = _conv(emit, emit(ops.Concat(1), *features), 8, 1)
    graph = emit.graph("dense", [x], [emit(ops.Neg(), result)])
    _, homes = _homes(graph)
    shared = [h for h in homes.values() if h.whole.shape[1] == 32]
    assert len({h.buffer for h in shared}) == 1
    # Four features and three concatenations of them, the last being the whole.
    assert len(shared) == 7
    starts = sorted(h.first - h.whole_first for h in shared if h.view.shape[1] == 8)
    assert starts == [0, 8, 16, 24]
    assert all(h.view.halo for h in shared)


def test_outputs_and_host_operands_keep_the_layout_of_the_runtime() -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 8, 6, 6)), "x")
    y = _conv(emit, x, 8, 3)
    graph = emit.graph("plain", [x], [y])
    _, homes = _homes(graph)
    assert homes == {}


def test_views_know_neighbours() -> None:
    assert View((2, 3), (3, 1)).inner_axis == 1
    assert View((1, 8, 4), (32, 1, 8)).inner_axis == 1
    assert View((4,), (2,)).inner_axis is None
