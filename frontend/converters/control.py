# SPDX-License-Identifier: MIT
"""If, Scan and SequenceMap; Loop is in :mod:`.loop`."""

from __future__ import annotations

from ...errors import ModelError, UnsupportedError
from ...ir import Graph, TensorType, Type, Value, ops
from ...ir.ops.shape import slice_along
from ..convert import Conversion, Entry, Expansion, Items, Region, Result, converter
from ..folding import Demand, LimitError
from ..sketch import INTERNAL, Sketch
from .internal import all_entries, applied


def attempt(c: Conversion, body: Graph, inputs: list[Type | Entry]) -> Region | None:
    """Convert a region, or return ``None`` where it has no static form for these inputs."""
    try:
        region = c.region(body, inputs)
    except LimitError:
        raise
    # An operator that fails for shapes met inside a region may be in a branch never taken.
    except (Demand, ModelError, UnsupportedError):
        return None
    return region if region.tensors is not None else None


def scalar_condition(c: Conversion, value: Value) -> Value:
    """Return a condition, which the standard lets have one axis of size 1, as a scalar."""
    if not isinstance(value.type, TensorType) or value.type.dtype != "bool":
        raise c.error(f"the condition must be a bool tensor of one element, found {value.type}")
    if value.type.size != 1:
        raise c.error(f"the condition must have one element, found {value.type}")
    return c.emit(ops.Reshape(()), value) if value.type.rank else value


# If


@converter("If")
def if_(c: Conversion) -> Result:
    """Take the branch that a known condition selects, else compile both if they agree."""
    then_body, else_body = c.attr("then_branch"), c.attr("else_branch")
    condition = scalar_condition(c, c.operand(0))
    known = c.emit.known(condition)
    if known is not None:
        return applied(c, then_body if bool(known) else else_body, c.captured)
    then, other = (attempt(c, body, [*c.captured]) for body in (then_body, else_body))
    if then is None or other is None or _types(then) != _types(other):
        c.array(0)  # not known: ends the stage here
        raise AssertionError
    return _branch(c, condition, then, other)


def _types(region: Region) -> list[Type]:
    return [v.type for v in region.tensors or ()]


def _branch(c: Conversion, condition: Value, then: Region, other: Region) -> Result:
    # The checks of the branch that is not taken hold.
    then_flags = [*then.flags, *(then.emit.constant(True) for _ in other.flags)]
    other_flags = [*(other.emit.constant(True) for _ in then.flags), *other.flags]
    op = ops.Branch(
        then.graph((), (*(then.tensors or ()), *then_flags)),
        other.graph((), (*(other.tensors or ()), *other_flags)),
    )
    results = c.emit.multi(op, condition, *then.operands)
    count = len(then.results)
    messages = (*then.messages, *other.messages)
    c.scope.checks.extend(zip(results[count:], messages, strict=True))
    return results[:count]


# Scan


@converter("Scan")
@converter("Scan", domain=INTERNAL)
def scan(c: Conversion) -> Result:
    """Emit a scan over the leading axis, to which the others are moved."""
    if not c.op.domain and c.version < 9:
        return _scan_batch(c)
    body: Graph = c.attr("body")
    count: int = c.attr("num_scan_inputs")
    split = len(c.entries) - count
    if count < 1 or split < 0 or len(body.inputs) != len(c.entries) + len(c.captured):
        raise c.error(f"num_scan_inputs is {count}, the body has {len(body.inputs)} inputs")
    states = [c.operand(k) for k in range(split)]
    axes = _per(c, "scan_input_axes", count)
    down = _per(c, "scan_input_directions", count)
    scanned = [_to_front(c, c.operand(split + k), axes[k], bool(down[k])) for k in range(count)]
    lengths = {v.type.dims[0] for v in scanned if isinstance(v.type, TensorType)}
    if len(lengths) != 1:
        raise c.error(f"the scan inputs differ in length: {sorted(lengths)}")
    (length,) = lengths
    types = [v.type for v in states]
    region = attempt(c, body, [*types, *map(_slice_type, scanned), *c.captured])
    if region is None or _types(region)[: len(types)] != types:
        return _unrolled(c, body, states, scanned, length)
    return _scanned(c, region, states, scanned, length)


def _scanned(
    c: Conversion, region: Region, states: list[Value], scanned: list[Value], length: int
) -> Result:
    results = emit_scan(c, region, states, scanned, length)
    split = len(states)
    axes = _per(c, "scan_output_axes", len(results) - split)
    down = _per(c, "scan_output_directions", len(results) - split)
    stacked = [_from_front(c, v, axes[k], bool(down[k])) for k, v in enumerate(results[split:])]
    return [*results[:split], *stacked]


def emit_scan(
    c: Conversion, region: Region, states: list[Value], scanned: list[Value], length: int
) -> list[Value]:
    """Emit a scan of a region, whose checks are carried along as flags."""
    tensors, count = list(region.tensors or ()), len(states)
    flags, passed = carried_flags(region)
    body = region.graph(
        (*region.formals[:count], *flags, *region.formals[count:]),
        (*tensors[:count], *passed, *tensors[count:]),
    )
    true = [c.emit.constant(True) for _ in flags]
    op = ops.Scan(body, length, count + len(flags), len(scanned))
    results = c.emit.multi(op, *states, *true, *scanned, *region.operands)
    held = results[count : count + len(flags)]
    c.scope.checks.extend(zip(held, region.messages, strict=True))
    return [*results[:count], *results[count + len(flags) :]]


