# SPDX-License-Identifier: MIT
"""Instance and group norms become statistics and their use where the target wants it."""

from __future__ import annotations

from agreement import assert_agree
from arrays import inputs_for
from ranvier.ir import TensorType, interpret, parse_graph, print_graph
from ranvier.passes import split_normalization

TEXT = """graph @g(%x: float32[2, 4, 3, 5], %s: float32[4], %b: float32[4]) {
  %a: float32[2, 4, 3, 5] = instance_norm(%x, %s, %b)
  %y: float32[2, 4, 3, 5] = group_norm(%a, %s, %b) {groups=2}
  return %y
}"""


def wide(type: TensorType) -> bool:
    """Want tensors of eight channels or more."""
    return type.dims[1] >= 8


def test_both_norms_are_split() -> None:
    graph = parse_graph(TEXT)
    split = split_normalization(graph, wanted=lambda _: True)
    names = [node.op.name for node in split.nodes]
    assert names == ["slab_moments", "normalise_by_moments"] * 2
    assert "normalise_by_moments(%x, %v0, %s, %b) {groups=4" in print_graph(split)
    inputs = inputs_for(graph)
    assert_agree(interpret(split, inputs), interpret(graph, inputs))


def test_what_the_target_does_not_want_stays() -> None:
    graph = parse_graph(TEXT)
    assert split_normalization(graph) is graph
    assert split_normalization(graph, wanted=wide) is graph
