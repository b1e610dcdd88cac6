# SPDX-License-Identifier: MIT
"""Ops over blocks in one pass: what all share first, what a block shares next, then its numbers.

A vector of every operand is loaded, all results are computed, and then they are stored, so
that a result may have the memory of an operand. Optimizer steps are limited by memory: AdamW
reads four numbers and writes three per parameter, and nothing is read or written twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx.script.builder import ir as tb

from ...ir.graph import Graph, Node, Value
from ...ir.op import Kind
from ...ir.ops import BlockOp, BroadcastTo, ReduceSum, Reshape
from ...ir.ops.fused import Fused
from ...ir.types import Array, TensorType, Type, type_of
from ..lowering.base import Context, Expr, Tensor, lowering_of
from ..values import dims, dtype
from ..views import Dims, Request, View
from .base import Plan, VectorUnit, Written
from .emitter import KernelEmitter, Register, emitting

_SHARED_BYTES = 1 << 17
"""Tensors smaller than this are not worth waking other threads for."""
_MOVEMENT = (BroadcastTo, Reshape)


@dataclass(frozen=True, eq=False)
class BlockKernel(Plan):
    """An op over blocks whose results may lie where its operands are.

    Attributes:
        body: the group.
        shape: number of blocks, and of numbers in each.
        unit: the processor core.
    """

    body: Graph
    shape: tuple[int, int]
    unit: VectorUnit

    def __str__(self) -> str:
        return f"blocks(lanes={self.unit.lanes})"

    @property
    def operands(self) -> Sequence[Request]:
        """Everything as the runtime has it."""
        return [Request("row_major")] * len(self.body.inputs)

    @property
    def result(self) -> Request:
        """Likewise."""
        return Request("row_major")

    @property
    def split(self) -> bool:
        """Whether there is enough to do for several threads."""
        return 4 * self.shape[0] * self.shape[1] >= _SHARED_BYTES

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        (node,) = self.body.nodes
        assert isinstance(node.op, BlockOp)
        values = (*self.body.inputs, *self.body.outputs)
        kinds = [dtype(v) for v in values]
        with emitting(self.unit.lanes, kinds, in_place=True) as (emission, emit):
            _Writer(self, node, emit).write()
        return Written(emission.function, split=self.split)


def block_kernel(node: Node, arrays: Mapping[str, Array], unit: VectorUnit) -> BlockKernel | None:
    """Return the plan of a group that is one op over blocks."""
    assert isinstance(node.op, Fused)
    body = node.op.body
    (*_, last) = body.nodes
    if len(body.nodes) != 1 or not isinstance(last.op, BlockOp):
        return None
    types = [v.type for v in last.inputs]
    if not in_one_pass(last.op, types, unit):
        return None
    return BlockKernel(body, _shape(last.op, types), unit)


def in_one_pass(op: BlockOp, types: Sequence[Type], unit: VectorUnit) -> bool:
    """Whether there is a kernel for the whole op: blocks of float32 in whole vectors."""
    if not all(isinstance(t, TensorType) and t.is_static for t in types):
        return False
    blocks, size = _shape(op, types)
    first = next(k for k, o in enumerate(op.operands()) if o.axes == 2)
    whole = types[first] == TensorType("float32", (blocks, size))
    return whole and blocks > 0 and size > 0 and size % unit.lanes == 0


def _shape(op: BlockOp, types: Sequence[Type]) -> tuple[int, int]:
    """Return the number of blocks and their size."""
    for operand, type in zip(op.operands(), types, strict=True):
        if operand.axes == 2:
            assert isinstance(type, TensorType)
            return type.dims[0], type.dims[1]
    raise op.error("has no operand of blocks")


class _Writer:
    """Writes the op's expansion in three parts.

    Attributes:
        known: what has been computed so far; elements are read without indices, because each
            part is at one place.
    """

    def __init__(self, plan: BlockKernel, node: Node, emit: KernelEmitter) -> None:
        self.emit = emit
        self.count, self.size = plan.shape
        self.split = plan.split
        assert isinstance(node.op, BlockOp)
        self.graph = node.op.expansion(*(v.type for v in node.inputs))
        buffers = dict(zip((*plan.body.inputs, *plan.body.outputs), emit.buffers, strict=True))
        self.inputs: list[tuple[Value, int, Any]] = [
            (inner, operand.axes, buffers.get(outer))
            for inner, operand, outer in zip(
                self.graph.inputs, node.op.operands(), node.inputs, strict=True
            )
        ]
        self.results = [
            (inner, buffers[outer])
            for inner, outer in zip(self.graph.outputs, node.outputs, strict=True)
            if outer in buffers
        ]
        self.context = Context()
        self.known: dict[Value, Tensor] = {}
        for name, array in self.graph.parameters.items():
            self._constant(Value(name, type_of(array)), array)
        for (inner, _, _), outer in zip(self.inputs, node.inputs, strict=True):
            if outer.name in plan.body.parameters:
                self._constant(inner, plan.body.parameters[outer.name])

    def write(self) -> None:
        """Write what all blocks share, and the loop over a thread's share of the blocks."""
        emit, axes = self.emit, self._axes()
        self._load_scalars(0, 0)
        self._part([n for n in self.graph.nodes if axes[n.output] == 0])
        with emit.share(self.count, self.split) as block:
            self._load_scalars(1, block)
            sums = [n for n in self.graph.nodes if isinstance(n.op, ReduceSum)]
            of_block = [n for n in self.graph.nodes if axes[n.output] == 1 and n not in sums]
            self._part(of_block)
            inner = [n for n in self.graph.nodes if axes[n.output] == 2]
            self._numbers(block, inner, sums)

    def _axes(self) -> dict[Value, int]:
        """Return whether a value is one, one a block, or blocks: by what it is computed from."""
        axes = {inner: operand for inner, operand, _ in self.inputs}
        axes.update(dict.fromkeys(self.known, 0))
        for node in self.graph.nodes:
            found = max(axes[v] for v in node.inputs)
            axes[node.output] = 1 if isinstance(node.op, ReduceSum) else found
        return axes

    def _load_scalars(self, axes: int, at: Expr) -> None:
        for value, of, buffer in self.inputs:
            if of == axes and value not in self.known:
                self._name(value, self.emit.scalar(buffer[at], dtype(value)))

    def _part(self, nodes: Sequence[Node]) -> None:
        """Compute scalars into registers."""
        for node in nodes:
            value = self._expression(node)
            kind = dtype(node.output)
            # A truth value has no register; it is read where a number is selected.
            self._name(node.output, value if kind == "bool" else self.emit.scalar(value, kind))

    def _numbers(self, block: Expr, nodes: Sequence[Node], sums: Sequence[Node]) -> None:
        """Write the loop over the vectors of a block, and store its sums."""
        emit, lanes = self.emit, self.emit.lanes
        totals = [emit.register(_zeros(emit), "float64") for _ in sums]
        with emit.loop(self.size // lanes) as column:
            at = block * self.size + column * lanes
            registers = self._registers(nodes)
            with emit.vectorized(lanes) as lane:
                for value, axes, buffer in self.inputs:
                    if axes == 2:
                        self._set(registers[value], lane, buffer[at + lane])
                        self._name(value, registers[value].lane(lane))
                for node in nodes:
                    value = node.output
                    self._set(registers[value], lane, self._expression(node))
                    self._name(value, registers[value].lane(lane))
                for total, node in zip(totals, sums, strict=True):
                    item = self.known[node.inputs[0]](0, 0)
                    self._set(total, lane, total.lane(lane) + item)
                for value, buffer in self.results:
                    if value in registers:
                        emit.set(buffer, at + lane, registers[value].lane(lane))
        self._store_sums(block, totals, sums)

    def _registers(self, nodes: Sequence[Node]) -> dict[Value, Register]:
        values = [v for v, axes, _ in self.inputs if axes == 2] + [n.output for n in nodes]
        return {v: self.emit.register(dtype=dtype(v)) for v in values}

    def _store_sums(self, block: Expr, totals: Sequence[Register], sums: Sequence[Node]) -> None:
        results = dict(self.results)
        for total, node in zip(totals, sums, strict=True):
            width = self.emit.lanes
            while width > 1:
                width //= 2
                for k in range(width):
                    self._set(total, k, total.lane(k) + total.lane(k + width))
            if node.output in results:
                self.emit.set(results[node.output], block, total.lane(0))

    def _expression(self, node: Node) -> Expr:
        """Return the result of a node at this place."""
        if isinstance(node.op, _MOVEMENT):
            return self.known[node.inputs[0]](0, 0)
        assert node.op.kind is Kind.ELEMENTWISE, node.op.name
        types = [v.type for v in node.outputs if isinstance(v.type, TensorType)]
        operands = [self.known[v] for v in node.inputs]
        (result,) = lowering_of(node.op)(self.context, node.op, operands, types)
        indices = [0] * len(result.shape)
        return self.context.scoped(lambda: result(*indices))

    def _name(self, value: Value, expression: Expr) -> None:
        shape: Dims = dims(value)
        self.known[value] = Tensor(shape, dtype(value), lambda *_: expression)

    def _constant(self, value: Value, array: Array) -> None:
        number: Any = array.reshape(()).item()
        self._name(value, self.context.const(number, dtype(value)))

    def _set(self, register: Register, lane: Expr, value: Expr) -> None:
        tb.buffer_store(register.buffer, value, [lane])


def _zeros(emit: KernelEmitter) -> Expr:
    return T.broadcast(tirx.const(0, "float64"), emit.lanes)
