# SPDX-License-Identifier: MIT
"""The language in which ops are lowered: tensors as functions of indices, written in TE."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tvm import te, tirx
from tvm.ir import Var
from tvm.ir.prim.expr import FloatImm, IntImm

from ...errors import UnsupportedError
from ...ir.op import Op
from ...ir.types import TensorType

TOGETHER = "together"
"""Annotation of a stage whose last axis is to be unrolled."""

Expr: TypeAlias = Any
Indices: TypeAlias = tuple[Expr, ...]
Dims: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tensor:
    """What a lowering sees of an operand: a shape, a compute type, and elements by index.

    ``buffer`` is the TE tensor that holds the elements when they are materialised in the
    compute type; without one, reading an element evaluates its expression in place.
    ``stored`` gives the same elements as a buffer of the element type holds them, where that
    is another form than the compute type's.
    """

    shape: Dims
    dtype: str
    read: Callable[..., Expr]
    buffer: Any = None
    stored: Tensor | None = None

    def __call__(self, *indices: Expr) -> Expr:
        """Return the element at ``indices``, one per dimension."""
        return self.read(*indices)


Lowering: TypeAlias = Callable[
    ["Context", Any, Sequence[Tensor], Sequence[TensorType]], Sequence[Tensor]
]
LOWERINGS: dict[type[Op], Lowering] = {}


def lowering(*ops: type[Op]) -> Callable[[Lowering], Lowering]:
    """Register the decorated function as the lowering of ``ops``."""

    def register(function: Lowering) -> Lowering:
        for op in ops:
            if op in LOWERINGS:
                raise ValueError(f"op {op.name!r} has two lowerings")
            LOWERINGS[op] = function
        return function

    return register


def lowering_of(op: Op) -> Lowering:
    """Return the lowering of ``op``.

    Raises:
        UnsupportedError: the op is not lowered to kernels.
    """
    try:
        return LOWERINGS[type(op)]
    except KeyError:
        raise UnsupportedError(f"op '{op.name}' has no lowering to kernels") from None


_REDUCERS: dict[str, Callable[..., Expr]] = {
    "sum": lambda a, b: wrapping(lambda x, y: x + y, a, b),
    "prod": lambda a, b: wrapping(lambda x, y: x * y, a, b),
    "max": lambda a, b: _once(b, lambda item: propagating_max(a, item)),
    "min": lambda a, b: _once(b, lambda item: propagating_min(a, item)),
    "any": lambda a, b: tirx.Or(a, b),
    "all": lambda a, b: tirx.And(a, b),
}


def _once(item: Expr, combine: Callable[[Expr], Expr]) -> Expr:
    """Return ``combine(item)``, which reads ``item`` several times, with ``item`` named."""
    name = tirx.Var("item", item.ty)
    return tirx.Let(name, item, combine(name))


def propagating_max(a: Expr, b: Expr) -> Expr:
    """Return the larger of two scalars, or NaN when either is NaN."""
    return _extreme(a, b, tirx.max, lambda x, y: x > y)


def propagating_min(a: Expr, b: Expr) -> Expr:
    """Return the smaller of two scalars, or NaN when either is NaN."""
    return _extreme(a, b, tirx.min, lambda x, y: x < y)


def _extreme(
    a: Expr, b: Expr, whole: Callable[..., Expr], beats: Callable[[Expr, Expr], Expr]
) -> Expr:
    """Return the one of two scalars that beats the other, or NaN.

    ``a beats b ? a : b`` is one instruction of most processors, and NaN if ``b`` is.
    """
    if not is_float(a):
        return whole(a, b)
    if isinstance(b, FloatImm) and not math.isnan(b.value):
        a, b = b, a
    winner = tirx.Select(beats(a, b), a, b)
    if isinstance(a, FloatImm) and not math.isnan(a.value):
        return winner
    # Not ``a``: storing a selection of what was loaded becomes a masked store, which is slow.
    return tirx.Select(tirx.isnan(a), tirx.const(math.nan, dtype_of(a)), winner)


def wrapping(function: Callable[..., Expr], *operands: Expr, signed: bool = False) -> Expr:
    """Return ``function`` of integers in arithmetic modulo a power of two.

    TVM tells LLVM that sums and products of 32 and 64 bits never overflow, those of unsigned
    integers neither, and LLVM may take a broken promise for any value it likes. So it is
    computed with twice the bits, which LLVM takes back, and the upper half is dropped.

    Args:
        function: a sum, difference or product.
        operands: integers of one type; floats are passed on as they are.
        signed: compute with signed integers, because the exact result may be negative.
    """
    if is_float(operands[0]):
        return function(*operands)
    dtype = dtype_of(operands[0])
    kind, bits = ("uint" if dtype.startswith("uint") else "int"), int(dtype.lstrip("uint"))
    wide = f"{'int' if signed else kind}{2 * bits}"
    return tirx.Cast(dtype, function(*(tirx.Cast(wide, _hidden(x, bits)) for x in operands)))


def _hidden(x: Expr, bits: int) -> Expr:
    """Return an integer constant in a form that TVM does not fold.

    TVM takes a cast to fewer bits to keep the values that fit, and would fold a sum with the
    largest number to that number.
    """
    if not isinstance(x, tirx.IntImm):
        return x
    dtype = dtype_of(x)
    complement = ~int(x.value) % 2**bits if dtype.startswith("uint") else ~int(x.value)
    return tirx.bitwise_not(tirx.const(complement, dtype))


def is_float(expr: Expr) -> bool:
    """Whether an expression is of a floating point type."""
    return dtype_of(expr).startswith("float")


def dtype_of(expr: Expr) -> str:
    """Return the TVM type of an expression."""
    return str(expr.dtype if hasattr(expr, "dtype") else expr.ty.dtype)


Reducer: TypeAlias = tuple[Callable[..., Expr], Expr]


def reducer(kind: str, dtype: str) -> Reducer:
    """Return how a reduction combines two scalars, and the value that changes nothing."""
    return _REDUCERS[kind], reduction_identity(kind, dtype)


def reduction_identity(kind: str, dtype: str) -> Expr:
    """Return the value that a reduction over nothing gives."""
    if kind == "sum":
        return tirx.const(0, dtype)
    if kind == "prod":
        return tirx.const(1, dtype)
    if kind in ("any", "all"):
        return tirx.const(kind == "all", "bool")
    sign = -1 if kind == "max" else 1
    if dtype.startswith("float"):
        return tirx.const(sign * float("inf"), dtype)
    return tirx.min_value(dtype) if kind == "max" else tirx.max_value(dtype)


class Context:
    """Builds the TE tensors of one kernel.

    Elements are expressions; a subexpression that is used more than once is named by a let
    binding in the innermost open scope, so that neither code size nor run time doubles.
    """

    def __init__(self) -> None:
        self._scopes: list[_Scope] = []
        self._names = 0

    # Tensors

    def lazy(self, shape: Dims, dtype: str, fn: Callable[..., Expr]) -> Tensor:
        """Return a tensor whose elements are evaluated where they are read."""
        return Tensor(tuple(shape), dtype, fn)

    def shared(self, tensor: Tensor) -> Tensor:
        """Return the same tensor, each element of which is evaluated once per scope."""
        if tensor.buffer is not None:
            return tensor

        def read(*indices: Expr) -> Expr:
            key = (id(tensor), *map(_index_key, indices))
            for scope in reversed(self._scopes):
                if key in scope.memo:
                    return scope.memo[key][0]
            value = self.let(tensor(*indices))
            if self._scopes:
                # The tensor and indices stay alive with the entry, so ids stay unique.
                self._scopes[-1].memo[key] = (value, tensor, indices)
            return value

        return Tensor(tensor.shape, tensor.dtype, read, stored=tensor.stored)

    def elementwise(self, dtype: str, fn: Callable[..., Expr], *tensors: Tensor) -> Tensor:
        """Return ``fn`` of the operands' elements, broadcast against each other."""
        rank = max((len(t.shape) for t in tensors), default=0)
        shape = tuple(
            _broadcast(
                *(t.shape[len(t.shape) - rank + k] for t in tensors if rank - k <= len(t.shape))
            )
            for k in range(rank)
        )

        def read(*indices: Expr) -> Expr:
            return fn(*(self.element(t, _project(t.shape, indices)) for t in tensors))

        return self.lazy(shape, dtype, read)

    def stage(
        self,
        shape: Dims,
        dtype: str,
        fn: Callable[..., Expr],
        name: str = "stage",
        together: bool = False,
    ) -> Tensor:
        """Return a tensor computed once into a buffer of its own.

        Args:
            shape: of the tensor.
            dtype: TVM type of its elements.
            fn: from indices to an element.
            name: of the stage.
            together: whether the elements along the last axis, which is short, are computed in
                one piece of code, so that what they have in common is computed once.
        """
        shape = tuple(shape)

        def body(*indices: Expr) -> Expr:
            return self.scoped(lambda: fn(*indices))

        return self._buffered(
            te.compute(
                _te_shape(shape),
                _arity(body, shape),
                self.fresh(name),
                attrs={TOGETHER: True} if together else None,
            ),
            shape,
        )

    def materialise(self, tensor: Tensor, name: str = "stage") -> Tensor:
        """Return ``tensor`` held in a buffer."""
        if tensor.buffer is not None:
            return tensor
        return self.stage(tensor.shape, tensor.dtype, tensor.read, name)

    def reduce(
        self,
        kind: str,
        shape: Dims,
        extents: Dims,
        fn: Callable[[Indices, Indices], Expr],
        dtype: str,
    ) -> Tensor:
        """Return a tensor whose elements reduce ``fn(index, reduce_index)`` over ``extents``."""
        if kind in ("any", "all"):
            return self._reduce_bool(kind, shape, extents, fn)
        combine, identity = reducer(kind, dtype)
        if 0 in extents:
            return self.lazy(shape, dtype, lambda *_: identity)
        joined = te.comm_reducer(combine, lambda _: identity, name=kind)
        return self.reduce_with(joined, shape, extents, lambda i, r: (fn(i, r),), (dtype,))[0]

    def _reduce_bool(
        self, kind: str, shape: Dims, extents: Dims, fn: Callable[[Indices, Indices], Expr]
    ) -> Tensor:
        # A reduction over bytes: TE reducers on bool miscompile the initial value.
        best = self.reduce(
            "max" if kind == "any" else "min",
            shape,
            extents,
            lambda i, r: tirx.Cast("int8", fn(i, r)),
            "int8",
        )
        return self.lazy(best.shape, "bool", lambda *i: best(*i) > tirx.const(0, "int8"))

    def reduce_with(
        self,
        reducer: Any,
        shape: Dims,
        extents: Dims,
        fn: Callable[[Indices, Indices], tuple[Expr, ...]],
        dtypes: Sequence[str],
    ) -> tuple[Tensor, ...]:
        """Reduce tuples with a ``te.comm_reducer``; one tensor per component."""
        shape = tuple(shape)
        if 0 in extents or 0 in shape:
            raise UnsupportedError("this reduction over an empty axis has no value")
        axes = [te.reduce_axis((0, n), self.fresh("r")) for n in extents]
        variables = tuple(a.var for a in axes)

        def body(*indices: Expr) -> Expr:
            values = self.scoped_tuple(lambda: fn(indices, variables))
            return reducer(values if len(values) > 1 else values[0], axis=axes)

        if not axes:
            return tuple(
                self.stage(shape, d, lambda *i, k=k: fn(i, ())[k]) for k, d in enumerate(dtypes)
            )
        result = te.compute(_te_shape(shape), _arity(body, shape), self.fresh("reduce"))
        results = list(result) if isinstance(result, list | tuple) else [result]
        return tuple(self._buffered(t, shape) for t in results)

    def extern(
        self,
        specs: Sequence[tuple[Dims, str]],
        inputs: Sequence[Tensor],
        body: Callable[[Sequence[Any], Sequence[Any]], Any],
        name: str = "extern",
    ) -> tuple[Tensor, ...]:
        """Return tensors written by an imperative statement.

        Args:
            specs: shape and type of each result.
            inputs: operands; they are materialised first.
            body: ``body(input_buffers, output_buffers) -> Stmt``.
            name: stem of the buffers' names.
        """
        sources = [self.materialise(t).buffer for t in inputs]
        # Buffers of our own: those that TE makes up have an offset that no caller defines.
        result = te.extern(
            [_te_shape(s) for s, _ in specs],
            sources,
            body,
            name=self.fresh(name),
            dtype=[d for _, d in specs],
            in_buffers=[tirx.decl_buffer(t.shape, t.dtype, t.op.name) for t in sources],
            out_buffers=[tirx.decl_buffer(_te_shape(s), d, self.fresh(name)) for s, d in specs],
        )
        results = list(result) if isinstance(result, list | tuple) else [result]
        return tuple(self._buffered(t, tuple(s)) for t, (s, _) in zip(results, specs, strict=True))

    def placeholder(self, shape: Dims, dtype: str, name: str) -> Tensor:
        """Return a kernel operand held in a buffer of a TVM type."""
        return self._buffered(te.placeholder(_te_shape(shape), dtype, name), tuple(shape))

    def _buffered(self, tensor: Any, shape: Dims) -> Tensor:
        def read(*indices: Expr) -> Expr:
            return tensor(*indices) if shape else tensor(*([0] * len(tensor.shape)))

        return Tensor(shape, str(tensor.dtype), read, tensor)

    # Expressions

    def const(self, value: float | int | bool, dtype: str) -> Expr:
        """Return a constant of a TVM type."""
        return tirx.const(value, dtype)

    def element(self, tensor: Tensor, indices: Indices) -> Expr:
        """Return an element that may be used several times: named unless it is a plain load."""
        value = tensor(*indices)
        return value if tensor.buffer is not None else self.let(value)

    def let(self, expr: Expr) -> Expr:
        """Name ``expr`` in the innermost scope unless it is a variable or a constant."""
        if not self._scopes or isinstance(expr, _ATOMS) or not hasattr(expr, "ty"):
            return expr
        variable = Var(self.fresh("t"), expr.ty)
        self._scopes[-1].bindings.append((variable, expr))
        return variable

    def guard(self, condition: Expr, fn: Callable[[], Expr], otherwise: Expr) -> Expr:
        """Return ``fn()`` where ``condition`` holds; its loads happen only there."""
        return tirx.if_then_else(condition, self.scoped(fn), otherwise)

    def scoped(self, fn: Callable[[], Expr]) -> Expr:
        """Return ``fn()`` with the let bindings made inside wrapped around it."""
        return self.scoped_tuple(lambda: (fn(),))[0]

    def scoped_tuple(self, fn: Callable[[], tuple[Expr, ...]]) -> tuple[Expr, ...]:
        """Like :meth:`scoped` for several results."""
        self._scopes.append(_Scope())
        try:
            results = fn()
        finally:
            scope = self._scopes.pop()
        wrapped = []
        for expr in results:
            for variable, value in reversed(scope.bindings):
                expr = tirx.Let(variable, value, expr)
            wrapped.append(expr)
        return tuple(wrapped)

    def fresh(self, stem: str) -> str:
        """Return a name that is unique in the kernel."""
        self._names += 1
        return f"{stem}_{self._names}"


class _Scope:
    def __init__(self) -> None:
        self.bindings: list[tuple[Any, Expr]] = []
        self.memo: dict[tuple[Any, ...], tuple[Expr, Tensor, Indices]] = {}


_ATOMS = (int, float, bool, Var, IntImm, FloatImm)


def _index_key(index: Expr) -> object:
    if isinstance(index, int):
        return index
    if isinstance(index, IntImm):
        return int(index.value)
    return ("expr", hash(index))


def _broadcast(*sizes: int) -> int:
    wide = [n for n in sizes if n != 1]
    return wide[0] if wide else 1


def _project(shape: Dims, indices: Indices) -> Indices:
    """Return the indices of an operand of ``shape`` at a result's ``indices``."""
    tail = indices[len(indices) - len(shape) :] if shape else ()
    return tuple(0 if n == 1 else i for n, i in zip(shape, tail, strict=True))


def _te_shape(shape: Dims) -> tuple[int, ...]:
    # Rank 0 is held in one element: TE has no loops to schedule otherwise.
    return tuple(shape) or (1,)


def _arity(body: Callable[..., Expr], shape: Dims) -> Callable[..., Expr]:
    if shape:
        return body
    return lambda _: body()
