# SPDX-License-Identifier: MIT
"""Canonical rewrites keep every bit: of NaN that it is one, of zero its sign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import random_graphs
from ranvier.ir import Array, Graph, TensorType, interpret, numpy_dtype, ops
from ranvier.passes import canonicalise, fold_constants

Draw = Callable[[st.SearchStrategy[Any]], Any]

SPECIAL = np.array([0.0, -0.0, 1.0, -1.5, np.nan, np.inf, -np.inf, 1e-40, 3e38])
# Maxima may return either zero, and sums depend on their order; the rest is exact.
INEXACT = (random_graphs.reduction,)
STEPS = tuple(s for s in random_graphs.STEPS if s not in INEXACT)


@st.composite
def exact_graphs(draw: Draw) -> Graph:
    """Draw a graph of ops whose results IEEE 754 fixes to the bit."""
    with (
        mock.patch.object(random_graphs, "STEPS", STEPS),
        mock.patch.object(random_graphs, "UNARY", (ops.Neg, ops.Abs, ops.Relu)),
        mock.patch.object(random_graphs, "INTEGER_UNARY", (ops.Neg, ops.Abs)),
        mock.patch.object(random_graphs, "BINARY", (ops.Add, ops.Sub, ops.Mul)),
    ):
        graph: Graph = draw(random_graphs.graphs())
    return graph


def special(graph: Graph) -> list[Array]:
    """Return inputs made of the numbers that rewrites get wrong."""
    arrays: list[Array] = []
    for value in graph.inputs:
        assert isinstance(value.type, TensorType)
        numbers = SPECIAL if value.type.dtype.startswith("float") else np.arange(-4, 5)
        with np.errstate(over="ignore"):
            arrays.append(np.resize(numbers, value.type.dims).astype(numpy_dtype(value.type.dtype)))
    return arrays


def bits(array: Array) -> bytes:
    """Return the bytes of ``array``, those of NaN made equal."""
    array = np.array(array, order="C")
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    return array.tobytes()


@given(exact_graphs())
def test_every_bit_stays(graph: Graph) -> None:
    inputs = special(graph)
    expected = interpret(graph, inputs)
    for after in (canonicalise(graph), fold_constants(graph), canonicalise(fold_constants(graph))):
        for actual, wanted in zip(interpret(after, inputs), expected, strict=True):
            assert bits(actual) == bits(wanted)
