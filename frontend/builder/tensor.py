# SPDX-License-Identifier: MIT
"""Symbolic tensors: what the layers take and return while a network is described."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ...errors import LayerError, OpError
from ...ir import Array, Op, TensorType, numpy_dtype, ops
from ...ir.ops.shape import Movement
from .weights import Initialiser

_serial = itertools.count()
_scope: ContextVar[str] = ContextVar("scope", default="")

Number: TypeAlias = "int | float"


@dataclass(frozen=True, eq=False, repr=False)
class Tensor:
    """The result of a layer, a network's input, or a parameter: a type and where it is from.

    Tensors add, subtract, multiply, divide and are raised to powers with each other and with
    numbers, broadcasting as NumPy does; ``@`` is the matrix product.

    Attributes:
        type: element type and shape; every size is known.
        origin: how the tensor comes about.
        position: which of the results of ``origin`` it is.

    >>> from ranvier.frontend import builder as nn
    >>> x = nn.input("image", (1, 3, 8, 8))
    >>> nn.relu(x + 1).shape
    (1, 3, 8, 8)
    """

    type: TensorType
    origin: Origin
    position: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of all axes."""
        return self.type.dims

    @property
    def dtype(self) -> str:
        """The element type."""
        return self.type.dtype

    @property
    def rank(self) -> int:
        """The number of axes."""
        return self.type.rank

    def __str__(self) -> str:
        return str(self.type)

    def __repr__(self) -> str:
        return f"Tensor({self.type})"  # not all the layers that it comes from

    def __add__(self, other: Tensor | Number) -> Tensor:
        return binary("add", ops.Add(), self, other)

    def __radd__(self, other: Number) -> Tensor:
        return binary("add", ops.Add(), self, other)

    def __sub__(self, other: Tensor | Number) -> Tensor:
        return binary("subtract", ops.Sub(), self, other)

    def __rsub__(self, other: Number) -> Tensor:
        return binary("subtract", ops.Sub(), constant(other, self), self)

    def __mul__(self, other: Tensor | Number) -> Tensor:
        return binary("multiply", ops.Mul(), self, other)

    def __rmul__(self, other: Number) -> Tensor:
        return binary("multiply", ops.Mul(), self, other)

    def __truediv__(self, other: Tensor | Number) -> Tensor:
        return binary("divide", ops.Div(), self, other)

    def __rtruediv__(self, other: Number) -> Tensor:
        return binary("divide", ops.Div(), constant(other, self), self)

    def __pow__(self, exponent: Tensor | Number) -> Tensor:
        return binary("power", ops.Pow(), self, exponent)

    def __neg__(self) -> Tensor:
        return Layer.begin("negative").apply(ops.Neg(), self)

    def __matmul__(self, other: Tensor) -> Tensor:
        return binary("matmul", ops.MatMul(), self, other)


