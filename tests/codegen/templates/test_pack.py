# SPDX-License-Identifier: MIT
"""Operands packed by kernels hold what the recipes for constants give, however they lie."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranvier.codegen.packing import Packing
from ranvier.codegen.templates.pack import pack, packed_size
from ranvier.codegen.unit import VectorUnit
from ranvier.codegen.views import View
from ranvier.ir import Array
from template_kernel import UNITS, call

_GUARD = 64
_UNTOUCHED = -7


def packed(packing: Packing, operand: Array, unit: VectorUnit, threads: int = 1) -> Array:
    """Return what the kernel writes; it must not write anything else."""
    view = View(operand.shape, tuple(s // operand.itemsize for s in operand.strides))
    size = packed_size(packing, view)
    result = np.full(size + 2 * _GUARD, _UNTOUCHED, np.float32)
    start = result.ctypes.data + _GUARD * result.itemsize
    places = [ctypes.c_void_p(operand.ctypes.data), ctypes.c_void_p(start)]
    call(pack(packing, view, unit.lanes), places, threads)
    found: Array = result[_GUARD:-_GUARD].copy()
    result[_GUARD:-_GUARD] = _UNTOUCHED
    assert (result == _UNTOUCHED).all(), "the kernel wrote outside of its result"
    return found


def lying(shape: tuple[int, ...], order: list[int], reversed_axes: list[bool]) -> Array:
    """Return a tensor whose axes lie in memory in some order, some of them backwards."""
    rng = np.random.default_rng(sum(shape))
    whole = rng.standard_normal([shape[k] for k in order]).astype(np.float32)
    steps = tuple(slice(None, None, -1 if r else 1) for r in reversed_axes)
    found: Array = whole.transpose(np.argsort(order))[steps]
    return found


def check(packing: Packing, operand: Array, unit: VectorUnit, threads: int) -> None:
    """Compare the kernel with the recipe."""
    found, expected = packed(packing, operand, unit, threads), packing(operand)
    if packing.recipe == "winograd":
        bound = 1e-6 * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound)
    else:
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_convolution_weights(data: st.DataObject) -> None:
    """Every order of the axes, tails in both channels, windows of any size."""
    window = data.draw(st.sampled_from([(1, 1), (3, 3), (3,), (2, 2, 2), (7, 7), (3, 1)]))
    shape = (data.draw(st.integers(1, 37)), data.draw(st.integers(1, 13)), *window)
    order = data.draw(
        st.one_of(st.just(list(range(len(shape)))), st.permutations(range(len(shape))))
    )
    backwards = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    unit = data.draw(st.sampled_from(UNITS))
    packing = data.draw(
        st.sampled_from(
            [
                Packing("convolution", (unit.lanes,)),
                Packing("convolution", (3 * unit.lanes,)),
                Packing("convolution", (3,)),
                Packing("channels_innermost"),
                Packing("outputs_innermost"),
            ]
        )
    )
    check(packing, lying(shape, order, backwards), unit, data.draw(st.integers(1, 3)))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_filters(data: st.DataObject) -> None:
    """Values at the points, of two- and three-dimensional filters."""
    window = data.draw(st.sampled_from([(3, 3), (3, 3, 3), (2, 3, 3)]))
    unit = data.draw(st.sampled_from(UNITS))
    vectors, group = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    block = vectors * unit.lanes
    blocks = group * data.draw(st.integers(1, 2))
    outputs = block * blocks - data.draw(st.integers(0, block - 1))
    shape = (outputs, data.draw(st.integers(1, 9)), *window)
    order = data.draw(
        st.one_of(st.just(list(range(len(shape)))), st.permutations(range(len(shape))))
    )
    backwards = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    packing = Packing("winograd", (data.draw(st.sampled_from([2, 4])), block, group))
    check(packing, lying(shape, order, backwards), unit, data.draw(st.integers(1, 3)))


@settings(max_examples=20, deadline=None)
@given(
    depth=st.integers(1, 40),
    columns=st.integers(1, 70),
    vectors=st.integers(1, 3),
    transposed=st.booleans(),
    unit=st.sampled_from(UNITS),
)
def test_matrices(
    depth: int, columns: int, vectors: int, transposed: bool, unit: VectorUnit
) -> None:
    """Rows or columns that follow each other, with tails in both."""
    matrix = lying((1, depth, columns), [0, 2, 1] if transposed else [0, 1, 2], [False] * 3)
    check(Packing("matrix", (vectors * unit.lanes,)), matrix, unit, 2)


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_data_gradient_weights(unit: VectorUnit) -> None:
    """Weights exchanged and turned around, as a data gradient reads them."""
    weights = lying((16, 24, 3, 3), [0, 1, 2, 3], [False] * 4)
    turned = weights.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    check(Packing("convolution", (2 * unit.lanes,)), turned, unit, 2)
    check(Packing("winograd", (4, unit.lanes, 1)), turned, unit, 2)
