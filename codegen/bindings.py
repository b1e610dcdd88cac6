# SPDX-License-Identifier: MIT
"""Named subexpressions of kernels as registers instead of let expressions.

TVM's passes substitute the value of a let, and of a bind statement, at every use unless it
loads from memory. That undoes the sharing and takes exponential time on chains of them. So a
subexpression that is used more than once is stored to a buffer of one element, which LLVM and
nvcc keep in a register; one that is used once is put in its place, unless it loads and is chosen
by a condition: of that TVM makes a branch, which keeps LLVM from using vectors.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import tvm
from tvm import tirx
from tvm.ir import Var
from tvm.ir.expr import TensorLoad
from tvm_ffi.structural import structural_map, structural_mutate

PIPELINE = "ranvier"
"""Name of TVM's lowering pipeline with registers on the stack."""

_PURE = (
    *(tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Min, tirx.Max),
    *(tirx.EQ, tirx.NE, tirx.LT, tirx.LE, tirx.GT, tirx.GE, tirx.And, tirx.Or),
)


def bind_lets(statement: Any) -> Any:
    """Return ``statement`` with the lets of stored values as registers before the store.

    In a vectorised loop a register has an element per lane and is allocated before the loop.
    Lets inside ``if_then_else`` stay, because what they name may only be loaded there.
    """
    return structural_mutate(
        statement,
        [
            (tirx.For, _bind_loop),
            (tirx.BufferStore, lambda store, _: _Registers().bind(store)),
        ],
    )


def _bind_loop(loop: Any, mutator: Any) -> Any:
    if loop.kind != tirx.ForKind.VECTORIZED:
        return mutator.default_mutate(loop)
    registers = _Registers(int(loop.extent), loop.loop_var - loop.min)
    body = structural_map(loop.body, (tirx.BufferStore, registers.bind))
    vectorised = tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, body)
    # Even without a register: what is used once has been put in its place, and TVM cannot
    # vectorise a let of a bool.
    allocations = registers.allocations
    return tirx.SeqStmt([*allocations, vectorised]) if allocations else vectorised


class _Registers:
    """Buffers that hold the values of lets: one element, or one per lane of a vectorised loop.

    Attributes:
        allocations: the allocations that go before the loop; those of one element are made
            where they are used instead.
    """

    def __init__(self, lanes: int = 1, lane: Any = 0) -> None:
        self.lanes, self.lane = lanes, lane
        self.allocations: list[Any] = []

    def bind(self, store: Any) -> Any:
        """Return ``store`` preceded by stores of the values that it uses more than once."""
        lets: list[tuple[Any, Any]] = []
        value = _hoist(store.value, lets)
        if not lets:
            return store
        everything = [value, *(v for _, v in lets)]
        uses, chosen = _uses(everything), _chosen(everything)
        known: dict[Any, Any] = {}
        statements: list[Any] = []
        for variable, bound in lets:
            expr = substitute(bound, known)
            if uses[variable] < 2 and not (variable in chosen and _loads(expr)):
                known[variable] = expr
            else:
                known[variable] = self._name(variable, expr, statements)
        final = tirx.BufferStore(store.buffer, substitute(value, known), store.indices)
        return tirx.SeqStmt([*statements, final]) if statements else final

    def _name(self, variable: Any, value: Any, statements: list[Any]) -> Any:
        """Append the store of ``value`` to a register; return the load."""
        dtype = str(variable.ty.dtype)
        truth = dtype == "bool"  # which vectorised loops cannot store
        register = tirx.decl_buffer(
            (self.lanes,), "uint8" if truth else dtype, variable.name, scope="local"
        )
        place = statements if self.lanes == 1 else self.allocations
        place.append(tirx.AllocBuffer(register))
        stored = tirx.Cast("uint8", value) if truth else value
        statements.append(tirx.BufferStore(register, stored, [self.lane]))
        load = tirx.BufferLoad(register, [self.lane])
        return tirx.NE(load, tirx.const(0, "uint8")) if truth else load


def _hoist(expr: Any, lets: list[tuple[Any, Any]]) -> Any:
    """Return ``expr`` without the lets of its operands, which are appended to ``lets`` in order.

    Calls are left alone: of ``if_then_else`` only one branch may be evaluated, and what is
    named is named in front of a call.
    """
    while isinstance(expr, tirx.Let):
        value = _hoist(expr.value, lets)
        lets.append((expr.var, value))
        expr = expr.body
    if isinstance(expr, _PURE):
        return type(expr)(_hoist(expr.a, lets), _hoist(expr.b, lets))
    if isinstance(expr, tirx.Select):
        parts = (expr.condition, expr.true_value, expr.false_value)
        return tirx.Select(*(_hoist(part, lets) for part in parts))
    if isinstance(expr, tirx.Cast):
        return tirx.Cast(expr.ty.dtype, _hoist(expr.value, lets))
    return expr


def _uses(expressions: list[Any]) -> Counter[Any]:
    counts: Counter[Any] = Counter()

    def count(variable: Any) -> Any:
        counts[variable] += 1
        return variable

    for expr in expressions:
        structural_map(expr, (tvm.ir.Var, count))
    return counts


def _chosen(expressions: list[Any]) -> set[Any]:
    """Return the variables that a condition chooses between."""
    found: set[Any] = set()

    def note(select: Any, mutator: Any) -> Any:
        found.update(
            part for part in (select.true_value, select.false_value) if isinstance(part, Var)
        )
        return mutator.default_mutate(select)

    for expr in expressions:
        structural_mutate(expr, (tirx.Select, note))
    return found


def _loads(expr: Any) -> bool:
    found = False

    def note(load: Any) -> Any:
        nonlocal found
        found = True
        return load

    structural_map(expr, (TensorLoad, note))
    return found


def substitute(expr: Any, known: dict[Any, Any]) -> Any:
    """Return ``expr`` with variables replaced by what is ``known`` of them."""
    if not known:
        return expr
    return structural_map(expr, (tvm.ir.Var, lambda variable: known.get(variable, variable)))


def _on_stack(function: Any, module: Any, context: Any) -> Any:
    """Mark registers as stack memory; by default every buffer becomes a call of TVM's allocator."""
    marked = {"disable_lower_builtin": tirx.IntImm("bool", 1)}

    def mark(alloc: Any) -> Any:
        return tirx.AllocBuffer(alloc.buffer, marked)

    stacked = function.with_body(structural_map(function.body, (tirx.AllocBuffer, mark)))
    # TVM takes the only function of a module for a program's entry and compiles it twice.
    return stacked.without_attr("tirx.is_entry_func")


def _pipeline() -> Any:
    lower, finish_host, finish_device = tirx.get_tir_pipeline("s_tir")
    transform = tvm.ir.transform

    def unshared(module: Any, context: Any) -> Any:
        # TVM 0.27 binds what a loop nest and the statements after it have in common inside of
        # the nest, which LLVM refuses; LLVM finds common subexpressions by itself.
        with transform.PassContext(config={"tirx.disable_cse_tir": True}):
            return lower(module)

    def with_stack() -> Any:
        # Marked last: TVM's storage rewriting drops annotations.
        mark = tirx.transform.prim_func_pass(_on_stack, opt_level=0)
        return transform.Sequential([mark, finish_host()])

    return transform.module_pass(unshared, opt_level=0), with_stack, finish_device


tirx.compilation_pipeline.register_tir_pipeline(PIPELINE, _pipeline)
