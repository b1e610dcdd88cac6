# SPDX-License-Identifier: MIT
"""Gradients of control flow: the scan that runs backwards and the branch of gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..graph import Graph
from ..op import Cotangents, Values
from .control import Branch, Scan
from .shape import Reverse

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


def scan_vjp(op: Scan, emit: Emitter, inputs: Values, cotangents: Cotangents) -> Cotangents:
    """Emit the reverse scan of ``op`` and return the cotangents of its operands.

    The reverse scan carries the cotangents of the states and, accumulated over the steps,
    of the captured values; it scans the saved states, the slices and the cotangents of the
    per-step outputs, all from the last step to the first.
    """
    from ..gradient import is_float, zeros_like

    states, split = op.num_carried, op.num_carried + op.num_scanned
    saved = emit.multi(_saving(op), *inputs)[len(op.body.outputs) :]
    flowing = [k for k, v in enumerate(inputs[:states]) if is_float(v)]
    weights = [k for k in range(split, len(inputs)) if is_float(inputs[k])]
    outer = [k for k in range(states, len(cotangents)) if cotangents[k] is not None]
    carried = [_or_zeros(emit, cotangents[k], inputs[k]) for k in flowing]
    carried += [zeros_like(emit, inputs[k]) for k in weights]
    flip = Reverse((0,))
    scanned = [emit(flip, v) for v in (*saved, *inputs[states:split])]
    scanned += [emit(flip, c) for k in outer if (c := cotangents[k]) is not None]
    body = _scan_body(op, flowing, weights, outer)
    back = Scan(body, op.length, len(carried), len(scanned))
    results = list(emit.multi(back, *carried, *scanned, *inputs[split:]))
    found: dict[int, Value] = {k: results.pop(0) for k in (*flowing, *weights)}
    slices = [k for k in range(states, split) if is_float(inputs[k])]
    found.update((k, emit(flip, v)) for k, v in zip(slices, results, strict=True))
    return tuple(found.get(k) for k in range(len(inputs)))


def _saving(op: Scan) -> Scan:
    """Return ``op`` with the state before each step as further stacked outputs."""
    body = op.body
    outputs = (*body.outputs, *body.inputs[: op.num_carried])
    return replace(op, body=replace(body, outputs=outputs))


def _scan_body(op: Scan, flowing: list[int], weights: list[int], outer: list[int]) -> Graph:
    """Return one step backwards; see :func:`scan_vjp` for its operands."""
    from ..emitter import Emitter
    from ..gradient import accumulate, is_float, pullback

    emit, body, split = Emitter(), op.body, op.num_carried + op.num_scanned
    carried = [emit.argument(body.inputs[k].type) for k in (*flowing, *weights)]
    states_and_slices = [emit.argument(v.type) for v in body.inputs[:split]]
    seeds_outer = [emit.argument(body.outputs[k].type) for k in outer]
    captured = [emit.argument(v.type) for v in body.inputs[split:]]
    arguments = (*states_and_slices, *captured)
    seeds = dict(zip(flowing, carried, strict=False)) | dict(zip(outer, seeds_outer, strict=True))
    found = pullback(emit, body, arguments, tuple(seeds.get(k) for k in range(len(body.outputs))))
    sums = [
        total if (c := found[k]) is None else accumulate(emit, total, c)
        for k, total in zip(weights, carried[len(flowing) :], strict=True)
    ]
    slices = [k for k in range(op.num_carried, split) if is_float(body.inputs[k])]
    chosen = [_or_zeros(emit, found[k], arguments[k]) for k in (*flowing, *slices)]
    results = (*chosen[: len(flowing)], *sums, *chosen[len(flowing) :])
    inputs = (*carried, *states_and_slices, *seeds_outer, *captured)
    return emit.graph(f"{body.name}_vjp", inputs, results)


def branch_vjp(op: Branch, emit: Emitter, inputs: Values, cotangents: Cotangents) -> Cotangents:
    """Emit the branch between the gradients of both bodies by their captured values."""
    from ..gradient import is_float

    wrt = [k for k, v in enumerate(inputs[1:]) if is_float(v)]
    seeds = [c for c in cotangents if c is not None]
    if not wrt or not seeds:
        return (None,) * len(inputs)
    present = [k for k, c in enumerate(cotangents) if c is not None]
    bodies = [_branch_body(b, wrt, present) for b in (op.then_body, op.else_body)]
    results = emit.multi(Branch(*bodies), *inputs, *seeds)
    found = dict(zip(wrt, results, strict=True))
    return (None, *(found.get(k) for k in range(len(inputs) - 1)))


def _branch_body(body: Graph, wrt: Sequence[int], present: Sequence[int]) -> Graph:
    from ..emitter import Emitter
    from ..gradient import pullback

    emit = Emitter()
    captured = tuple(emit.argument(v.type) for v in body.inputs)
    seeds = {k: emit.argument(body.outputs[k].type) for k in present}
    found = pullback(emit, body, captured, tuple(map(seeds.get, range(len(body.outputs)))))
    results = [_or_zeros(emit, found[k], captured[k]) for k in wrt]
    return emit.graph(f"{body.name}_vjp", (*captured, *seeds.values()), results)


def _or_zeros(emit: Emitter, cotangent: Value | None, like: Value) -> Value:
    from ..gradient import zeros_like

    return zeros_like(emit, like) if cotangent is None else cotangent
