# SPDX-License-Identifier: MIT
"""Operators of our own that expansions are drawn with; they occur in no file."""

from __future__ import annotations

from dataclasses import replace

from ...ir import Graph, Value, ops
from ...ir.ops.shape import expand_axes
from ..convert import Conversion, Entry, Expansion, Items, converter
from ..sketch import INTERNAL


@converter("Alias", domain=INTERNAL)
def alias(c: Conversion) -> Entry:
    """Return the operand, for a value that has two names."""
    return _present(c, 0)


@converter("Call", domain=INTERNAL)
def call(c: Conversion) -> Expansion:
    """Apply the region ``body`` to all operands."""
    return applied(c, c.attr("body"), all_entries(c))


@converter("Append", domain=INTERNAL)
def append(c: Conversion) -> Entry:
    """Return the sequence that is the first operand with the second at its end."""
    items = _present(c, 0)
    assert isinstance(items, Items)
    return Items((*items.entries, _present(c, 1)), items.element)


@converter("Pack", domain=INTERNAL)
def pack(c: Conversion) -> Entry:
    """Return the operands as a sequence."""
    return Items(all_entries(c))


@converter("Stack", domain=INTERNAL)
def stack_operands(c: Conversion) -> Value:
    """Return the operands joined along a new ``axis``.

    With ``length``, the first axis of each operand is filled up with zeros to that size
    first, as the sequences of a batch are.
    """
    values = c.operands
    length = c.attr("length", -1)
    if length >= 0:
        values = [_filled_up(c, v, length) for v in values]
    return stack(c, values, c.attr("axis", 0))


def stack(c: Conversion, values: list[Value], axis: int) -> Value:
    """Emit equal shapes joined along a new axis, counted in the result."""
    first = values[0]
    rank = getattr(first.type, "rank", 0)
    at = c.axis(axis, rank + 1)
    return c.emit(ops.Concat(at), *(expand_axes(c.emit, v, (at,)) for v in values))


def applied(c: Conversion, body: Graph, arguments: tuple[Entry, ...]) -> Expansion:
    """Return the answer "this node is ``body`` applied to ``arguments``"."""
    if len(body.inputs) != len(arguments) or len(body.outputs) < c.count_results:
        raise c.error(
            f"region '{body.name}' has {len(body.inputs)} inputs and {len(body.outputs)} outputs, "
            f"expected {len(arguments)} and {c.count_results}"
        )
    used = tuple(body.outputs[k] for k in c.op.results)
    return Expansion(replace(body, outputs=used), arguments)


def all_entries(c: Conversion, start: int = 0) -> tuple[Entry, ...]:
    """Return every operand from position ``start`` on, none of which may be absent."""
    return tuple(_present(c, k) for k in range(start, len(c.entries)))


def _filled_up(c: Conversion, value: Value, length: int) -> Value:
    rank = getattr(value.type, "rank", 0)
    missing = length - getattr(value.type, "dims", (length,))[0]
    high = (missing, *(0,) * (rank - 1))
    return c.emit(ops.Pad((0,) * rank, high), value) if missing else value


def _present(c: Conversion, position: int) -> Entry:
    entry = c.entry(position)
    if entry is None:
        raise c.error(f"operand {position} is missing")
    return entry
