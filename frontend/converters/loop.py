# SPDX-License-Identifier: MIT
"""Loop: compiled to a scan or a while loop where its types allow, else written out.

A loop that is written out is taken apart one iteration at a time: the body's nodes come in
its place, followed by an internal ``LoopRest`` that stands for the iterations to come. If the
condition after an iteration is known only when the model runs, the stage ends there, and the
next one goes on with the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...ir import Graph, TensorType, Type, Value, numpy_dtype, ops
from ..convert import Conversion, Entry, Items, Region, Result, converter
from ..folding import NeedsValue
from ..sketch import INTERNAL, Sketch
from .control import attempt, carried_flags, emit_scan, scalar_condition
from .internal import all_entries, stack

UNROLLED_TRIPS = 32
UNROLLED_NODES = 512
"""A loop is written out up to so many trips, and so many nodes in all."""

_NUMBER = TensorType("int64", ())


@dataclass(frozen=True)
class Loop:
    """A loop, or what is left of one.

    Attributes:
        c: the conversion it belongs to.
        body: its region: iteration number, condition and states to condition, states and
            scan outputs.
        first: number of the next iteration.
        trips: iterations left, at most; -1 if only the condition ends it.
        condition: whether there is a next iteration.
        states: entries carried from iteration to iteration.
        collected: for each scan output its values so far.
    """

    c: Conversion
    body: Graph
    first: int
    trips: int
    condition: Value
    states: tuple[Entry, ...]
    collected: tuple[Items, ...]


@converter("Loop")
def loop(c: Conversion) -> Result:
    """Start a loop."""
    body: Graph = c.attr("body")
    states = all_entries(c, 2)
    scans = len(body.outputs) - 1 - len(states)
    formals = len(body.inputs) - 2 - len(c.captured)
    if scans < 0 or formals != len(states):
        raise c.error(
            f"{len(states)} states, but the body has {formals} and {len(body.outputs)} results"
        )
    condition = c.optional(1)
    begun = Loop(
        c=c,
        body=body,
        first=0,
        trips=-1,
        condition=(c.emit.constant(True) if condition is None else scalar_condition(c, condition)),
        states=states,
        collected=(Items(()),) * scans,
    )
    limit = c.optional(0)
    if limit is None:
        return _advance(begun)
    known = c.emit.known(limit)
    if known is None:
        return _while(begun, limit) or _demand(limit)
    return _advance(replaced(begun, trips=max(0, int(known.reshape(())))))


@converter("LoopRest", domain=INTERNAL)
def loop_rest(c: Conversion) -> Result:
    """Go on with a loop after some iterations."""
    entries, scans = all_entries(c), c.attr("scans", 0)
    split = len(entries) - scans
    collected = tuple(e for e in entries[split:] if isinstance(e, Items))
    return _advance(
        Loop(
            c=c,
            body=c.attr("body"),
            first=c.attr("first", 0),
            trips=c.attr("trips", -1),
            condition=scalar_condition(c, c.operand(0)),
            states=entries[1:split],
            collected=collected,
        )
    )


def replaced(loop: Loop, trips: int) -> Loop:
    """Return the loop with another number of iterations left."""
    return Loop(loop.c, loop.body, loop.first, trips, loop.condition, loop.states, loop.collected)


def _advance(loop: Loop) -> Result:
    known = loop.c.emit.known(loop.condition)
    if loop.trips == 0 or (known is not None and not known):
        return _finished(loop)
    if known is None:
        return _while(loop) or _demand(loop.condition)
    compiled = _compiled(loop) if loop.first == 0 else None
    return _peeled(loop) if compiled is None else compiled


def _compiled(loop: Loop) -> Result | None:
    """Emit a scan or while loop if types and condition allow and it is worth it."""
    region = _region(loop)
    if region is None or not region.tensors:
        return None
    known = region.emit.known(region.tensors[0])
    if known is None:
        return _while(loop)
    if loop.trips < 0 and known:
        raise loop.c.error("the loop never ends: neither trip count nor condition limits it")
    nodes = loop.trips * len(loop.body.nodes)
    if not known or (loop.trips <= UNROLLED_TRIPS and nodes <= UNROLLED_NODES):
        return None
    return _scan(loop, region)


def _region(loop: Loop) -> Region | None:
    """Convert the body with states of unchanging type; ``None`` if there is no such form."""
    types: list[Type | Entry] = []
    for state in loop.states:
        if not isinstance(state, Value):
            return None
        types.append(state.type)
    # The body runs only while the condition holds, so inside it is known.
    true = loop.c.emit.constant(True)
    region = attempt(loop.c, loop.body, [_NUMBER, true, *types, *loop.c.captured])
    if region is None or not region.tensors:
        return None
    after = [v.type for v in region.tensors[1 : 1 + len(types)]]
    return region if after == types else None


def _scan(loop: Loop, region: Region) -> Result:
    """Emit a scan over the iteration numbers."""
    c, states = loop.c, [s for s in loop.states if isinstance(s, Value)]
    assert region.tensors is not None
    number, *formals = region.formals
    # A scan's body takes the states first, and has no condition.
    arranged = Region(
        title=region.title,
        emit=region.emit,
        formals=(*formals, number),
        captured=region.captured,
        operands=region.operands,
        results=region.tensors[1:],
        flags=region.flags,
        messages=region.messages,
    )
    numbers = c.emit(ops.Iota("int64", (loop.trips,)))
    return emit_scan(c, arranged, states, [numbers], loop.trips)


def _while(loop: Loop, limit: Value | None = None) -> Result | None:
    """Emit a while loop if nothing is collected; ``limit`` is a trip count met at run time."""
    if loop.collected or not loop.states:
        return None
    region = _region(loop)
    if region is None or region.tensors is None:
        return None
    c, emit = loop.c, region.emit
    number, *formals = region.formals
    condition, *states = region.tensors
    following = emit(ops.Add(), number, emit.constant(1, "int64"))
    condition = emit(ops.Reshape(()), condition)
    start, extra, operands = loop.condition, [], []
    if limit is not None:
        bound = emit.argument(_NUMBER)
        condition = emit(ops.And(), condition, emit(ops.Less(), following, bound))
        limit = c.emit(ops.Reshape(()), limit)
        zero = c.emit.constant(0, "int64")
        start = c.emit(ops.And(), start, c.emit(ops.Less(), zero, limit))
        extra, operands = [bound], [limit]
    flags, passed = carried_flags(region)
    unused = emit.argument(_NUMBER)
    body = region.graph(
        (unused, number, *flags, *formals, *extra), (condition, following, *passed, *states)
    )
    first = c.emit.constant(loop.first, "int64")
    true = [c.emit.constant(True) for _ in flags]
    given = [s for s in loop.states if isinstance(s, Value)]
    results = c.emit.multi(
        ops.WhileLoop(body, loop.trips), start, first, *true, *given, *operands, *region.operands
    )
    held = results[1 : 1 + len(flags)]
    c.scope.checks.extend(zip(held, region.messages, strict=True))
    return list(results[1 + len(flags) :])


def _peeled(loop: Loop) -> Result:
    """Write out one iteration, followed by the rest of the loop."""
    c, sketch = loop.c, Sketch()
    number = sketch.enter(c.emit.constant(loop.first, "int64"))
    true = sketch.enter(c.emit.constant(True))
    states, captured = sketch.enter_all(loop.states), sketch.enter_all(c.captured)
    condition, *results = sketch.node(
        "Call",
        [number, true, *states, *captured],
        range(len(loop.body.outputs)),
        source=f"#{loop.first}",
        body=loop.body,
    )
    split = len(states)
    collected = [
        sketch.node("Append", [sketch.enter(items), value], (0,))[0]
        for items, value in zip(loop.collected, results[split:], strict=True)
    ]
    outputs = sketch.node(
        "LoopRest",
        [condition, *results[:split], *collected],
        c.op.results,
        captured,
        body=loop.body,
        first=loop.first + 1,
        trips=loop.trips - 1 if loop.trips > 0 else -1,
        scans=len(collected),
    )
    return sketch.expansion(outputs)


def _finished(loop: Loop) -> Result:
    """Return the states and what was collected of each scan output."""
    columns = [items.entries for items in loop.collected]
    if all(columns):
        stacked = [
            stack(loop.c, [v for v in column if isinstance(v, Value)], 0) for column in columns
        ]
        return [*loop.states, *stacked]
    region = _region(loop)
    if region is None or region.tensors is None:
        raise loop.c.unsupported("the loop runs not once, and the types of its results are open")
    return [*loop.states, *(_empty(loop.c, v) for v in region.tensors[1 + len(loop.states) :])]


def _empty(c: Conversion, like: Value) -> Value:
    assert isinstance(like.type, TensorType)
    return c.emit.constant(np.zeros((0, *like.type.dims), numpy_dtype(like.type.dtype)))


def _demand(value: Value) -> Result:
    raise NeedsValue(value)
