# SPDX-License-Identifier: MIT
"""Control flow with regions: a counted scan, a branch and a while loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..graph import Graph
from ..op import Arrays, Cotangents, Kind, Op, Types, Values
from ..types import TensorType, Type, numpy_dtype

if TYPE_CHECKING:
    from ..emitter import Emitter


@dataclass(frozen=True)
class Scan(Op):
    """Runs ``body`` a fixed number of times, over slices, carrying state from step to step.

    ``state[t+1], y[t] = body(state[t], x[t], captured)`` for ``t = 0 .. length-1``.

    Shapes:
        Operands are the initial states, the scanned arrays (leading axis ``length``) and the
        captured values; the body takes states, slices and captured values and returns states
        and per-step outputs. Results are the final states and the stacked per-step outputs.

    Gradient: a scan over the steps in reverse whose states are the cotangents of the states
    and of the captured values; the forward states are recomputed and stacked first.
    ONNX: Scan-11 and Loop-11 with a known trip count.
    """

    name: ClassVar[str] = "scan"
    kind: ClassVar[Kind] = Kind.CONTROL
    body: Graph
    length: int
    num_carried: int
    num_scanned: int

    def infer(self, *inputs: Type) -> Types:
        """Return the types of the final states and of the stacked outputs."""
        states, split = self.num_carried, self.num_carried + self.num_scanned
        if self.length < 0 or len(inputs) < split:
            raise self.error(
                f"needs length >= 0 and at least {split} operands, "
                f"found length {self.length} and {len(inputs)} operands"
            )
        slices = tuple(self._slice(t) for t in self.tensors(inputs[states:split]))
        _check_inputs(self, self.body, (*inputs[:states], *slices, *inputs[split:]))
        results = tuple(v.type for v in self.body.outputs)
        _check_same(self, "states", inputs[:states], results[:states])
        stacked = self.tensors(results[states:])
        return (
            *results[:states],
            *(TensorType(t.dtype, (self.length, *t.shape)) for t in stacked),
        )

    def _slice(self, type: TensorType) -> TensorType:
        if type.rank == 0 or type.shape[0] != self.length:
            raise self.error(f"scanned operand {type} needs a leading axis of {self.length}")
        return TensorType(type.dtype, type.shape[1:])

    def evaluate(self, *inputs: Any) -> Arrays:
        """Interpret the body step by step."""
        split = self.num_carried + self.num_scanned
        states = list(inputs[: self.num_carried])
        scanned, captured = inputs[self.num_carried : split], inputs[split:]
        steps: list[list[Any]] = []
        for t in range(self.length):
            results = _run(self.body, (*states, *(x[t] for x in scanned), *captured))
            states = results[: self.num_carried]
            steps.append(results[self.num_carried :])
        columns = self.tensors(tuple(v.type for v in self.body.outputs[self.num_carried :]))
        return (*states, *(_stack([s[k] for s in steps], t) for k, t in enumerate(columns)))

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Scan the body's gradient backwards over the recomputed states."""
        from .control_gradient import scan_vjp

        return scan_vjp(self, emit, inputs, cotangents)

    def flops(self, *inputs: Type) -> int:
        """Operations of all steps."""
        return self.length * _flops(self.body)


@dataclass(frozen=True)
class Branch(Op):
    """Runs ``then_body`` if the condition holds, otherwise ``else_body``.

    Shapes:
        Operands are the condition (``bool[]``) and the captured values, which both bodies
        take; both return the same types, which are the results.

    Gradient: a branch of the bodies' gradients. ONNX: If-11.
    """

    name: ClassVar[str] = "branch"
    kind: ClassVar[Kind] = Kind.CONTROL
    then_body: Graph
    else_body: Graph

    def infer(self, *inputs: Type) -> Types:
        """Return the types that both bodies return."""
        _check_condition(self, inputs[:1])
        for body in (self.then_body, self.else_body):
            _check_inputs(self, body, inputs[1:])
        results = tuple(v.type for v in self.then_body.outputs)
        _check_same(self, "results", results, tuple(v.type for v in self.else_body.outputs))
        return results

    def evaluate(self, *inputs: Any) -> Arrays:
        """Interpret the body that the condition selects."""
        condition, *captured = inputs
        return tuple(_run(self.then_body if condition else self.else_body, captured))

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Branch between the bodies' gradients."""
        from .control_gradient import branch_vjp

        return branch_vjp(self, emit, inputs, cotangents)

    def flops(self, *inputs: Type) -> int:
        """Operations of the costlier body."""
        return max(_flops(self.then_body), _flops(self.else_body))


@dataclass(frozen=True)
class WhileLoop(Op):
    """Runs ``body`` while the condition holds, at most ``max_trips`` times (-1: unbounded).

    ``condition, state = body(iteration, state, captured)``, from iteration 0 on.

    Shapes:
        Operands are the condition (``bool[]``), the initial states and the captured values;
        the body takes the iteration number (``int64[]``), states and captured values and
        returns the next condition and the states. Results are the final states.

    Gradient: none, because the number of states to save is not known before the loop has
    run; a loop with a known trip count is a :class:`Scan`, which has one.
    ONNX: Loop-11 with a trip count that the data decides.
    """

    name: ClassVar[str] = "while_loop"
    kind: ClassVar[Kind] = Kind.CONTROL
    body: Graph
    max_trips: int = -1

    def infer(self, *inputs: Type) -> Types:
        """Return the types of the states."""
        _check_condition(self, inputs[:1])
        _check_inputs(self, self.body, (TensorType("int64", ()), *inputs[1:]))
        results = tuple(v.type for v in self.body.outputs)
        _check_condition(self, results[:1])
        _check_same(self, "states", inputs[1 : len(results)], results[1:])
        return results[1:]

    def evaluate(self, *inputs: Any) -> Arrays:
        """Interpret the body until the condition fails."""
        count = len(self.body.outputs) - 1
        condition, states, captured = inputs[0], list(inputs[1 : 1 + count]), inputs[1 + count :]
        trip = 0
        while condition and trip != self.max_trips:
            condition, *states = _run(self.body, (np.asarray(trip, np.int64), *states, *captured))
            trip += 1
        return tuple(states)


def _run(body: Graph, arguments: Sequence[Any]) -> list[Any]:
    from ..interpreter import interpret

    return interpret(body, arguments)


def _stack(rows: list[Any], type: TensorType) -> Any:
    if not rows:
        return np.zeros((0, *type.dims), numpy_dtype(type.dtype))
    return np.stack([np.asarray(r) for r in rows])


def _flops(body: Graph) -> int:
    return sum(n.op.flops(*(v.type for v in n.inputs)) for n in body.nodes)


def _check_condition(op: Op, types: Types) -> None:
    if types != (TensorType("bool", ()),):
        found = str(types[0]) if types else "nothing"
        raise op.error(f"the condition must be bool[], found {found}")


def _check_inputs(op: Op, body: Graph, given: Types) -> None:
    _check_same(op, f"inputs of body '{body.name}'", tuple(v.type for v in body.inputs), given)


def _check_same(op: Op, what: str, expected: Types, found: Types) -> None:
    if expected != found:
        raise op.error(
            f"{what} do not match: expected ({', '.join(map(str, expected))}), "
            f"found ({', '.join(map(str, found))})"
        )


__all__ = ["Branch", "Scan", "WhileLoop"]
