# SPDX-License-Identifier: MIT
"""What a group does to its anchor's result, on vector registers, by the lowerings of its ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from ...errors import UnsupportedError
from ...ir.graph import Graph, Node, Value
from ...ir.op import Kind
from ...ir.ops import BroadcastTo, Reshape
from ...ir.types import TensorType, type_of
from ..lowering.base import Context, Tensor, lowering_of
from ..lowering.storage import storage_dtype
from ..values import dims, dtype
from ..views import Order, View, row_major
from .emitter import Buffer, Expr, KernelEmitter

_MOVEMENT = (BroadcastTo, Reshape)


@dataclass(frozen=True)
class Anchored:
    """A group taken apart: one anchor, and elementwise ops that follow it.

    Attributes:
        body: the group.
        anchor: the node that a template computes.
        result: the value that leaves the elementwise part; has the anchor's shape.
    """

    body: Graph
    anchor: Node
    result: Value

    @property
    def dtypes(self) -> list[str]:
        """Element types of the operands and the result, as they are stored."""
        return [storage_dtype(dtype(v)) for v in (*self.body.inputs, *self.body.outputs)]

    @property
    def order(self) -> Order:
        """How a result must lie whose channels are stored as vectors."""
        return "row_major" if self.result != self.body.outputs[0] else "channels_last"

    @property
    def extra(self) -> tuple[int, ...]:
        """Numbers of the operands that only the epilogue reads."""
        own = set(self.anchor.inputs)
        return tuple(k for k, v in enumerate(self.body.inputs) if v not in own)


def anchored(
    body: Graph, is_anchor: Callable[[Node], bool], table: int | None = None
) -> Anchored | None:
    """Return the group as an anchor with an elementwise epilogue, if it is one.

    The anchor is of float32, and what follows of that or of truth values. A reshape at the
    end is left out: a result that lies row by row may have any shape.

    Args:
        body: the group.
        is_anchor: whether a node is the anchor.
        table: number of the anchor's operand that holds positions, which are integers.
    """
    anchors = [n for n in body.nodes if is_anchor(n)]
    if len(anchors) != 1 or len(body.outputs) != 1:
        return None
    (anchor,) = anchors
    result = body.outputs[0]
    producers = body.producers()
    while result != anchor.output and isinstance(producers[result].op, Reshape):
        result = producers[result].inputs[0]
        if result not in producers:
            return None
    if dims(result) != dims(anchor.output) or not all(v in body.inputs for v in anchor.inputs):
        return None
    if any(not _is_pointwise(n) for n in body.nodes if n is not anchor):
        return None
    positions = {anchor.inputs[table]} if table is not None else set()
    values = {*body.inputs, *(v for n in body.nodes for v in n.outputs)} - positions
    if {dtype(v) for v in ({*anchor.inputs} - positions) | {anchor.output}} != {"float32"}:
        return None
    if not {dtype(v) for v in values} <= {"float32", "bool"}:
        return None
    return Anchored(body, anchor, result)


def _is_pointwise(node: Node) -> bool:
    return node.op.kind is Kind.ELEMENTWISE or isinstance(node.op, _MOVEMENT)


class _Registers(Context):
    """A context in which nothing can be put into memory."""

    def stage(self, *args: Any, **kwargs: Any) -> Tensor:
        raise UnsupportedError("an epilogue cannot hold a buffer")

    def reduce_with(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        raise UnsupportedError("an epilogue cannot reduce")


class Epilogue:
    """Emits the elementwise part of a group for vectors of its anchor's result.

    Args:
        group: the group taken apart.
        views: of the group's operands and, last, of its result.
        buffers: likewise.
    """

    def __init__(self, group: Anchored, views: Sequence[View], buffers: Sequence[Buffer]) -> None:
        self.group = group
        shape = dims(group.result)
        # With a reshape left out, the result lies row by row, whatever its shape.
        same = views[-1].shape == shape
        self.result = views[-1] if same else row_major(shape)
        self.target = buffers[len(views) - 1]
        self._operands = dict(
            zip(group.body.inputs, zip(views, buffers, strict=False), strict=False)
        )

    def store(
        self,
        emit: KernelEmitter,
        lane: Callable[[Expr], Expr],
        indices: Sequence[Expr],
        axis: int,
        count: int,
    ) -> None:
        """Compute and store ``count`` neighbours of the result along ``axis``.

        Args:
            emit: the kernel.
            lane: returns an element of the anchor's result.
            indices: of the first element.
            axis: the axis along which lanes lie.
            count: how many lanes are stored.
        """
        with emit.vectorized(count) as number:
            at = list(indices)
            at[axis] = at[axis] + number
            emit.set(self.target, self.result.offset(at), self._value(lane(number), at))

    def _value(self, anchor: Expr, indices: Sequence[Expr]) -> Expr:
        context = _Registers()
        own = self.group.anchor.output
        known = {own: context.lazy(dims(own), "float32", lambda *_: anchor)}
        env = _lowered(context, self.group.body, self._operands, known)
        return context.scoped(lambda: env[self.group.result](*indices))


class Prologue:
    """Emits the elementwise part of a group that comes before its anchor.

    Args:
        body: the group.
        anchor: what reads the elementwise part; nothing follows it.
        views: of the group's operands.
        buffers: likewise.
    """

    def __init__(
        self, body: Graph, anchor: Node, views: Sequence[View], buffers: Sequence[Buffer]
    ) -> None:
        self.body = body
        self.anchor = anchor
        pairs = zip(views, buffers, strict=False)
        self._operands = dict(zip(body.inputs, pairs, strict=False))

    def element(self, number: int, indices: Sequence[Expr]) -> Expr:
        """Return an element of an operand of the anchor."""
        context = _Registers()
        env = _lowered(context, self.body, self._operands, {}, self.anchor)
        return context.scoped(lambda: env[self.anchor.inputs[number]](*indices))


def is_prologue(body: Graph, anchor: Node) -> bool:
    """Whether a group is an anchor whose operands are elementwise in float32 and truth values."""
    others = [n for n in body.nodes if n is not anchor]
    values = {*body.inputs, *(v for n in body.nodes for v in n.outputs)}
    return (
        body.outputs == anchor.outputs
        and all(_is_pointwise(n) for n in others)
        and {dtype(v) for v in values} <= {"float32", "bool"}
        and {dtype(v) for v in anchor.inputs} == {"float32"}
    )


def _lowered(
    context: Context,
    body: Graph,
    operands: Mapping[Value, tuple[View, Buffer]],
    known: Mapping[Value, Tensor],
    last: Node | None = None,
) -> dict[Value, Tensor]:
    """Return what the values of a group are, as far as they follow from what is known.

    Args:
        context: of the kernel.
        body: the group.
        operands: how its operands lie.
        known: values computed by other means.
        last: a node that is not lowered, nor what reads it.
    """
    env = dict(known)
    for value, (view, buffer) in operands.items():
        env[value] = _operand(context, value, view, buffer)
    for name, array in body.parameters.items():
        env[Value(name, type_of(array))] = _constant(context, array)
    uses = body.uses()
    for node in body.nodes:
        if node is last or node.outputs[0] in known or not all(v in env for v in node.inputs):
            continue
        types = [v.type for v in node.outputs if isinstance(v.type, TensorType)]
        results = lowering_of(node.op)(context, node.op, [env[v] for v in node.inputs], types)
        for value, tensor in zip(node.outputs, results, strict=True):
            env[value] = context.shared(tensor) if uses[value] > 1 else tensor
    return env


def _operand(context: Context, value: Value, view: View, buffer: Buffer) -> Tensor:
    return context.lazy(view.shape, str(buffer.dtype), lambda *i: buffer[view.offset(i)])


def _constant(context: Context, array: Any) -> Tensor:
    kind, number = str(array.dtype), array.reshape(()).item()
    return context.lazy(array.shape, kind, lambda *_: tirx.const(number, kind))