@dataclass(frozen=True, eq=False)
class Layer:
    """A call of a layer function: what names its steps and parameters.

    Attributes:
        kind: the function, such as ``conv``.
        path: the name with the scopes around it, such as ``layer1.0.conv1``.
        named: whether the caller chose the name; others are made unique.
        serial: counts calls.
    """

    kind: str
    path: str
    named: bool
    serial: int = field(default_factory=_serial.__next__)

    @classmethod
    def begin(cls, kind: str, name: str | None = None) -> Layer:
        """Return a new layer of the current scope."""
        return cls(kind, qualified(kind if name is None else name), name is not None)

    def __str__(self) -> str:
        return f"{self.kind} '{self.path}'"

    def error(self, message: str) -> LayerError:
        """Return an error that starts with this layer."""
        return LayerError(f"{self}: {message}")

    def parameter(
        self,
        role: str,
        shape: Sequence[int],
        initial: Initialiser,
        trainable: bool = True,
        standard: Initialiser | None = None,
    ) -> Tensor:
        """Return a new float32 parameter, called ``role`` within the layer.

        Args:
            role: its name.
            shape: its sizes.
            initial: what it holds at first.
            trainable: whether a gradient changes it.
            standard: what it holds before training, if that is something else.
        """
        type = TensorType("float32", tuple(shape))
        first = Parameter(self, role, type, initial, standard or initial, trainable)
        return Tensor(type, first)

    def filled(self, number: float, shape: Sequence[int]) -> Tensor:
        """Return float32 numbers that no training changes, such as a state at the beginning."""
        array = np.full(shape, number, np.float32)
        return Tensor(TensorType("float32", tuple(shape)), Constant(array))

    def axis(self, axis: int, x: Tensor) -> int:
        """Return an axis of ``x``, which may be counted from the end, counted from the front.

        Raises:
            LayerError: there is no such axis.
        """
        if not -x.rank <= axis < x.rank:
            raise self.error(f"axis {axis} does not exist in {x.type}")
        return axis % x.rank

    def apply(self, op: Op, *inputs: Tensor) -> Tensor:
        """Return the only result of ``op``."""
        (result,) = self.multi(op, *inputs)
        return result

    def multi(self, op: Op, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return every result of ``op``.

        Raises:
            LayerError: the op does not take such operands.
        """
        try:
            types = op.infer(*(x.type for x in inputs))
        except OpError as error:
            raise self.error(str(error).removeprefix(f"{op.name}: ")) from error
        tensors = tuple(t for t in types if isinstance(t, TensorType))
        assert len(tensors) == len(types)
        if any(0 in t.dims for t in tensors):
            raise self.error(f"the result {types[0]} of {inputs[0].type} would be empty")
        step = Step(self, op, inputs, tensors)
        return tuple(Tensor(t, step, k) for k, t in enumerate(tensors))


@dataclass(frozen=True, eq=False)
class Input:
    """What a caller gives, by name."""

    name: str


@dataclass(frozen=True, eq=False)
class Parameter:
    """What training finds, or keeps count of.

    Attributes:
        layer: the layer it belongs to.
        role: its name within the layer; empty for a parameter that is a layer by itself.
        type: its shape; float32.
        initial: what it holds at first, drawn so that leaving it out is noticed.
        standard: what it holds before training.
        trainable: whether a gradient changes it; a normalisation's statistics are no such.
    """

    layer: Layer
    role: str
    type: TensorType
    initial: Initialiser
    standard: Initialiser
    trainable: bool


@dataclass(frozen=True, eq=False)
class Constant:
    """Numbers that nothing changes."""

    array: Array


@dataclass(frozen=True, eq=False)
class Step:
    """An op of a layer on tensors; steps in the order of ``serial`` are in topological order.

    Attributes:
        layer: the layer it belongs to.
        op: what it computes.
        inputs: from what.
        types: of its results.
        serial: counts steps.
    """

    layer: Layer
    op: Op
    inputs: tuple[Tensor, ...]
    types: tuple[TensorType, ...]
    serial: int = field(default_factory=_serial.__next__)


Origin: TypeAlias = "Input | Parameter | Constant | Step"


def input(name: str, shape: Sequence[int], dtype: str = "float32") -> Tensor:
    """Return an input of a network.

    Args:
        name: what callers of the network call it.
        shape: its sizes, all known: for images (batch, channels, height, width).
        dtype: element type.

    Raises:
        LayerError: a size is not positive.

    >>> str(input("tokens", (1, 128), "int64"))
    'int64[1, 128]'
    """
    if any(n < 1 for n in shape):
        raise LayerError(f"input '{name}': sizes must be positive numbers, found {list(shape)}")
    numpy_dtype(dtype)
    return Tensor(TensorType(dtype, tuple(shape)), Input(name))


def parameter(
    name: str, shape: Sequence[int], initial: Initialiser, standard: Initialiser | None = None
) -> Tensor:
    """Return a trainable float32 parameter that belongs to no layer, such as a class token.

    Args:
        name: of the parameter.
        shape: its sizes.
        initial: what it holds at first.
        standard: what it holds before training, if that is something else.
    """
    return Layer.begin("parameter", name).parameter("", shape, initial, standard=standard)


@contextmanager
def scope(name: str | int) -> Iterator[None]:
    """Within the block, names start with ``name`` and a dot.

    >>> x = input("x", (1, 4))
    >>> with scope("encoder"), scope(0):
    ...     print(Layer.begin("linear", "fc"))
    linear 'encoder.0.fc'
    """
    token = _scope.set(qualified(str(name)))
    try:
        yield
    finally:
        _scope.reset(token)


def qualified(name: str) -> str:
    """Return ``name`` with the scopes around it.

    Raises:
        LayerError: the name is empty.
    """
    outer = _scope.get()
    if not name:
        raise LayerError(f"a name within '{outer}' is empty; leave it out for one that is made up")
    return f"{outer}.{name}" if outer else name


def constant(values: ArrayLike, like: Tensor) -> Tensor:
    """Return numbers that nothing changes, of the element type of ``like``.

    Args:
        values: a number for a scalar, or an array of any shape, such as weights of classes.
        like: any tensor of the element type that is meant.

    >>> from ranvier.frontend import builder as nn
    >>> scores = nn.input("scores", (8, 2))
    >>> str(scores * nn.constant([0.2, 0.8], scores))
    'float32[8, 2]'
    """
    array = np.asarray(values, numpy_dtype(like.dtype))
    return Tensor(TensorType(like.dtype, array.shape), Constant(array))


def binary(kind: str, op: Op, x: Tensor, y: Tensor | Number) -> Tensor:
    """Return an op of two operands, the second perhaps a number."""
    other = y if isinstance(y, Tensor) else constant(y, x)
    return Layer.begin(kind).apply(op, x, other)


_RECTIFIERS = (
    ops.Relu, ops.LeakyRelu, ops.PRelu, ops.Gelu, ops.Swish, ops.HardSwish, ops.Minimum,
)  # fmt: skip
_KEEPING = (Movement, ops.Concat, ops.MaxPool, ops.AveragePool, ops.DropoutSite)


def gain_for(x: Tensor) -> float:
    """Return by how much weights are enlarged for operands like ``x``.

    2 behind a rectifier (see :func:`~ranvier.frontend.builder.weights.scaled`), else 1; ops
    that move elements are looked through.
    """
    origin = x.origin
    while isinstance(origin, Step) and isinstance(origin.op, _KEEPING):
        origin = origin.inputs[0].origin
    return 2.0 if isinstance(origin, Step) and isinstance(origin.op, _RECTIFIERS) else 1.0


def sizes(layer: Layer, what: str, value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """Return one number per spatial axis, all the same where one is given.

    Raises:
        LayerError: there are too many or too few.
    """
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank:
        raise layer.error(f"{what}={list(values)} must be one number or {rank}, one per axis")
    return values


def spatial_rank(layer: Layer, x: Tensor) -> int:
    """Return the number of axes after batch and channels.

    Raises:
        LayerError: there is none.
    """
    if x.rank < 3:
        raise layer.error(f"data must be (batch, channels, spatial...), found {x.type}")
    return x.rank - 2


__all__ = [
    "Constant",
    "Input",
    "Layer",
    "Number",
    "Origin",
    "Parameter",
    "Step",
    "Tensor",
    "binary",
    "constant",
    "gain_for",
    "input",
    "parameter",
    "qualified",
    "scope",
    "sizes",
    "spatial_rank",
]
