# SPDX-License-Identifier: MIT
"""Ensembles of decision trees: all trees walk down one level at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir import Array, Value, numpy_dtype, ops
from ...ir.ops.elementwise import result_type
from ...ir.ops.shape import expand_axes
from ..convert import Conversion, converter
from .ml import DOMAIN

MAX_DEPTH = 256
MEMBER = 6
_COMPARISONS: dict[int, type[Any]] = {
    0: ops.LessEqual,
    1: ops.Less,
    2: ops.GreaterEqual,
    3: ops.Greater,
    4: ops.Equal,
}
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


@dataclass(frozen=True)
class _Trees:
    """The trees as arrays by node number; the leaves follow the inner nodes and lead to themselves.

    Attributes:
        inner: number of inner nodes.
        modes: comparison of each node.
        splits: threshold of each node.
        features: column that each node looks at.
        missing: whether NaN counts as true.
        branches: next node where the comparison is false and where it is true.
        members: the values of each node of mode ``MEMBER``, filled up with NaN.
        roots: where each tree begins.
    """

    inner: int
    modes: Array
    splits: Array
    features: Array
    missing: Array
    branches: tuple[Array, Array]
    members: Array
    roots: Array

    def depth(self) -> int | None:
        """How many steps lead from any root to a leaf; ``None`` if some lead nowhere."""
        current = self.roots
        for step in range(MAX_DEPTH):
            current = np.unique(current)
            if (current >= self.inner).all():
                return step
            current = np.concatenate([branch[current] for branch in self.branches])
        return None


@converter("TreeEnsemble", domain=DOMAIN)
def tree_ensemble(c: Conversion) -> Value:
    """Walk down every tree for every row, then add up the leaves of each target."""
    trees, x = _trees(c), c.operand(0)
    depth = trees.depth()
    if depth is None:
        raise c.error(f"the trees have cycles or are deeper than {MAX_DEPTH}")
    if not (trees.features >= 0).all() or not (trees.features < c.shape(0)[1]).all():
        raise c.error(f"a feature number is not below {c.shape(0)[1]}")
    shape = (c.shape(0)[0], len(trees.roots))
    node = c.emit(ops.BroadcastTo(shape), c.emit.constant(trees.roots))
    for _ in range(depth):
        node = _step(c, trees, x, node)
    leaf = c.emit(ops.Sub(), node, c.emit.constant(trees.inner, "int64"))
    return _transformed(c, _aggregated(c, leaf))


def _trees(c: Conversion) -> _Trees:
    """Return the trees after checking that all references are inside the arrays."""
    modes = _numbers(c, "nodes_modes")
    inner, leaves = len(modes), len(_numbers(c, "leaf_weights"))
    branches = [
        _numbers(c, f"nodes_{side}nodeids") + inner * (_numbers(c, f"nodes_{side}leafs") != 0)
        for side in ("false", "true")
    ]
    itself = np.arange(inner, inner + leaves)
    wide = [np.concatenate([b, itself]).astype(np.int64) for b in branches]
    roots = _numbers(c, "tree_roots").astype(np.int64)
    referred = np.concatenate([roots, *wide])
    if inner == 0 or len(roots) == 0 or not ((referred >= 0) & (referred < inner + leaves)).all():
        raise c.error("the trees refer to nodes or leaves that are not there")
    dtype = numpy_dtype(c.dtype(0))
    fill = np.zeros(leaves)
    missing = c.attr("nodes_missing_value_tracks_true") or (0,) * inner
    return _Trees(
        inner,
        np.concatenate([modes, fill]).astype(np.int64),
        np.concatenate([_numbers(c, "nodes_splits"), fill]).astype(dtype),
        np.concatenate([_numbers(c, "nodes_featureids"), fill]).astype(np.int64),
        np.concatenate([np.asarray(missing), fill]) != 0,
        (wide[0], wide[1]),
        _members(c, modes, leaves).astype(dtype),
        roots,
    )


def _numbers(c: Conversion, name: str) -> Array:
    value = c.attr(name)
    if value is None:
        raise c.error(f"attribute {name} is missing")
    return np.asarray(value).ravel()


def _members(c: Conversion, modes: Array, leaves: int) -> Array:
    """Return a row of members per node; the attribute lists them with NaN after each node's."""
    rows: list[list[float]] = [[] for _ in range(len(modes) + leaves)]
    owners = iter(np.flatnonzero(modes == MEMBER))
    current: int | None = None
    for value in np.ravel(c.attr("membership_values", ())).tolist():
        if current is None:
            current = int(next(owners, len(rows) - 1))
        if value != value:
            current = None
        else:
            rows[current].append(value)
    width = max(map(len, rows))
    return np.array([[*row, *[np.nan] * (width - len(row))] for row in rows])


