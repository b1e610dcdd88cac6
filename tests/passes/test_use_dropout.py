# SPDX-License-Identifier: MIT
"""Dropout in training: the right share, by each sample's key, and nothing outside of training."""

from __future__ import annotations

import numpy as np
import pytest

from ranvier.errors import PassError
from ranvier.frontend import builder as nn
from ranvier.ir import Array, Graph, interpret, ops, parse_graph, verify
from ranvier.passes import CANONICAL, run_passes, use_dropout


def keys(*seeds: int) -> Array:
    return np.stack([ops.key_of(seed) for seed in seeds])


def dropping(samples: int, size: int = 3000) -> Graph:
    x = nn.input("x", (samples, size))
    graph = nn.graph("g", [x], {"y": nn.dropout(x, 0.25), "z": nn.dropout(x, 0.25)})
    return verify(use_dropout(graph))


def test_a_share_is_dropped_and_the_rest_scaled() -> None:
    y, z = interpret(dropping(2), [np.ones((2, 3000), np.float32), keys(1, 2)])
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    # The standard deviation of the share is 0.0056.
    assert abs((y == 0).mean() - 0.25) < 0.03
    assert (y[0] != y[1]).any()
    assert (y != z).any(), "two sites drop different elements"


def test_what_is_dropped_of_a_sample_depends_on_its_key_alone() -> None:
    x = np.ones((3, 3000), np.float32)
    three = interpret(dropping(3), [x, keys(5, 6, 7)])[0]
    two = interpret(dropping(2), [x[:2], keys(7, 5)])[0]
    np.testing.assert_array_equal(three[[2, 0]], two)


def test_sites_may_hold_samples_in_rows() -> None:
    graph = parse_graph("""graph @g(%x: float32[2, 6], %n: float32[1]) {
      %rows: float32[4, 3] = reshape(%x) {shape=(4, 3)}
      %y: float32[4, 3] = dropout_site(%rows) {ratio=0.5}
      return %y
    }""")
    used = verify(use_dropout(graph))
    assert str(used.inputs[-1]) == "%key: uint32[2, 4]"
    found = interpret(used, [np.ones((2, 6), np.float32), np.ones(1, np.float32), keys(1, 1)])[0]
    np.testing.assert_array_equal(found[:2], found[2:])
    with pytest.raises(PassError, match=r"site 'y' of shape \[4, 3\] does not hold as many"):
        use_dropout(graph, samples=5)


def test_nothing_is_dropped_outside_of_training() -> None:
    x = nn.input("x", (2, 3))
    graph = nn.graph("g", [x], {"y": nn.relu(nn.dropout(nn.tanh(x), 0.5))})
    assert [n.op.name for n in run_passes(graph, CANONICAL)] == ["tanh", "relu"]
    plain = run_passes(graph, CANONICAL)
    assert use_dropout(plain) is plain
