# SPDX-License-Identifier: MIT
"""Compiled kernels read and write narrow types as ml_dtypes does: every code, every edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ranvier.ir import Array, Emitter, Graph, numpy_dtype, ops, type_of

Compiled = Callable[[Graph, Sequence[Any]], list[Any]]

FLOATS = ["float16", "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2"]
FLOATS += ["float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn"]
INTEGERS = ["int4", "uint4", "int2", "uint2"]
ROUNDED = [d for d in FLOATS if d != "float8_e8m0fnu"]  # its Cast has rounding modes of its own


def codes(dtype: str) -> Array:
    """Return every element that a type has."""
    bits = {"float4_e2m1fn": 4, "int4": 4, "uint4": 4, "int2": 2, "uint2": 2}.get(dtype)
    width = 8 * numpy_dtype(dtype).itemsize
    numbers = np.arange(1 << (bits or width), dtype=f"uint{width}")
    return numbers.view(numpy_dtype(dtype))


def converted(source: Array, dtype: str) -> Array:
    """Return what ml_dtypes makes of the numbers; overflow is part of it."""
    with np.errstate(all="ignore"):
        return source.astype(numpy_dtype(dtype))


def edges(dtype: str) -> Array:
    """Return every number of a type, the middles between neighbours, and what is next to them."""
    finite = converted(codes(dtype), "float32")
    finite = np.unique(finite[np.isfinite(finite)].astype(np.float64))
    points = np.concatenate([finite, (finite[1:] + finite[:-1]) / 2, finite[-1:] * 1.5])
    points = converted(points, "float32")
    near = [np.nextafter(points, np.float32(side)) for side in (-np.inf, np.inf)]
    special = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.4e38, -3.4e38], np.float32
    )
    return np.concatenate([points, -points, *near, special])


def cast(source: Array, op: ops.Cast | ops.Bitcast) -> Graph:
    """Return the graph of a conversion."""
    emit = Emitter()
    x = emit.argument(type_of(source))
    return emit.graph("cast", [x], [emit(op, x)])


def is_nan(array: Array) -> Array:
    """Return where elements are NaN."""
    return np.isnan(converted(array, "float64"))


def assert_same_bits(actual: Array, expected: Array) -> None:
    """Assert equality of bits, but of NaN only that it is NaN."""
    assert actual.dtype == expected.dtype
    word = f"uint{8 * expected.dtype.itemsize}"
    differ = actual.view(word) != expected.view(word)
    if expected.dtype.kind not in "biu" and "int" not in str(expected.dtype):
        differ &= ~(is_nan(actual) & is_nan(expected))
    where = np.flatnonzero(differ)[:5]
    assert not where.size, f"{actual[where]} instead of {expected[where]}"


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_every_code_is_decoded(dtype: str, compiled: Compiled) -> None:
    source = codes(dtype)
    (actual,) = compiled(cast(source, ops.Cast("float32")), [source])
    assert_same_bits(actual, converted(source, "float32"))


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_every_code_is_kept(dtype: str, compiled: Compiled) -> None:
    """One kernel reads and writes each of them."""
    source = codes(dtype)
    emit = Emitter()
    x = emit.argument(type_of(source))
    once = emit.graph("kept", [x], [emit(ops.Maximum(), x, x)])
    (actual,) = compiled(once, [source])
    assert_same_bits(actual, source)


@pytest.mark.parametrize("dtype", ROUNDED)
def test_edges_are_rounded(dtype: str, compiled: Compiled) -> None:
    source = edges(dtype)
    (actual,) = compiled(cast(source, ops.Cast(dtype, saturate=False)), [source])
    assert_same_bits(actual, converted(source, dtype))


@pytest.mark.parametrize("rounding", ["up", "down", "nearest"])
@pytest.mark.parametrize("saturate", [True, False])
def test_edges_are_rounded_to_powers_of_two(
    rounding: str, saturate: bool, compiled: Compiled
) -> None:
    source = edges("float8_e8m0fnu")
    op = ops.Cast("float8_e8m0fnu", saturate, rounding)
    (actual,) = compiled(cast(source, op), [source])
    assert_same_bits(actual, op.evaluate(source)[0])


@pytest.mark.parametrize("dtype", [d for d in ROUNDED if "float8" in d])
def test_edges_saturate(dtype: str, compiled: Compiled) -> None:
    source = edges(dtype)
    (actual,) = compiled(cast(source, ops.Cast(dtype)), [source])
    assert np.array_equal(is_nan(actual), is_nan(source))
    assert np.isfinite(actual[~is_nan(source)].astype(np.float32)).all()
    assert_same_bits(actual, ops.Cast(dtype).evaluate(source)[0])


@pytest.mark.parametrize("dtype", ROUNDED)
@settings(max_examples=15)
@given(words=arrays(np.uint32, 256, elements=st.integers(0, 2**32 - 1)))
def test_any_float_is_rounded(dtype: str, words: Array, compiled: Compiled) -> None:
    source = words.view(np.float32)
    (actual,) = compiled(cast(source, ops.Cast(dtype, saturate=False)), [source])
    assert_same_bits(actual, converted(source, dtype))


def test_float64_is_rounded_to_float16_once(compiled: Compiled) -> None:
    halves = codes("float16").astype(np.float64)
    halves = np.unique(halves[np.isfinite(halves)])
    middle = (halves[1:] + halves[:-1]) / 2
    source = np.concatenate([middle * (1 + 1e-12), middle, middle * (1 - 1e-12), [1e300, np.inf]])
    (actual,) = compiled(cast(source, ops.Cast("float16")), [source])
    assert_same_bits(actual, converted(source, "float16"))


@pytest.mark.parametrize("dtype", [d for d in FLOATS if numpy_dtype(d).itemsize == 1])
def test_bits_are_read_without_a_change(dtype: str, compiled: Compiled) -> None:
    """Payloads of NaN too, which a conversion to float32 and back would lose."""
    source = codes(dtype)
    target = "uint4" if dtype == "float4_e2m1fn" else "uint8"
    (actual,) = compiled(cast(source, ops.Bitcast(target)), [source])
    assert np.array_equal(actual.view(np.uint8), source.view(np.uint8))
    (back,) = compiled(cast(actual, ops.Bitcast(dtype)), [actual])
    assert np.array_equal(back.view(np.uint8), source.view(np.uint8))