def _step(c: Conversion, trees: _Trees, x: Value, node: Value) -> Value:
    """Emit the nodes (rows, trees) one level further down."""

    def looked_up(table: Array) -> Value:
        return c.emit(ops.Gather(0), c.emit.constant(table), node)

    seen = c.emit(ops.GatherElements(1), x, looked_up(trees.features))
    split, mode = looked_up(trees.splits), looked_up(trees.modes)
    holds = c.emit(ops.And(), looked_up(trees.missing), c.emit(ops.IsNan(), seen))
    for number in np.unique(trees.modes[: trees.inner]).tolist():
        if number == MEMBER:
            columns = expand_axes(c.emit, seen, (2,))
            equal = c.emit(ops.Equal(), columns, looked_up(trees.members))
            outcome = c.emit(ops.ReduceMax((2,)), equal)
        elif number == 5:
            outcome = c.emit(ops.Not(), c.emit(ops.Equal(), seen, split))
        elif number in _COMPARISONS:
            outcome = c.emit(_COMPARISONS[number](), seen, split)
        else:
            raise c.error(f"unknown comparison {number} in nodes_modes")
        chosen = c.emit(ops.Equal(), mode, c.emit.constant(number, "int64"))
        holds = c.emit(ops.Or(), holds, c.emit(ops.And(), chosen, outcome))
    false, true = (looked_up(branch) for branch in trees.branches)
    return c.emit(ops.Select(), holds, true, false)


def _aggregated(c: Conversion, leaf: Value) -> Value:
    """Emit for each row and target the sum, mean, least or greatest of its leaves' weights."""
    dtype, targets = c.dtype(0), c.attr("n_targets")
    weights = _numbers(c, "leaf_weights").astype(numpy_dtype(dtype))
    owners = _numbers(c, "leaf_targetids").astype(np.int64)
    if len(owners) != len(weights) or not ((owners >= 0) & (owners < targets)).all():
        raise c.error(f"leaf_targetids must be from 0 to {targets - 1}, one per leaf")
    weight, owner = (
        expand_axes(c.emit, c.emit(ops.Gather(0), c.emit.constant(table), leaf), (2,))
        for table in (weights, owners)
    )
    own = c.emit(ops.Equal(), owner, c.emit(ops.Iota("int64", (1, 1, targets), 2)))
    function = c.attr("aggregate_function", 1)
    limits = np.finfo(weights.dtype)
    if function not in range(4):
        raise c.error(f"aggregate_function must be 0 to 3, found {function}")
    absent = {2: float(limits.max), 3: float(limits.min)}.get(function, 0.0)
    shares = c.emit(ops.Select(), own, weight, c.emit.scalar_like(absent, weight))
    reduction = {2: ops.ReduceMin, 3: ops.ReduceMax}.get(function, ops.ReduceSum)
    total = c.emit(reduction((1,)), shares)
    if function:
        return total
    count = c.emit.scalar_like(result_type(leaf).dims[1], total)
    return c.emit(ops.Div(), total, count)


def _transformed(c: Conversion, scores: Value) -> Value:
    code = c.attr("post_transform", 0)
    name = _TRANSFORMS[code] if code in range(len(_TRANSFORMS)) else str(code)
    if name == "NONE":
        return scores
    if name == "SOFTMAX":
        return c.emit(ops.Softmax(1), scores)
    if name == "LOGISTIC":
        return c.emit(ops.Sigmoid(), scores)
    raise c.unsupported(f"post_transform {name}")
