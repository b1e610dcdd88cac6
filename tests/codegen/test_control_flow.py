# SPDX-License-Identifier: MIT
"""Control ops compiled into `main` against the interpreter: aliases, nesting, captured values."""

from __future__ import annotations

import numpy as np
import pytest

from agreement import Compiled
from ranvier.ir import Array, Graph, interpret, parse_graph

SWAPPED_STATES = """graph @g(%a: float32[2], %b: float32[2]) {
  %x: float32[2], %y: float32[2] = scan(%a, %b) {body=graph @body(%s: float32[2], %t: float32[2]) {
    return %t, %s
  }, length=3, num_carried=2, num_scanned=0}
  return %x, %y
}
"""

STATE_AS_OUTPUT = """graph @g(%a: float32[2], %xs: float32[3, 2]) {
  %x: float32[2], %ys: float32[3, 2], %zs: float32[3, 2], %ws: float32[3, 2] = scan(%a, %xs)
  {body=graph @body(%s: float32[2], %v: float32[2]) {
    %n: float32[2] = add(%s, %v)
    return %n, %n, %s, %v
  }, length=3, num_carried=1, num_scanned=1}
  return %x, %ys, %zs, %ws
}
"""

NESTED = """graph @g(%a: float32[2], %xs: float32[3, 4, 2], %k: float32[2]) {
  %x: float32[2], %ys: float32[3, 4, 2] = scan(%a, %xs, %k)
  {body=graph @outer(%s: float32[2], %rows: float32[4, 2], %c: float32[2]) {
    %m: float32[2], %os: float32[4, 2] = scan(%s, %rows, %c)
    {body=graph @inner(%t: float32[2], %row: float32[2], %d: float32[2]) {
      param %half: float32[] = (0.5,)
      %p: float32[2] = mul(%t, %half)
      %q: float32[2] = add(%p, %row)
      %r: float32[2] = add(%q, %d)
      return %r, %q
    }, length=4, num_carried=1, num_scanned=1}
    return %m, %os
  }, length=3, num_carried=1, num_scanned=1}
  return %x, %ys
}
"""

BRANCH = """graph @g(%go: bool[], %a: float32[2], %b: float32[2]) {
  %x: float32[2], %y: float32[2] = branch(%go, %a, %b)
  {then_body=graph @yes(%p: float32[2], %q: float32[2]) {
    %r: float32[2] = add(%p, %q)
    return %r, %r
  }, else_body=graph @no(%p: float32[2], %q: float32[2]) {
    return %q, %p
  }}
  %z: float32[2] = mul(%x, %y)
  return %x, %z
}
"""

WHILE = """graph @g(%go: bool[], %a: float32[], %limit: float32[]) {
  %x: float32[] = while_loop(%go, %a, %limit)
  {body=graph @body(%i: int64[], %s: float32[], %top: float32[]) {
    param %two: float32[] = (2.0,)
    %n: float32[] = mul(%s, %two)
    %again: bool[] = less(%n, %top)
    return %again, %n
  }, max_trips=MAX}
  return %x
}
"""


def f32(*numbers: float) -> Array:
    """Return a float32 array of these numbers."""
    return np.asarray(numbers, np.float32)


def check(compiled: Compiled, graph: Graph, *inputs: Array) -> list[Array]:
    """Compare compiled and interpreted results; return them."""
    found = compiled(graph, inputs)
    for a, b in zip(found, interpret(graph, inputs), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, rtol=1e-6)
    return found


def test_states_that_swap_read_before_they_are_written(compiled: Compiled) -> None:
    x, y = check(compiled, parse_graph(SWAPPED_STATES), f32(1, 2), f32(3, 4))
    assert (x[0], y[0]) == (3, 1)


def test_states_and_slices_may_be_results_of_a_step(compiled: Compiled) -> None:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    check(compiled, parse_graph(STATE_AS_OUTPUT), f32(1, 2), rows)


def test_loops_nest(compiled: Compiled) -> None:
    rows = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    check(compiled, parse_graph(NESTED), f32(1, 2), rows, f32(0.25, -1))


@pytest.mark.parametrize("go", [False, True])
def test_branches_take_either_side(compiled: Compiled, go: bool) -> None:
    check(compiled, parse_graph(BRANCH), np.asarray(go), f32(1, 2), f32(3, 5))


@pytest.mark.parametrize(("go", "limit", "trips"), [(True, 100, -1), (True, 100, 3), (False, 9, 5)])
def test_while_stops_by_condition_and_by_count(
    compiled: Compiled, go: bool, limit: float, trips: int
) -> None:
    graph = parse_graph(WHILE.replace("MAX", str(trips)))
    check(compiled, graph, np.asarray(go), np.float32(1), np.float32(limit))
