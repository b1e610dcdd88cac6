# SPDX-License-Identifier: MIT
"""A hypothesis strategy of small well-typed graphs, for properties of printing and of passes.

The ops are continuous, so that a pass may round differently without changing a result by more
than rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ranvier.ir import Emitter, Graph, Op, TensorType, Value, numpy_dtype, ops

Draw = Callable[[st.SearchStrategy[Any]], Any]
Step = Callable[["Builder"], Value]

UNARY: tuple[type[Op], ...] = (ops.Neg, ops.Abs, ops.Tanh, ops.Sigmoid, ops.Sin)
BINARY: tuple[type[Op], ...] = (ops.Add, ops.Sub, ops.Mul, ops.Maximum, ops.Minimum)
INTEGER_UNARY: tuple[type[Op], ...] = (ops.Neg, ops.Abs, ops.Sign)
REDUCTIONS = (ops.ReduceSum, ops.ReduceMax, ops.ReduceMin)
DTYPES = ("float32", "float64", "int32", "int8")
NAMES = ("x", "layer1.0.conv1/weight", 'a "quoted" name', "größe", "0", "graph", "back\\slash", "")
SIZES = st.integers(1, 3)


class Builder:
    """A graph under construction and the draw that decides how it goes on."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.emit = Emitter()
        self.inputs: list[Value] = []
        self.pool: list[Value] = []

    def start(self) -> None:
        """Draw one to three inputs with names that need quoting now and then."""
        names = self.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
        for name in names:
            dtype = self.draw(st.sampled_from(DTYPES))
            shape = tuple(self.draw(st.lists(SIZES, max_size=3)))
            self.inputs.append(self.emit.argument(TensorType(dtype, shape), name))
        self.pool += self.inputs

    def grow(self) -> None:
        """Apply one op to values drawn from the pool."""
        step = self.draw(st.sampled_from(STEPS))
        self.pool.append(step(self))

    def finish(self) -> Graph:
        """Draw the outputs: any values, some perhaps twice."""
        outputs = self.draw(st.lists(st.sampled_from(self.pool), min_size=1, max_size=3))
        return self.emit.graph("random", self.inputs, outputs)

    def value(self) -> Value:
        """Draw a value of the pool."""
        value: Value = self.draw(st.sampled_from(self.pool))
        return value

    def among(self, options: tuple[Any, ...]) -> Any:
        """Draw one of ``options``."""
        return self.draw(st.sampled_from(options))

    def axes(self, x: Value) -> tuple[int, ...]:
        """Draw some axes of ``x`` in ascending order."""
        return tuple(k for k in range(len(dims(x))) if self.draw(st.booleans()))


def dims(x: Value) -> tuple[int, ...]:
    """Return the sizes of a value."""
    assert isinstance(x.type, TensorType)
    return x.type.dims


def dtype(x: Value) -> str:
    """Return the element type of a value."""
    assert isinstance(x.type, TensorType)
    return x.type.dtype


def unary(build: Builder) -> Value:
    """Apply a function of one operand."""
    x = build.value()
    kinds = UNARY if dtype(x).startswith("float") else INTEGER_UNARY
    return build.emit(build.among(kinds)(), x)


def binary(build: Builder) -> Value:
    """Combine a value with another one that broadcasts, or with itself."""
    x = build.value()
    fitting = tuple(y for y in build.pool if dtype(y) == dtype(x) and _broadcasts(x, y))
    return build.emit(build.among(BINARY)(), x, build.among(fitting))


def _broadcasts(x: Value, y: Value) -> bool:
    try:
        np.broadcast_shapes(dims(x), dims(y))
    except ValueError:
        return False
    return True


def with_constant(build: Builder) -> Value:
    """Combine a value with a parameter that some rewrite waits for: 0, 1, -1 or 2."""
    x = build.value()
    shape = dims(x) if build.draw(st.booleans()) else ()
    number = build.among((0, 1, -1, 2))
    constant = build.emit.constant(np.full(shape, number, numpy_dtype(dtype(x))))
    pair = (x, constant) if build.draw(st.booleans()) else (constant, x)
    return build.emit(build.among(BINARY)(), *pair)


def again(build: Builder) -> Value:
    """Repeat a node with the same operands, or start with a function if there is none yet."""
    if not build.emit.nodes:
        return unary(build)
    node = build.among(tuple(build.emit.nodes))
    return build.emit(node.op, *node.inputs)


def transpose(build: Builder) -> Value:
    """Permute the axes."""
    x = build.value()
    permutation = build.draw(st.permutations(range(len(dims(x)))))
    return build.emit(ops.Transpose(tuple(permutation)), x)


def reshape(build: Builder) -> Value:
    """Flatten, or add an axis of size one."""
    x = build.value()
    shape = build.among(((int(np.prod(dims(x))),), (1, *dims(x)), (*dims(x), 1), dims(x)))
    return build.emit(ops.Reshape(shape), x)


def broadcast(build: Builder) -> Value:
    """Repeat along a new leading axis."""
    x = build.value()
    return build.emit(ops.BroadcastTo((build.draw(SIZES), *dims(x))), x)


def cut(build: Builder) -> Value:
    """Take every, every other or all elements in reverse along each axis."""
    x = build.value()
    parts = [build.among(((0, n, 1), (0, n, 2), (n - 1, -1, -1), (0, 1, 1))) for n in dims(x)]
    starts, stops, steps = tuple(zip(*parts, strict=True)) or ((), (), ())
    return build.emit(ops.Slice(starts, stops, steps), x)


def pad(build: Builder) -> Value:
    """Add zeros around."""
    x = build.value()
    low = tuple(build.draw(st.integers(0, 1)) for _ in dims(x))
    return build.emit(ops.Pad(low, tuple(reversed(low))), x)


def reverse(build: Builder) -> Value:
    """Reverse some axes."""
    x = build.value()
    return build.emit(ops.Reverse(build.axes(x)), x)


def concat(build: Builder) -> Value:
    """Join a value with itself or a constant like it."""
    x = build.value()
    if not dims(x):
        return unary(build)
    constant = build.emit.constant(np.ones(dims(x), numpy_dtype(dtype(x))))
    axis = build.draw(st.integers(0, len(dims(x)) - 1))
    return build.emit(ops.Concat(axis), x, build.among((x, constant)))


def reduction(build: Builder) -> Value:
    """Reduce over some axes."""
    x = build.value()
    return build.emit(build.among(REDUCTIONS)(build.axes(x)), x)


def branch(build: Builder) -> Value:
    """Choose between two functions of a value by a constant condition."""
    x = build.value()
    kinds = UNARY if dtype(x).startswith("float") else INTEGER_UNARY
    bodies = []
    for name in ("yes", "no"):
        emit = Emitter()
        argument = emit.argument(x.type)
        bodies.append(emit.graph(name, [argument], [emit(build.among(kinds)(), argument)]))
    condition = build.emit.constant(np.asarray(build.draw(st.booleans())))
    return build.emit(ops.Branch(*bodies), condition, x)


STEPS: tuple[Step, ...] = (
    unary,
    binary,
    binary,
    with_constant,
    with_constant,
    again,
    transpose,
    reshape,
    broadcast,
    cut,
    pad,
    reverse,
    concat,
    reduction,
    branch,
)


@st.composite
def graphs(draw: Draw, most: int = 8) -> Graph:
    """Draw a graph of at most ``most`` nodes; some of them may be dead."""
    build = Builder(draw)
    build.start()
    for _ in range(draw(st.integers(0, most))):
        build.grow()
    return build.finish()
