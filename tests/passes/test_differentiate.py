# SPDX-License-Identifier: MIT
"""Gradients as outputs, by which a graph learns; the statistics that batch norms keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from precision import in_float64
from ranvier.errors import OpError, PassError
from ranvier.frontend import zoo
from ranvier.ir import Emitter, Graph, interpret, ops, parse_graph, verify
from ranvier.passes import differentiate, parameters_as_inputs, use_batch_statistics

LINE = """graph @line(%x: float64[3, 2], %w: float64[2, 1], %unused: float64[4]) {
  %y: float64[3, 1] = mat_mul(%x, %w)
  %square: float64[3, 1] = mul(%y, %y)
  %loss: float64[] = reduce_sum(%square) {axes=(0, 1)}
  return %loss, %y
}"""


def _with_loss(graph: Graph) -> Graph:
    """Append the sum of squares of the first output."""
    emit = Emitter.continuing(graph)
    emit.nodes.extend(graph.nodes)
    scores = graph.outputs[0]
    emit.multi(ops.ReduceSum((0, 1)), emit(ops.Mul(), scores, scores), names=("loss",))
    loss = emit.nodes[-1].output
    return emit.graph(graph.name, graph.inputs, (*graph.outputs, loss), graph.parameters)


def parsed(text: str) -> Graph:
    return verify(parse_graph(text))


def test_gradients_follow_the_outputs_under_the_names_of_what_they_are_for() -> None:
    graph = verify(differentiate(parsed(LINE), wrt=("w", "unused")))
    assert [v.name for v in graph.outputs] == ["loss", "y", "gradient.w", "gradient.unused"]
    x, w = np.arange(6.0).reshape(3, 2), np.array([[2.0], [-1.0]])
    _, _, dw, unused = interpret(graph, [x, w, np.ones(4)])
    np.testing.assert_allclose(dw, 2 * x.T @ (x @ w))
    assert not unused.any()


def test_one_value_may_be_the_gradient_of_two() -> None:
    graph = parsed("""graph @sum(%a: float32[2], %b: float32[2]) {
      %c: float32[2] = add(%a, %b)
      %loss: float32[] = reduce_sum(%c) {axes=(0,)}
      return %loss
    }""")
    joint = verify(differentiate(graph, wrt=("a", "b")))
    _, da, db = interpret(joint, [np.ones(2, np.float32), np.ones(2, np.float32)])
    assert da.tolist() == db.tolist() == [1, 1]


def test_gradients_agree_with_differences_along_a_direction() -> None:
    network = zoo.network("resnet18", batch=3, size=32, classes=4, width=2)
    names = tuple(k for k, p in network.parameters.items() if p.trainable)
    graph = _with_loss(use_batch_statistics(network.graph(1)))
    graph = in_float64(parameters_as_inputs(graph, names))
    joint = differentiate(graph, loss="loss", wrt=names)
    rng = np.random.default_rng(0)
    image = rng.standard_normal((3, 3, 32, 32))
    weights = [network.initial(1)[k].astype(np.float64) for k in names]
    gradients = interpret(joint, [image, *weights])[-len(names) :]
    along = [rng.standard_normal(w.shape) * np.abs(w).mean() for w in weights]
    expected = sum(float((g * d).sum()) for g, d in zip(gradients, along, strict=True))
    # Small enough that no rectifier changes its mind, large enough for float64.
    step = 1e-7
    ahead, behind = (
        interpret(graph, [image, *(w + s * step * d for w, d in zip(weights, along, strict=True))])
        for s in (1, -1)
    )
    found = (float(ahead[-1]) - float(behind[-1])) / (2 * step)
    assert found == pytest.approx(expected, rel=1e-5)


def test_parameters_by_default_and_as_inputs() -> None:
    graph = parameters_as_inputs(parsed(LINE), [])
    assert graph.inputs == parsed(LINE).inputs
    with pytest.raises(PassError, match=r"graph 'line' has no parameter 'v'"):
        parameters_as_inputs(graph, ["v"])
    network = zoo.network("lstm_classifier")
    whole = network.graph(0)
    moved = verify(parameters_as_inputs(whole, network.parameters))
    assert [v.name for v in moved.inputs[len(whole.inputs) :]] == list(network.parameters)
    assert not set(network.parameters) & set(moved.parameters)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "z"}, r"graph 'line' has no output 'z'; it has: loss, y"),
        ({"loss": "y"}, r"'y' is float64\[3, 1\], expected a float of shape \[\]"),
        ({"wrt": ("v",)}, r"no input or parameter 'v'"),
    ],
)
def test_what_cannot_be_differentiated_is_said(options: dict[str, object], message: str) -> None:
    with pytest.raises(PassError, match=message):
        differentiate(parsed(LINE), **options)


def test_integers_have_no_gradient() -> None:
    graph = parsed("""graph @g(%x: float32[2], %n: int64[2]) {
      %loss: float32[] = reduce_sum(%x) {axes=(0,)}
      return %loss
    }""")
    with pytest.raises(PassError, match=r"'n' is int64\[2\]; only floats have gradients"):
        differentiate(graph, wrt=("n",))


def test_an_op_without_a_gradient_is_named() -> None:
    graph = parsed("""graph @g(%x: float32[4]) {
      %bits: float32[4] = bitcast(%x) {dtype="float32"}
      %loss: float32[] = reduce_sum(%bits) {axes=(0,)}
      return %loss
    }""")
    with pytest.raises(OpError, match="bitcast: has no gradient; see the docstring of Bitcast"):
        differentiate(graph, wrt=("x",))


def test_batch_norms_count_statistics() -> None:
    network = zoo.network("resnet18", batch=2, size=32, classes=4, width=4)
    graph = network.graph(0)
    counted = verify(use_batch_statistics(graph, momentum=0.75))
    statistics = [k for k, p in network.parameters.items() if not p.trainable]
    new = [v.name for v in counted.outputs[1:]]
    assert sorted(new) == sorted("updated." + k for k in statistics)
    image = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    found = dict(zip(new, interpret(counted, [image])[1:], strict=True))
    convolved = interpret(replace(graph, outputs=(graph.nodes[0].output,)), [image])[0]
    expected = 0.75 * graph.parameters["bn1.mean"] + 0.25 * convolved.mean((0, 2, 3))
    np.testing.assert_allclose(found["updated.bn1.mean"], expected, rtol=1e-5, atol=1e-6)


def test_frozen_statistics_stay() -> None:
    graph = zoo.network("resnet18", batch=2, size=32, classes=4, width=4).graph(0)
    assert use_batch_statistics(graph, frozen=("*",)) is graph
    some = use_batch_statistics(graph, frozen=("layer1.*", "layer2.*"))
    assert not any("layer1" in v.name for v in some.outputs)
    assert any("layer3" in v.name for v in some.outputs)