def carried_flags(region: Region) -> tuple[list[Value], list[Value]]:
    """Return for each check of a body a state "held so far", before and after the step."""
    flags = [region.emit.argument(TensorType("bool", ())) for _ in region.flags]
    return flags, [
        region.emit(ops.And(), flag, now) for flag, now in zip(flags, region.flags, strict=True)
    ]


def _unrolled(
    c: Conversion, body: Graph, states: list[Value], scanned: list[Value], length: int
) -> Expansion:
    """Write the steps out, for a body whose shapes or values change from step to step."""
    sketch = Sketch()
    carried, captured = sketch.enter_all(states), sketch.enter_all(c.captured)
    columns: list[list[Value]] = [[] for _ in body.outputs[len(states) :]]
    for t in range(length):
        slices = sketch.enter_all(_row(c, v, t) for v in scanned)
        results = sketch.node(
            "Call",
            [*carried, *slices, *captured],
            range(len(body.outputs)),
            source=f"#{t}",
            body=body,
        )
        carried = list(results[: len(states)])
        for column, value in zip(columns, results[len(states) :], strict=True):
            column.append(value)
    if not length:
        raise c.unsupported("a scan over nothing whose body has no static types")
    axes = _per(c, "scan_output_axes", len(columns))
    down = _per(c, "scan_output_directions", len(columns))
    stacked = [
        sketch.node("Stack", column[::-1] if down[k] else column, (0,), axis=axes[k])[0]
        for k, column in enumerate(columns)
    ]
    results = (*carried, *stacked)
    return sketch.expansion(results[k] for k in c.op.results)


def _scan_batch(c: Conversion) -> Expansion:
    """Scan each member of a batch on its own: opset 8, axis 0 is batch, axis 1 sequence."""
    count: int = c.attr("num_scan_inputs")
    split = len(c.entries) - count
    values = [c.operand(k) for k in range(1, len(c.entries))]
    batch = {c.shape(k)[0] for k in range(1, len(c.entries))}
    if len(batch) != 1 or not all(batch) or split < 1:
        raise c.error(f"the operands differ in batch size or have none: {sorted(batch)}")
    lengths = c.ints(0) if c.entry(0) is not None else ()
    sketch = Sketch()
    captured = sketch.enter_all(c.captured)
    longest = c.shape(split)[1]
    rows: list[tuple[Value, ...]] = []
    for b in range(batch.pop()):
        members = [_row(c, v, b) for v in values]
        if lengths:
            members[split - 1 :] = [
                slice_along(c.emit, v, 0, 0, lengths[b]) for v in members[split - 1 :]
            ]
        rows.append(
            sketch.node(
                "Scan",
                sketch.enter_all(members),
                c.op.results,
                captured,
                source=f"#{b}",
                body=c.attr("body"),
                num_scan_inputs=count,
                scan_input_directions=c.attr("directions", (0,) * count),
            )
        )
    stacked = [
        sketch.node("Stack", column, (0,), axis=0, length=longest if k >= split - 1 else -1)[0]
        for k, column in zip(c.op.results, zip(*rows, strict=True), strict=True)
    ]
    return sketch.expansion(stacked)


def _per(c: Conversion, name: str, count: int) -> tuple[int, ...]:
    """Return an attribute with one entry per operand or result; zeros where absent."""
    values = c.attr(name, (0,) * count)
    if len(values) != count:
        raise c.error(f"'{name}' has {len(values)} entries, expected {count}")
    return values


def _to_front(c: Conversion, x: Value, axis: int, reverse: bool) -> Value:
    rank = getattr(x.type, "rank", 0)
    axis = c.axis(axis, rank)
    if axis:
        order = (axis, *(k for k in range(rank) if k != axis))
        x = c.emit(ops.Transpose(order), x)
    return c.emit(ops.Reverse((0,)), x) if reverse else x


def _from_front(c: Conversion, x: Value, axis: int, reverse: bool) -> Value:
    rank = getattr(x.type, "rank", 0)
    if reverse:
        x = c.emit(ops.Reverse((0,)), x)
    axis = c.axis(axis, rank)
    order = [*range(1, rank)]
    order.insert(axis, 0)
    return c.emit(ops.Transpose(tuple(order)), x) if axis else x


def _slice_type(x: Value) -> TensorType:
    assert isinstance(x.type, TensorType)
    return TensorType(x.type.dtype, x.type.dims[1:])


def _row(c: Conversion, x: Value, at: int) -> Value:
    type = _slice_type(x)
    return c.emit(ops.Reshape(type.dims), slice_along(c.emit, x, 0, at, at + 1))


# SequenceMap


@converter("SequenceMap")
def sequence_map(c: Conversion) -> Result:
    """Apply the body to each member of sequences of known length."""
    body: Graph = c.attr("body")
    entries = all_entries(c)
    lengths = {len(e.entries) for e in entries if isinstance(e, Items)}
    if len(lengths) != 1:
        raise c.error(f"the sequences differ in length: {sorted(lengths)}")
    (length,) = lengths
    if not length:
        return [Items(()) for _ in body.outputs]
    sketch = Sketch()
    captured = sketch.enter_all(c.captured)
    rows = []
    for k in range(length):
        members = [e.entries[k] if isinstance(e, Items) else e for e in entries]
        operands = [*sketch.enter_all(members), *captured]
        rows.append(
            sketch.node("Call", operands, range(len(body.outputs)), source=f"#{k}", body=body)
        )
    packed = [sketch.node("Pack", column, (0,))[0] for column in zip(*rows, strict=True)]
    return sketch.expansion(packed[k] for k in c.op.results)
