# SPDX-License-Identifier: MIT
"""Graphs compile and run as models do."""

from __future__ import annotations

import numpy as np
import pytest

import ranvier
from agreement import assert_agree
from ranvier.errors import ExecutionError, InputError, VerificationError
from ranvier.frontend import builder as nn
from ranvier.frontend import load
from ranvier.frontend.export import export
from ranvier.ir import Graph, Node, TensorType, Value, interpret, ops


def words() -> Graph:
    """The sum of each word's entry of a table and a bias."""
    tokens, bias = nn.input("tokens", (2, 3), "int64"), nn.input("bias", (4,))
    y = nn.embedding(tokens, 5, 4, name="table") + bias
    return nn.graph("words", [tokens, bias], {"rows": y, "bias again": bias})


def feeds() -> dict[str, np.ndarray]:
    return {"tokens": np.array([[0, 4, -1], [1, 2, 3]]), "bias": np.arange(4, dtype=np.float32)}


def test_graph_compiles_to_an_artifact() -> None:
    artifact = ranvier.compile(words())
    assert artifact.model.name == "words"
    session = ranvier.Session(artifact)
    results = session.run(None, feeds())
    for a, e in zip(results, interpret(words(), list(feeds().values())), strict=True):
        assert_agree(a, e)


def test_graph_runs_in_a_session_as_its_onnx_form_does() -> None:
    graph, model = ranvier.Session(words()), ranvier.Session(export(words()))
    assert [v.name for v in graph.get_inputs()] == ["tokens", "bias"]
    assert [v.name for v in graph.get_outputs()] == ["rows", "bias again"]
    assert len(model.get_outputs()) == 2
    for a, e in zip(graph.run(None, feeds()), model.run(None, feeds()), strict=True):
        assert_agree(a, e)


def test_index_that_does_not_exist_is_refused() -> None:
    session = ranvier.Session(words())
    wrong = {**feeds(), "tokens": np.full((2, 3), 5)}
    with pytest.raises(ExecutionError, match=r"table: an index is outside \[-5, 5\)"):
        session.run(None, wrong)


def test_other_sizes_are_refused() -> None:
    with pytest.raises(InputError, match=r"tokens.*int64\[2, 3\]"):
        ranvier.Session(words()).run(None, {**feeds(), "tokens": np.zeros((2, 4), np.int64)})
    with pytest.raises(InputError, match=r"input 'tokens' is int64\[2, 3\], found \[2, 4\]"):
        ranvier.compile(words(), shapes={"tokens": (2, 4)})


def test_graph_that_is_not_canonical() -> None:
    imported = load(export(words())).graph
    with pytest.raises(InputError, match="holds the ONNX operator Gather; pass the model"):
        ranvier.compile(imported)


def test_graph_of_symbolic_sizes() -> None:
    x = Value("x", TensorType("float32", ("N", 3)))
    with pytest.raises(InputError, match=r"input 'x' is float32\[N, 3\], expected a tensor of fix"):
        ranvier.compile(Graph("g", (x,), (), (x,)))


def test_graph_that_is_not_well_formed() -> None:
    x, y = (Value(name, TensorType("float32", (3,))) for name in "xy")
    with pytest.raises(VerificationError):
        ranvier.compile(Graph("g", (x,), (Node(ops.Relu(), (y,), (y,)),), (y,)))
