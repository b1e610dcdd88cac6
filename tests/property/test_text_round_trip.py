# SPDX-License-Identifier: MIT
"""What is printed parses back to an equal graph, whatever the graph."""

from __future__ import annotations

import contextlib

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from random_graphs import graphs
from ranvier.errors import ParseError
from ranvier.ir import Array, Graph, TensorType, Value, dtype_name, parse_graph, print_graph, verify

NUMBERS = ("float16", "float32", "float64", "int8", "int64", "uint8", "uint64", "bool")
NARROW = (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4, ml_dtypes.uint2)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@given(graphs())
def test_graph_is_read_back(graph: Graph) -> None:
    verify(graph)
    text = print_graph(graph)
    again = parse_graph(text)
    assert again == graph
    assert hash(again) == hash(graph)
    assert print_graph(again) == text


@given(graphs())
def test_digests_need_the_arrays(graph: Graph) -> None:
    text = print_graph(graph, inline=0)
    assert parse_graph(text, graph.parameters) == graph


def parameter(array: Array) -> Graph:
    """Return the graph that returns one parameter."""
    value = Value("p", TensorType(dtype_name(array.dtype), array.shape))
    return Graph("g", (), (), (value,), {"p": array})


@given(st.data())
def test_every_element_keeps_its_bits(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(NUMBERS))
    array = data.draw(arrays.arrays(dtype, SHAPES))
    again = parse_graph(print_graph(parameter(array))).parameters["p"]
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    if dtype.startswith("float"):  # NaN payloads are not kept, NaN is
        np.testing.assert_array_equal(again, array)
        np.testing.assert_array_equal(np.signbit(again), np.signbit(array) & ~np.isnan(array))
    else:
        assert again.tobytes() == array.tobytes()


@given(st.sampled_from(NARROW), SHAPES, st.integers(0, 99))
def test_narrow_elements_keep_their_bits(dtype: type, shape: tuple[int, ...], seed: int) -> None:
    array: Array = np.random.default_rng(seed).integers(0, 2, shape).astype(dtype)
    again = parse_graph(print_graph(parameter(array))).parameters["p"]
    assert again.dtype == array.dtype
    assert again.tobytes() == array.tobytes()


@given(arrays.arrays(object, SHAPES, elements=st.text()))
def test_strings_are_read_back(array: Array) -> None:
    graph = parameter(array)
    assert parse_graph(print_graph(graph)) == graph


@given(st.text(max_size=20), st.text(max_size=8))
@example("nan", "inf")
@example("graph", "0")
def test_names_are_read_back(name: str, dim: str) -> None:
    value = Value(name, TensorType("float32", (dim or "N", 3)))
    graph = Graph(name, (value,), (), (value,))
    assert parse_graph(print_graph(graph)) == graph


@given(graphs(), st.data())
def test_damaged_text_is_a_parse_error(graph: Graph, data: st.DataObject) -> None:
    text = print_graph(graph)
    at = data.draw(st.integers(0, len(text) - 1))
    size = data.draw(st.integers(1, 8))
    patch = data.draw(st.text(alphabet='%@"(){}[]<>,:=?x1-.e\\ ', max_size=4))
    with contextlib.suppress(ParseError):  # any other error fails the test
        parse_graph(text[:at] + patch + text[at + size :])


@pytest.mark.parametrize("text", ["", "graph", "graph @g(", "graph @g() {", "graph @g() {\n  nop("])
def test_truncated_text_is_a_parse_error(text: str) -> None:
    with pytest.raises(ParseError, match=r"^line [12]: "):
        parse_graph(text)
