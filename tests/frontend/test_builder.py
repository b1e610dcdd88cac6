# SPDX-License-Identifier: MIT
"""The builder: what is described comes out as a canonical graph, and mistakes are explained."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from agreement import Compiled, assert_agree
from ranvier.errors import LayerError
from ranvier.frontend import builder as nn
from ranvier.frontend.builder.weights import around, scaled
from ranvier.ir import Array, Graph, TensorType, interpret, parse_graph, print_graph, verify
from ranvier.ir.printer import digest

GOLDEN = """\
graph @small(%image: float32[1, 2, 4, 4]) {
  param %stem.conv1.weight: float32[2, 2, 3, 3] = (...)
  param %stem.conv1.bias: float32[2, 1, 1] = (...)
  param %stem.bn1.scale: float32[2] = (...)
  param %stem.bn1.bias: float32[2] = (...)
  param %stem.bn1.mean: float32[2] = (...)
  param %stem.bn1.variance: float32[2] = (...)
  param %constant: float32[] = (...)
  param %fc.weight: float32[2, 3] = (...)
  %stem.conv1.conv: float32[1, 2, 4, 4] = conv(%image, %stem.conv1.weight) \
{strides=(1, 1), low=(1, 1), high=(1, 1), dilation=(1, 1), input_dilation=(1, 1)}
  %stem.conv1: float32[1, 2, 4, 4] = add(%stem.conv1.conv, %stem.conv1.bias)
  %stem.bn1: float32[1, 2, 4, 4] = batch_norm(%stem.conv1, %stem.bn1.scale, %stem.bn1.bias, \
%stem.bn1.mean, %stem.bn1.variance)
  %relu: float32[1, 2, 4, 4] = relu(%stem.bn1)
  %multiply: float32[1, 2, 4, 4] = mul(%relu, %constant)
  %add: float32[1, 2, 4, 4] = add(%multiply, %image)
  %relu_1: float32[1, 2, 4, 4] = relu(%add)
  %global_average_pool: float32[1, 2] = reduce_mean(%relu_1) {axes=(2, 3)}
  %dropout: float32[1, 2] = dropout_site(%global_average_pool) {ratio=0.5}
  %scores: float32[1, 3] = mat_mul(%dropout, %fc.weight)
  return %scores
}
"""


def small(extra: bool = False) -> nn.Network:
    x = nn.input("image", (1, 2, 4, 4))
    with nn.scope("stem"):
        y = nn.conv(x, 2, 3, padding="same", name="conv1")
        y = nn.batch_norm(y, name="bn1")
    y = nn.relu(nn.relu(y) * 0.5 + x)
    if extra:
        y = nn.relu(nn.conv(y, 2, 1, name="extra"))
    y = nn.linear(nn.dropout(nn.global_average_pool(y), 0.5), 3, bias=False, name="fc")
    return nn.network("small", [x], {"scores": y})


def without_numbers(graph: Graph) -> str:
    lines = print_graph(graph).splitlines(keepends=True)
    return "".join(
        line.partition(" = ")[0] + " = (...)\n" if line.startswith("  param") else line
        for line in lines
    )


def test_text_of_a_small_network() -> None:
    assert without_numbers(small().graph()) == GOLDEN


def test_graph_verifies_and_is_read_back() -> None:
    graph = small().graph()
    verify(graph)
    assert parse_graph(print_graph(graph)) == graph


def test_graph_compiles_to_what_it_means(compiled: Compiled) -> None:
    graph = small().graph()
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    (expected,) = interpret(graph, [x])
    (actual,) = compiled(graph, [x])
    assert_agree(actual, expected)


# Parameters


def test_parameters_are_listed_by_name() -> None:
    parameters = small().parameters
    assert [name for name, p in parameters.items() if not p.trainable] == [
        "stem.bn1.mean",
        "stem.bn1.variance",
    ]
    assert small().parameter_count == 36 + 2 + 4 + 6


def test_weights_depend_on_seed_and_name_alone() -> None:
    one, two = small().initial(0), small(extra=True).initial(0)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    other = small().initial(1)
    assert not any(np.array_equal(one[name], other[name]) for name in one)


def test_weights_are_the_same_in_every_process() -> None:
    code = (
        "from ranvier.frontend.builder.weights import around; "
        "from ranvier.ir import TensorType; from ranvier.ir.printer import digest; "
        "print(digest(around(0, 1).draw(7, 'conv1.weight', TensorType('float32', (3, 5)))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = around(0, 1).draw(7, "conv1.weight", TensorType("float32", (3, 5)))
    assert done.stdout.strip() == digest(here)
    # On every machine and with every NumPy, too: models that are built twice are one model.
    assert done.stdout.startswith("938eeba824eb296c")


def test_weights_fill_their_interval() -> None:
    numbers = around(3.0, 2.0).draw(0, "w", TensorType("float32", (100_000,)))
    assert numbers.dtype == np.float32
    assert 1 <= numbers.min() < 1.01
    assert 4.99 < numbers.max() <= 5
    assert abs(numbers.mean() - 3) < 0.02
    assert abs(numbers.var() - 4 / 3) < 0.02


def test_scaled_weights_keep_the_mean_square() -> None:
    x = np.random.default_rng(0).standard_normal((1000, 256)).astype(np.float32)
    for gain, operand in ((1.0, x), (2.0, np.maximum(x, 0))):
        w = scaled(256, gain).draw(0, "w", TensorType("float32", (256, 256)))
        assert 0.9 < np.square(operand @ w).mean() < 1.1


def test_given_weights_are_used() -> None:
    network = small()
    weights = {k: np.zeros_like(a) for k, a in network.initial().items()}
    weights["stem.bn1.variance"] += 1
    graph = network.graph(weights=weights)
    assert all(graph.parameters[name] is array for name, array in weights.items())


def drop(weights: dict[str, Array]) -> None:
    del weights["fc.weight"]


def add_unknown(weights: dict[str, Array]) -> None:
    weights["fc.bias"] = np.zeros(3, np.float32)


def transpose(weights: dict[str, Array]) -> None:
    weights["fc.weight"] = weights["fc.weight"].T


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, "network 'small': weights lack parameter 'fc.weight'"),
        (add_unknown, "network 'small': has no parameter 'fc.bias'"),
        (transpose, "parameter 'fc.weight' is float32[2, 3], found float32[3, 2]"),
    ],
)
def test_weights_that_do_not_fit(change: Callable[[dict[str, Array]], None], message: str) -> None:
    weights = small().initial()
    change(weights)
    with pytest.raises(LayerError) as caught:
        small().graph(weights=weights)
    assert message in str(caught.value)


# Names


def test_unnamed_layers_get_names_that_no_named_layer_has() -> None:
    x = nn.input("x", (1, 4))
    y = nn.linear(x, 4)
    y = nn.linear(y, 4, name="linear")
    y = nn.linear(y, 4)
    assert list(nn.network("g", [x], [y]).parameters) == [
        "linear_1.weight",
        "linear_1.bias",
        "linear.weight",
        "linear.bias",
        "linear_2.weight",
        "linear_2.bias",
    ]


def test_outputs_without_names_are_called_as_their_layers() -> None:
    x = nn.input("x", (1, 4))
    graph = nn.graph("g", [x], [nn.linear(x, 2, name="fc"), nn.relu(x)])
    assert [v.name for v in graph.outputs] == ["fc", "output1"]


def test_one_tensor_may_be_several_outputs_and_an_input_one() -> None:
    x = nn.input("x", (2,))
    y = nn.relu(x)
    graph = nn.graph("g", [x], {"a": y, "b": y, "c": nn.dropout(x, 0.1)})
    verify(graph)
    results = interpret(graph, [np.array([-1, 1], np.float32)])
    assert [r.tolist() for r in results] == [[0, 1], [0, 1], [-1, 1]]
    assert [v.name for v in graph.outputs] == ["a", "b", "c"]


def test_inputs_that_nothing_reads_stay() -> None:
    x, y = nn.input("x", (2,)), nn.input("y", (3,), "int64")
    assert [str(v) for v in nn.graph("g", [x, y], [nn.relu(x)]).inputs] == [
        "%x: float32[2]",
        "%y: int64[3]",
    ]


# Layers in NumPy


def run(network: nn.Network, *arrays: Array) -> list[Array]:
    graph = network.graph()
    verify(graph)
    return interpret(graph, arrays)


def test_arithmetic_of_tensors() -> None:
    x = nn.input("x", (2, 2))
    y = 2 * (1 - x / 4) + x @ x - x + 0.5
    (result,) = run(nn.network("g", [x], [y]), np.array([[1, 2], [3, 4]], np.float32))
    a = np.array([[1, 2], [3, 4]])
    np.testing.assert_allclose(result, 2 * (1 - a / 4) + a @ a - a + 0.5)


def test_split_and_concat_and_crop() -> None:
    x = nn.input("x", (1, 4))
    first, second = nn.split(x, 2)
    y = nn.concat((second, first, nn.crop(x, 1, 1, 2)))
    (result,) = run(nn.network("g", [x], [y]), np.array([[1, 2, 3, 4]], np.float32))
    assert result.tolist() == [[3, 4, 1, 2, 2]]


def test_softmax_of_the_last_axis() -> None:
    x = nn.input("x", (2, 3))
    [found] = interpret(nn.graph("g", [x], [nn.softmax(x)]), [np.eye(2, 3, dtype=np.float32)])
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)


def test_attention_hides_what_the_mask_hides() -> None:
    x, mask = nn.input("x", (1, 3, 4)), nn.input("mask", (1, 3), "int64")
    seen = nn.reshape(nn.not_equal(mask, 0), (1, 1, 1, 3))
    y = nn.attention(x, x, x, 2, mask=seen)
    network = nn.network("g", [x, mask], [y])
    a = np.random.default_rng(0).standard_normal((1, 3, 4)).astype(np.float32)
    (result,) = run(network, a, np.array([[1, 0, 1]]))
    keys = a[0][[0, 2]]
    for head in (slice(0, 2), slice(2, 4)):
        scores = a[0, :, head] @ keys[:, head].T / np.sqrt(2)
        weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        np.testing.assert_allclose(result[0, :, head], weights @ keys[:, head], 1e-5, 1e-6)


@pytest.mark.parametrize("layer", [nn.lstm, nn.gru])
def test_recurrent_layers_read_in_both_directions(
    layer: Callable[..., tuple[nn.Tensor, ...]],
) -> None:
    x = nn.input("x", (5, 2, 3))
    outputs, last = layer(x, 4, bidirectional=True, name="rnn")
    network = nn.network("g", [x], {"outputs": outputs, "last": last})
    assert (outputs.shape, last.shape) == ((5, 2, 8), (2, 8))
    a = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    steps, final = run(network, a)
    np.testing.assert_array_equal(final[:, :4], steps[-1, :, :4])
    np.testing.assert_array_equal(final[:, 4:], steps[0, :, 4:])
    turned, _ = run(network, a[::-1])
    assert np.abs(turned - steps).max() > 0.01


# Mistakes


def image(*shape: int) -> nn.Tensor:
    return nn.input("image", shape or (1, 6, 8, 8))


MISTAKES: list[tuple[Callable[[], object], str]] = [
    (
        lambda: nn.conv(image(1, 6), 4, 3, name="conv1"),
        "conv 'conv1': data must be (batch, channels, spatial...), found float32[1, 6]",
    ),
    (
        lambda: nn.conv(image(), 4, (3, 3, 3), name="conv1"),
        "conv 'conv1': kernel=[3, 3, 3] must be one number or 2, one per axis",
    ),
    (
        lambda: nn.conv(image(), 4, 3, groups=4),
        "conv 'conv': groups=4 must divide the 6 channels of the data and the 4 of the result",
    ),
    (lambda: nn.conv(image(), 4, 2, padding="same"), "'same' with an odd kernel (is (2, 2))"),
    (
        lambda: nn.conv(image(), 4, 9, name="conv1"),
        "conv 'conv1': the result float32[1, 4, 0, 0] of float32[1, 6, 8, 8] would be empty",
    ),
    (lambda: nn.max_pool(image(), 2, padding=2), "padding=[2, 2] must be at most half the window"),
    (lambda: nn.linear(nn.input("x", (3,)), 2), "linear 'linear': data must have two axes"),
    (lambda: nn.embedding(image(), 9, 4), "positions must be integers, found float32[1, 6, 8, 8]"),
    (lambda: nn.group_norm(image(), 4), "groups=4 must divide the channels of float32[1, 6, 8, 8]"),
    (lambda: nn.instance_norm(image(1, 6, 1, 1)), "the statistics of one element"),
    (lambda: image() + image(1, 5, 8, 8), "add 'add': shapes [1, 6, 8, 8] and [1, 5, 8, 8]"),
    (lambda: nn.concat((image(), image(1, 6, 8, 7))), "concat 'concat': "),
    (lambda: nn.concat(()), "there are no tensors to join"),
    (lambda: nn.split(image(), 4, 1), "axis 1 of float32[1, 6, 8, 8] does not split into 4 equal"),
    (lambda: nn.crop(image(), 4, 0, 1), "axis 4 does not exist in float32[1, 6, 8, 8]"),
    (lambda: nn.reshape(image(), (5, -1)), "float32[1, 6, 8, 8] does not fit the shape [5, -1]"),
    (lambda: nn.resize(image(), 4, "area"), "mode='area' must be linear, nearest or cubic"),
    (lambda: nn.dropout(image(), 1.0), "rate=1.0 must be from 0 to below 1"),
    (lambda: nn.attention(image(1, 4, 6), image(1, 4, 6), image(1, 4, 6), 4), "a multiple of 4"),
    (lambda: nn.lstm(image(), 4), "lstm 'lstm': data must be (steps, batch, features)"),
    (lambda: nn.input("x", (1, 0)), "input 'x': sizes must be positive numbers, found [1, 0]"),
    (lambda: nn.relu(image(), name=""), "a name within '' is empty"),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES, ids=[m[:40] for _, m in MISTAKES])
def test_mistakes_name_layer_and_sizes(mistake: Callable[[], object], message: str) -> None:
    with pytest.raises(LayerError) as caught:
        mistake()
    assert message in str(caught.value)


def test_scopes_are_part_of_the_message() -> None:
    with nn.scope("encoder"), nn.scope(3), pytest.raises(LayerError, match=r"encoder\.3\.conv1"):
        nn.conv(image(1, 6), 4, 3, name="conv1")


def test_two_layers_of_one_name() -> None:
    x = image()
    y = nn.conv(nn.conv(x, 6, 1, name="conv1"), 6, 1, name="conv1")
    with pytest.raises(LayerError) as caught:
        nn.network("net", [x], [y])
    assert "conv 'conv1' and conv 'conv1' have the same name" in str(caught.value)


def test_an_input_that_is_missing() -> None:
    x, y = nn.input("x", (2,)), nn.input("mask", (2,))
    with pytest.raises(LayerError, match="depends on input 'mask', which is not among its inputs"):
        nn.network("net", [x], [x + y])


def test_an_input_that_is_none() -> None:
    x = nn.input("x", (2,))
    with pytest.raises(LayerError, match=r"float32\[2\] is no input; make it by nn.input"):
        nn.network("net", [nn.relu(x)], [nn.relu(x)])


def test_a_network_without_outputs() -> None:
    with pytest.raises(LayerError, match="network 'net': has no outputs"):
        nn.network("net", [], {})
