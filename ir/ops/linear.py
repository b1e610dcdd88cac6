# SPDX-License-Identifier: MIT
"""Products of matrices and, by way of them, of tensors in Einstein's summation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from ..op import Arrays, Composite, Cotangents, Kind, Op, Types, Values
from ..types import DTYPES, FLOATS, INTEGERS, Array, TensorType, Type, numpy_dtype
from .arithmetic import Mul, result_type
from .broadcasting import broadcast_dims, unbroadcast
from .reduction import ReduceSum, in_64_bits
from .shape import Reshape, Transpose, slice_along

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value

Labels: TypeAlias = tuple[str, ...]


def product_dtype(op: Op, x: TensorType, y: TensorType, accumulate: str | None) -> str:
    """Return the element type of a sum of products of elements of ``x`` and ``y``.

    Args:
        op: the op that asks, for messages.
        x: one factor's type.
        y: the other factor's type.
        accumulate: the result's element type, ``None`` for that of both factors. Only with
            it may factors differ: an int8 weight times uint8 data.
    """
    if accumulate is None:
        if x.dtype != y.dtype:
            raise op.error(
                f"element types {x.dtype} and {y.dtype} differ; cast one, or set `accumulate`"
            )
        return x.dtype
    if accumulate not in DTYPES:
        raise op.error(f"accumulate is {accumulate!r}, expected an element type")
    kinds = {dtype: _kind(dtype) for dtype in (x.dtype, y.dtype, accumulate)}
    if len(set(kinds.values())) > 1:
        raise op.error(f"cannot add products of {x.dtype} and {y.dtype} up in {accumulate}")
    return accumulate


def _kind(dtype: str) -> str:
    return "float" if dtype in FLOATS else "integer" if dtype in INTEGERS else dtype


def cast_like(emit: Emitter, x: Value, like: Value) -> Value:
    """Emit ``x`` in the element type of ``like``."""
    from .cast import Cast

    dtype = result_type(like).dtype
    return x if result_type(x).dtype == dtype else emit(Cast(dtype), x)


def swap_last(emit: Emitter, x: Value) -> Value:
    """Emit ``x`` with its last two axes exchanged."""
    rank = result_type(x).rank
    return emit(Transpose((*range(rank - 2), rank - 1, rank - 2)), x)


def as_rows(emit: Emitter, x: Value) -> Value:
    """Emit ``x`` (..., M, N) as one matrix of all its rows."""
    type = result_type(x)
    if type.rank == 2:
        return x
    return emit(Reshape((math.prod(type.dims[:-1]), type.dims[-1])), x)


@dataclass(frozen=True)
class MatMul(Op):
    """Matrix product of the last two axes, ``z[..., m, n] = sum_k x[..., m, k] y[..., k, n]``.

    Leading axes broadcast in the NumPy way. Floats narrower than float32 are added up in
    float32 and rounded once; integers wrap around.

    Shapes: x (..., M, K), y (..., K, N), result (..., M, N).
    Gradient: ``dx = dz @ y.T``, ``dy = x.T @ dz``, summed over broadcast axes; for one matrix
    ``y`` over all rows at once.
    ONNX: MatMul-13, MatMulInteger-10 (with ``accumulate``), Gemm-13.

    Attributes:
        accumulate: element type of the result if it is not that of both operands.
    """

    name: ClassVar[str] = "mat_mul"
    kind: ClassVar[Kind] = Kind.REDUCTION
    accumulate: str | None = None

    def infer(self, *inputs: Type) -> Types:
        """Return the product's type."""
        x, y = self.tensors(inputs, 2)
        dtype = product_dtype(self, x, y, self.accumulate)
        if x.rank < 2 or y.rank < 2:
            raise self.error(f"operands need two axes or more, found {x} and {y}")
        if x.shape[-1] != y.shape[-2]:
            raise self.error(f"{x} has {x.shape[-1]} columns, {y} has {y.shape[-2]} rows")
        batch = broadcast_dims(self, x.shape[:-2], y.shape[:-2])
        return (TensorType(dtype, (*batch, x.shape[-2], y.shape[-1])),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Multiply in 64 bits and round once."""
        x, y = inputs
        dtype = numpy_dtype(self.accumulate) if self.accumulate else x.dtype
        return (np.matmul(*aligned(in_64_bits(x), in_64_bits(y))).astype(dtype),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return ``dz @ y.T`` and ``x.T @ dz``."""
        (dz,) = cotangents
        x, y = inputs
        if dz is None or result_type(x).dtype not in FLOATS:
            return (None, None)
        dx = emit(MatMul(), dz, swap_last(emit, cast_like(emit, y, dz)))
        rows, slopes = cast_like(emit, x, dz), dz
        if result_type(y).rank == 2:
            # One product over all rows; a sum of one per matrix takes many times the memory.
            rows, slopes = as_rows(emit, rows), as_rows(emit, slopes)
        dy = emit(MatMul(), swap_last(emit, rows), slopes)
        return (
            cast_like(emit, unbroadcast(emit, dx, x), x),
            cast_like(emit, unbroadcast(emit, dy, y), y),
        )

    def flops(self, *inputs: Type) -> int:
        """Two operations per product."""
        x, _ = self.tensors(inputs, 2)
        (z,) = self.infer(*inputs)
        assert isinstance(z, TensorType)
        return 2 * z.size * x.dims[-1]


def aligned(x: Array, y: Array) -> tuple[Array, Array]:
    """Return both factors in one type of 64-bit numbers."""
    # NumPy would turn int64 with uint64 into floats; modulo 2**64 the product is the same.
    return (x, y) if x.dtype == y.dtype else (x.astype(np.int64), y.astype(np.int64))


@dataclass(frozen=True)
class Einsum(Composite):
    """Einstein's summation: products of elements, summed over labels that the result lacks.

    The equation names every axis of every operand by a letter, as in ``bij,bjk->bik``;
    ``...`` stands for any number of axes that broadcast, a letter that an operand repeats
    for its diagonal. Without ``->`` the result has the broadcast axes and then, in
    alphabetical order, the letters that occur once.

    ONNX: Einsum-12.
    """

    name: ClassVar[str] = "einsum"
    equation: str

    def labels(self, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
        """Return the labels of each operand's axes and of the result's.

        An axis under ``...`` is labelled by its distance from the last of them.
        """
        left, arrow, right = self.equation.replace(" ", "").partition("->")
        terms = left.split(",")
        if len(terms) != len(ranks):
            raise self.error(
                f"equation {self.equation!r} has {len(terms)} terms for {len(ranks)} operands"
            )
        operands = [self._term(term, rank) for term, rank in zip(terms, ranks, strict=True)]
        counts = Counter(label for labels in operands for label in labels)
        dots = sorted((label for label in counts if label.startswith(".")), reverse=True)
        if arrow:
            result = self._term(right, len(right.replace("...", "")) + len(dots) * ("..." in right))
        else:
            once = (label for label in counts if counts[label] == 1)
            result = (*dots, *sorted(label for label in once if not label.startswith(".")))
        if len(set(result)) < len(result) or not set(result) <= set(counts):
            raise self.error(f"equation {self.equation!r} repeats or invents labels of the result")
        return operands, result

    def _term(self, term: str, rank: int) -> Labels:
        before, ellipsis, after = term.partition("...")
        letters = before + after
        count = rank - len(letters)
        if (letters and not letters.isalpha()) or count < 0 or (count and not ellipsis):
            raise self.error(
                f"term {term!r} of equation {self.equation!r} does not fit rank {rank}"
            )
        return (*before, *(f".{k:04d}" for k in reversed(range(count))), *after)

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Contract the operands from left to right, each step one matrix product."""
        shapes = [result_type(v).dims for v in inputs]
        operands, result = self.labels([len(s) for s in shapes])
        self._check_sizes(operands, shapes)
        widest = _widest(operands, shapes)
        factors = [
            _Factor(v, ls).diagonals(emit).without_broadcast(emit, widest)
            for v, ls in zip(inputs, operands, strict=True)
        ]
        product = factors[0]
        for k, factor in enumerate(factors[1:], 1):
            later = {label for other in factors[k + 1 :] for label in other.labels}
            product = product.contracted(emit, factor, later | set(result))
        return (product.summed(emit, set(result)).ordered(emit, result),)

    def _check_sizes(self, operands: list[Labels], shapes: list[tuple[int, ...]]) -> None:
        sizes: dict[str, int] = {}
        for labels, shape in zip(operands, shapes, strict=True):
            for label, size in zip(labels, shape, strict=True):
                known = sizes.get(label, 1)
                if 1 not in (known, size) and known != size:
                    raise self.error(
                        f"label {label!r} of equation {self.equation!r} is {known} and {size}"
                    )
                sizes[label] = size if known == 1 else known

    def evaluate(self, *inputs: Any) -> Arrays:
        """Call ``numpy.einsum`` in 64 bits."""
        self.labels([x.ndim for x in inputs])
        wide = [in_64_bits(x) for x in inputs]
        return (np.asarray(np.einsum(self.equation, *wide, optimize=True)).astype(inputs[0].dtype),)


def _widest(operands: list[Labels], shapes: list[tuple[int, ...]]) -> dict[str, int]:
    widest: dict[str, int] = {}
    for labels, shape in zip(operands, shapes, strict=True):
        for label, size in zip(labels, shape, strict=True):
            widest[label] = size if widest.get(label, 1) == 1 else widest[label]
    return widest


@dataclass(frozen=True)
class _Factor:
    """A value whose axes carry labels."""

    value: Value
    labels: Labels

    def size(self, labels: Sequence[str]) -> int:
        """Number of elements along these labels."""
        sizes = dict(zip(self.labels, result_type(self.value).dims, strict=True))
        return math.prod(sizes[label] for label in labels)

    def shape(self, labels: Sequence[str]) -> tuple[int, ...]:
        """Size of each of these labels, 1 where it is not an axis."""
        sizes = dict(zip(self.labels, result_type(self.value).dims, strict=True))
        return tuple(sizes.get(label, 1) for label in labels)

    def diagonals(self, emit: Emitter) -> _Factor:
        """Keep the diagonal of labels that occur twice or more."""
        factor = self
        while len(set(factor.labels)) < len(factor.labels):
            factor = factor._diagonal(emit)
        return factor

    def _diagonal(self, emit: Emitter) -> _Factor:
        repeated = next(label for label in self.labels if self.labels.count(label) > 1)
        first = self.labels.index(repeated)
        second = self.labels.index(repeated, first + 1)
        rest = [k for k in range(len(self.labels)) if k not in (first, second)]
        sizes = result_type(self.value).dims
        n = sizes[first]
        # The diagonal of n x n elements laid out in a row is every (n + 1)-th of them.
        moved = emit(Transpose((*rest, first, second)), self.value)
        flat = emit(Reshape((*(sizes[k] for k in rest), n * n)), moved)
        taken = slice_along(emit, flat, len(rest), 0, n * n, n + 1)
        return _Factor(taken, (*(self.labels[k] for k in rest), repeated))

    def without_broadcast(self, emit: Emitter, widest: dict[str, int]) -> _Factor:
        """Drop axes of size 1 under labels that are wider elsewhere: they say nothing."""
        sizes = result_type(self.value).dims
        kept = [k for k, label in enumerate(self.labels) if sizes[k] == widest[label]]
        if len(kept) == len(self.labels):
            return self
        value = emit(Reshape(tuple(sizes[k] for k in kept)), self.value)
        return _Factor(value, tuple(self.labels[k] for k in kept))

    def summed(self, emit: Emitter, kept: set[str]) -> _Factor:
        """Sum over labels that are not kept."""
        axes = tuple(k for k, label in enumerate(self.labels) if label not in kept)
        if not axes:
            return self
        labels = tuple(label for label in self.labels if label in kept)
        return _Factor(emit(ReduceSum(axes), self.value), labels)

    def ordered(self, emit: Emitter, labels: Labels) -> Value:
        """Return the value with its axes in this order."""
        if labels == self.labels:
            return self.value
        return emit(Transpose(tuple(map(self.labels.index, labels))), self.value)

    def contracted(self, emit: Emitter, other: _Factor, kept: set[str]) -> _Factor:
        """Multiply by ``other`` and sum over the labels that are not kept."""
        a = self.summed(emit, kept | set(other.labels))
        b = other.summed(emit, kept | set(self.labels))
        shared = [label for label in a.labels if label in b.labels]
        batch = tuple(label for label in shared if label in kept)
        inner = tuple(label for label in shared if label not in kept)
        rows = tuple(label for label in a.labels if label not in shared)
        columns = tuple(label for label in b.labels if label not in shared)
        labels = (*batch, *rows, *columns)
        if not inner:
            return _Factor(emit(Mul(), a.spread(emit, labels), b.spread(emit, labels)), labels)
        x = emit(
            Reshape((*a.shape(batch), a.size(rows), a.size(inner))),
            a.ordered(emit, (*batch, *rows, *inner)),
        )
        y = emit(
            Reshape((*b.shape(batch), b.size(inner), b.size(columns))),
            b.ordered(emit, (*batch, *inner, *columns)),
        )
        shape = (*a.shape(batch), *a.shape(rows), *b.shape(columns))
        return _Factor(emit(Reshape(shape), emit(MatMul(), x, y)), labels)

    def spread(self, emit: Emitter, labels: Labels) -> Value:
        """Return the value with an axis per label, of size 1 where it has none."""
        own = tuple(label for label in labels if label in self.labels)
        return emit(Reshape(self.shape(labels)), self.ordered(emit, own))


__all__ = ["Einsum", "MatMul"]
