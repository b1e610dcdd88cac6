# SPDX-License-Identifier: MIT
"""Rows: reductions over the innermost axes and what is made of them, one row at a time.

Softmax, layer norm and the like pass over a row several times while it is in the first cache.
A reduction keeps a few vectors of partial results: element ``j`` goes to the partial result
``j mod width``, each takes its elements in order, 128 at a time, and the halves are combined
until one is left. The order does not depend on the number of threads, and so many partial
results are more accurate than one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial as fix
from typing import Any

import tvm
from tvm import tirx
from tvm.sym import Analyzer
from tvm.tirx.script.builder import ir as tb

from ...errors import UnsupportedError
from ...ir import ops
from ...ir.graph import Graph, Node, Value
from ...ir.op import Composite, Kind, Op
from ...ir.ops.fused import Fused
from ...ir.ops.reduction import Reduction
from ...ir.types import Array, TensorType, Type, dtype_name
from ..bindings import bind_lets, substitute
from ..lowering import fast_math
from ..lowering.base import Context, Expr, Indices, Reducer, Tensor, lowering_of, reducer
from ..views import ANY, Dims, Request, View
from .base import Plan, VectorUnit, Written
from .emitter import Buffer, KernelEmitter, emitting

KEPT = (
    *(ops.Softmax, ops.LogSoftmax, ops.SoftmaxGradient),
    *(ops.LayerNorm, ops.LayerNormGradient, ops.RmsNorm),
)
"""Composites that are one kernel where they are of rows, else expanded."""

_REDUCTIONS = (ops.ReduceSum, ops.ReduceMean, ops.ReduceMax, ops.ReduceMin)
_MOVEMENT = (ops.Reshape, ops.BroadcastTo)
# Worth storing rather than computing in every pass over the row.
_COSTLY = (ops.Exp, ops.Log, ops.Tanh, ops.Erf, ops.Sigmoid, ops.Sqrt, ops.Div)
_PARTIAL = 4
"""Vectors of partial results: additions in flight."""
_COSTLY_PARTIAL = 2
"""The same where each takes a page of registers to compute."""
_RUN = 128
"""Elements that a partial result takes before it is added to others of its kind."""
_SHARED_BYTES = 1 << 17
"""Results smaller than this are not worth waking other threads for."""


@dataclass(frozen=True, eq=False)
class RowKernel(Plan):
    """A group of reductions over rows and elementwise ops, composites taken apart.

    Attributes:
        body: the group.
        unit: the processor core.
        rows: how many rows there are.
        columns: elements of a row.
    """

    body: Graph
    unit: VectorUnit
    rows: int
    columns: int

    def __str__(self) -> str:
        return f"rows({self.rows}x{self.columns}, lanes={self.unit.lanes})"

    @property
    def operands(self) -> Sequence[Request]:
        """Anything; the group is lowered by TE if rows do not lie in one piece."""
        return [ANY] * len(self.body.inputs)

    @property
    def result(self) -> Request:
        """Rows in one piece."""
        return Request("row_major")

    def build(self, views: Sequence[View]) -> Written | None:
        """Write the kernel if all that has rows has them in one piece."""
        if not all(view.is_row_major for view in views):
            return None
        split = 4 * self.rows * self.columns >= _SHARED_BYTES and self.rows > 1
        dtypes = ["float32"] * len(views)
        # Stands for the row while indices are analysed: a thread's share is counted in a
        # register, of which the analyzer knows nothing.
        row = tirx.Var("row", tvm.ir.PrimType("int32"))
        try:
            with (
                emitting(self.unit.lanes, dtypes) as (emission, emit),
                emit.share(self.rows, split) as number,
            ):
                _Writer(self, emit, views, row).write()
        except UnsupportedError:
            return None
        body = emission.function.body
        if self.rows > 1:
            body = substitute(body, {row: number})
        return Written(emission.function.with_body(bind_lets(body)), split=split)


def row_kernel(node: Node, arrays: Mapping[str, Array], unit: VectorUnit) -> RowKernel | None:
    """Return the plan of a float32 group whose reductions are over the innermost axes."""
    assert isinstance(node.op, Fused)
    body = node.op.body
    if len(body.outputs) != 1:
        return None
    sizes: set[tuple[int, int]] = set()
    for inner in _flattened(body):
        types = [v.type for v in (*inner.inputs, *inner.outputs)]
        if any(not isinstance(t, TensorType) or t.dtype != "float32" for t in types):
            return None
        if isinstance(inner.op, _REDUCTIONS):
            size = _row_size(inner.op, types[0])
            if size is None:
                return None
            sizes.add(size)
        elif inner.op.kind is not Kind.ELEMENTWISE and not isinstance(inner.op, _MOVEMENT):
            return None
    if len(sizes) != 1:
        return None
    ((rows, columns),) = sizes
    if columns < unit.lanes or _size(body.outputs[0]) not in (rows, rows * columns):
        return None
    return RowKernel(body, unit, rows, columns)


def keeps(op: Op, types: Sequence[Type], unit: VectorUnit) -> bool:
    """Whether a composite is one kernel of rows."""
    if not isinstance(op, KEPT) or getattr(op, "statistics", False):
        return False
    x = types[0]
    if not isinstance(x, TensorType) or not x.is_static or x.dtype != "float32" or x.size == 0:
        return False
    softmax = isinstance(op, ops.Softmax | ops.LogSoftmax | ops.SoftmaxGradient)
    axis = op.axis % x.rank
    return math.prod(x.dims[axis:]) >= unit.lanes and (
        not softmax or math.prod(x.dims[axis + 1 :]) == 1
    )


def _flattened(body: Graph) -> Iterator[Node]:
    """Yield the nodes of a group, and of expansions those inside."""
    for node in body.nodes:
        if isinstance(node.op, Composite):
            yield from _flattened(node.op.expansion(*(v.type for v in node.inputs)))
        else:
            yield node


def _row_size(op: Reduction, type: Any) -> tuple[int, int] | None:
    """Return number and length of the rows that ``op`` reduces, if it reduces rows."""
    axes = [k for k in range(type.rank) if type.dims[k] != 1]
    reduced = [k for k in axes if k in op.axes]
    if not reduced or axes[-len(reduced) :] != reduced:
        return None
    columns = math.prod(type.dims[k] for k in reduced)
    return type.size // columns, columns


def _size(value: Value) -> int:
    assert isinstance(value.type, TensorType)
    return value.type.size


class _RowContext(Context):
    """A context in which a reduction is a loop over the columns of the row at hand."""

    def __init__(self, writer: _Writer) -> None:
        super().__init__()
        self.writer = writer

    def stage(self, *args: Any, **kwargs: Any) -> Tensor:
        raise UnsupportedError("a row kernel holds no buffers")

    def reduce_with(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        raise UnsupportedError("a row kernel reduces numbers one at a time")

    def reduce(
        self,
        kind: str,
        shape: Dims,
        extents: Dims,
        fn: Callable[[Indices, Indices], Expr],
        dtype: str,
    ) -> Tensor:
        """Emit the loop; the tensor's only element that may be read is the row's."""
        writer = self.writer
        at, inner = writer.row_index(shape), writer.unravel(writer.column, extents)
        total = writer.reduce(reducer(kind, dtype), self.scoped(lambda: fn(at, inner)))
        return writer.one_element(shape, total)


class _Writer:
    """Writes what is done with one row.

    Attributes:
        row: number of the row.
        column: variable that stands for a position in the row, replaced in every loop.
    """

    def __init__(
        self, plan: RowKernel, emit: KernelEmitter, views: Sequence[View], row: Expr
    ) -> None:
        self.plan, self.emit, self.views = plan, emit, views
        self.row = row if plan.rows > 1 else tirx.const(0, "int32")
        self.column = tirx.Var("column", tvm.ir.PrimType("int32"))
        self.context = _RowContext(self)
        self.analyzer = Analyzer()
        self.analyzer.bind(self.column, tvm.ir.Range(0, plan.columns))
        if plan.rows > 1:
            self.analyzer.bind(row, tvm.ir.Range(0, plan.rows))
        self.result = emit.buffers[len(views) - 1]
        self.held: Value | None = None

    def write(self) -> None:
        """Compute the row of the result."""
        plan, output = self.plan, self.plan.body.outputs[0]
        env = dict(zip(plan.body.inputs, map(self._operand, range(len(self.views))), strict=False))
        value = self._lower(plan.body, env)[output]
        if _size(output) == plan.rows:
            tb.buffer_store(self.result, self._of_row(value), [self.row])
        else:
            self._store_row(self._of_column(value))

    def _lower(self, body: Graph, env: dict[Value, Tensor]) -> dict[Value, Tensor]:
        """Lower the nodes in order, writing loops for reductions; return what all values are."""
        for name, array in body.parameters.items():
            env[Value(name, TensorType(dtype_name(array.dtype), array.shape))] = self._constant(
                array
            )
        uses = body.uses()
        for node in body.nodes:
            operands = [env[v] for v in node.inputs]
            if isinstance(node.op, ops.Softmax | ops.LogSoftmax):
                results: Sequence[Tensor] = [self._softmax(node, operands[0])]
            elif isinstance(node.op, Composite):
                inner = node.op.expansion(*(v.type for v in node.inputs))
                found = self._lower(inner, dict(zip(inner.inputs, operands, strict=True)))
                results = [found[v] for v in inner.outputs]
            else:
                types = [v.type for v in node.outputs if isinstance(v.type, TensorType)]
                results = lowering_of(node.op)(self.context, node.op, operands, types)
            for value, tensor in zip(node.outputs, results, strict=True):
                env[value] = self._kept(node, value, tensor, uses[value])
        return env

    def _kept(self, node: Node, value: Value, tensor: Tensor, uses: int) -> Tensor:
        """Return a value as it is read from now on: of rows by name, costly ones from memory."""
        if _size(value) == self.plan.rows and node.op.kind is Kind.ELEMENTWISE:
            return self.one_element(tensor.shape, self._of_row(tensor))
        if uses < 2:
            return tensor
        if isinstance(node.op, _COSTLY) and self.held is None and self._fills(value):
            # The row of the result is free until the last pass.
            self.held = value
            self._store_row(self._of_column(tensor))
            return self._of_this_column(tensor.shape, self._own_result())
        return self.context.shared(tensor)

    def _fills(self, value: Value) -> bool:
        return (
            _size(value) == _size(self.plan.body.outputs[0]) == self.plan.rows * self.plan.columns
        )

    def _softmax(self, node: Node, x: Tensor) -> Tensor:
        """Emit softmax or its logarithm: powers are computed, stored and added in one loop."""
        item = self._of_column(x)
        # NaN may get lost here, but not in the sum, which makes the whole row NaN.
        larger = (lambda a, b: tirx.Select(a > b, a, b)), tirx.const(-math.inf, "float32")
        largest = self._scalar(self.reduce(larger, item))
        shifted = item - largest
        power = fast_math.exp_of_negative(shifted)
        adder = reducer("sum", "float32")
        if isinstance(node.op, ops.LogSoftmax):
            total = self._scalar(fast_math.log(self.reduce(adder, power, _COSTLY_PARTIAL)))
            return self._of_this_column(x.shape, shifted - total)
        if self.held is not None or not self._fills(node.output):
            total = self._scalar(self.reduce(adder, power, _COSTLY_PARTIAL))
            return self._of_this_column(x.shape, tirx.Div(power, total))
        self.held = node.output
        total = self.reduce(adder, power, _COSTLY_PARTIAL, keep=True)
        inverse = self._scalar(tirx.Div(tirx.const(1, "float32"), total))
        return self._of_this_column(x.shape, self._own_result() * inverse)

    # Loops

    def reduce(
        self, joined: Reducer, item: Expr, vectors: int = _PARTIAL, keep: bool = False
    ) -> Expr:
        """Emit the reduction of ``item``, an expression of the column; return the result.

        Args:
            joined: how two are combined, and what changes nothing.
            item: what is reduced.
            vectors: of partial results.
            keep: whether to store the items as the row of the result.
        """
        combine, identity = joined
        width = 1 << (min(vectors * self.emit.lanes, self.plan.columns).bit_length() - 1)

        def add(partial: Buffer, column: Expr, k: Expr) -> None:
            value = self._at(item, column)
            if keep:
                tb.buffer_store(self.result, value, [self._flat(column)])
                value = self.result[self._flat(column)]
            tb.buffer_store(partial, combine(partial[k], value), [k])

        total = self._partial(width, identity)
        blocks, rest = divmod(self.plan.columns, width * _RUN)
        if blocks > 1:
            with self.emit.loop(blocks) as block:
                partial = self._partial(width, identity)
                self._columns(block * (width * _RUN), width * _RUN, width, fix(add, partial))
                with self._vector(width) as k:
                    tb.buffer_store(total, combine(total[k], partial[k]), [k])
        else:
            rest = self.plan.columns
        self._columns(self.plan.columns - rest, rest, width, fix(add, total))
        while width > 1:
            width //= 2
            with self._vector(width) as k:
                tb.buffer_store(total, combine(total[k], total[k + width]), [k])
        return total[0]

    def _partial(self, width: int, identity: Expr) -> Buffer:
        """Return registers of partial results that hold nothing yet."""
        partial = tb.alloc_buffer((width,), "float32", scope="local")
        with self._vector(width) as k:
            tb.buffer_store(partial, identity, [k])
        return partial

    def _store_row(self, value: Expr) -> None:
        """Emit the loop that stores ``value``, an expression of the column, to the result."""
        # Two vectors at once: the operations of one wait for each other.
        self._columns(
            0,
            self.plan.columns,
            2 * self.emit.lanes,
            lambda column, _: tb.buffer_store(
                self.result, self._at(value, column), [self._flat(column)]
            ),
        )

    def _columns(
        self, start: Expr, count: int, width: int, body: Callable[[Expr, Expr], None]
    ) -> None:
        """Emit ``body(column, lane)`` for columns, ``width`` at a time, then what is left."""
        lanes = self.emit.lanes
        steps, rest = divmod(count, width)
        if steps:
            with self.emit.loop(steps) as step, self._vector(width) as k:
                body(start + step * width + k, k)
        start = start + steps * width
        for some in (rest // lanes * lanes, rest % lanes):
            if some:
                with self._vector(some) as k:
                    body(start + k, k)
                start = start + some

    @contextmanager
    def _vector(self, width: int) -> Iterator[Expr]:
        """Loop over lanes at once."""
        if width == 1:
            yield tirx.const(0, "int32")
            return
        with tb.vectorized(0, width) as k:
            yield k

    def _at(self, value: Expr, column: Expr) -> Expr:
        return substitute(value, {self.column: column})

    # Elements

    def _of_row(self, tensor: Tensor) -> Expr:
        """Return the element of a tensor with one per row."""
        return self.context.scoped(lambda: tensor(*self.row_index(tensor.shape)))

    def _of_column(self, tensor: Tensor) -> Expr:
        """Return the element at the row and the column."""
        shape, columns = tensor.shape, self.plan.columns
        first = next((k for k in range(len(shape)) if math.prod(shape[k:]) == columns), None)
        if first is None:
            raise UnsupportedError("a row kernel's rows are whole axes")
        at = (*self.row_index(shape[:first]), *self.unravel(self.column, shape[first:]))
        return self.context.scoped(lambda: tensor(*at))

    def row_index(self, shape: Dims) -> Indices:
        """Return the index of this row's element in a tensor with one per row."""
        if math.prod(shape) != self.plan.rows:
            raise UnsupportedError("a row kernel reduces whole rows")
        return self.unravel(self.row, shape)

    def unravel(self, position: Expr, shape: Dims) -> Indices:
        """Return the index of the element at a row-major position."""
        indices: list[Expr] = []
        inside = math.prod(shape)
        for size in shape:
            inside //= size
            index = tirx.floormod(tirx.floordiv(position, inside), size)
            indices.append(self.analyzer.simplify(index))
        return tuple(indices)

    def _own_result(self) -> Expr:
        return self.result[self._flat(self.column)]

    def _flat(self, column: Expr) -> Expr:
        return self.row * self.plan.columns + column

    def one_element(self, shape: Dims, value: Expr) -> Tensor:
        """Return a tensor with an element per row, of which that of this row is ``value``."""
        name = self._scalar(value)

        def read(*indices: Expr) -> Expr:
            self._require(indices, shape, self.row)
            return name

        return Tensor(shape, "float32", read)

    def _of_this_column(self, shape: Dims, value: Expr) -> Tensor:
        """Return a tensor of which the element at the row and the column is ``value``."""

        def read(*indices: Expr) -> Expr:
            self._require(indices, shape, self._flat(self.column))
            return value

        return Tensor(shape, "float32", read)

    def _scalar(self, value: Expr) -> Expr:
        """Compute ``value`` here and return its name."""
        name = tb.alloc_buffer((1,), "float32", scope="local")
        tb.buffer_store(name, value, [0])
        return name[0]

    def _operand(self, number: int) -> Tensor:
        view, buffer = self.views[number], self.emit.buffers[number]

        def read(*indices: Expr) -> Expr:
            return buffer[self.analyzer.simplify(tirx.const(0, "int32") + view.offset(indices))]

        return Tensor(view.shape, "float32", read)

    def _constant(self, array: Array) -> Tensor:
        number = array.reshape(()).item()
        return Tensor(array.shape, "float32", lambda *_: tirx.const(number, "float32"))

    def _require(self, indices: Indices, shape: Dims, position: Expr) -> None:
        found: Expr = tirx.const(0, "int32")
        for index, size in zip(indices, shape, strict=True):
            found = found * size + index
        if not self.analyzer.can_prove_equal(found, position):
            raise UnsupportedError("a row kernel reads what belongs to its row alone")
