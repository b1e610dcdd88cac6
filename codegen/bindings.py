# SPDX-License-Identifier: MIT
"""Named subexpressions of kernels as registers instead of let expressions.

TVM's passes substitute the value of a let, and of a bind statement, at every use unless it
loads from memory. That undoes the sharing and takes exponential time on chains of them. So a
subexpression that is used more than once is stored to a buffer of one element, which LLVM and
nvcc keep in a register; one that is used once is put in its place.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import tvm
from tvm import tirx
from tvm_ffi.structural import structural_map

PIPELINE = "ranvier"
"""Name of TVM's lowering pipeline with registers on the stack."""

_BINARY = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Min, tirx.Max)


def bind_lets(statement: Any) -> Any:
    """Return ``statement`` with the lets of stored values as registers before the store.

    Lets inside ``if_then_else`` stay, because what they name may only be loaded there.
    """
    return structural_map(statement, (tirx.BufferStore, _bind_store))


def _bind_store(store: Any) -> Any:
    lets: list[tuple[Any, Any]] = []
    value = _hoist(store.value, lets)
    if not lets:
        return store
    uses = _uses([value, *(v for _, v in lets)])
    known: dict[Any, Any] = {}
    statements: list[Any] = []
    for variable, bound in lets:
        expr = _substitute(bound, known)
        if uses[variable] < 2:
            known[variable] = expr
        else:
            register = tirx.decl_buffer((1,), variable.ty.dtype, variable.name, scope="local")
            statements += [tirx.AllocBuffer(register), tirx.BufferStore(register, expr, [0])]
            known[variable] = tirx.BufferLoad(register, [0])
    final = tirx.BufferStore(store.buffer, _substitute(value, known), store.indices)
    return tirx.SeqStmt([*statements, final]) if statements else final


def _hoist(expr: Any, lets: list[tuple[Any, Any]]) -> Any:
    """Return ``expr`` without its leading lets, which are appended to ``lets`` in order."""
    while isinstance(expr, tirx.Let):
        value = _hoist(expr.value, lets)
        lets.append((expr.var, value))
        expr = expr.body
    if isinstance(expr, _BINARY):
        return type(expr)(_hoist(expr.a, lets), _hoist(expr.b, lets))
    return expr


def _uses(expressions: list[Any]) -> Counter[Any]:
    counts: Counter[Any] = Counter()

    def count(variable: Any) -> Any:
        counts[variable] += 1
        return variable

    for expr in expressions:
        structural_map(expr, (tvm.ir.Var, count))
    return counts


def _substitute(expr: Any, known: dict[Any, Any]) -> Any:
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

    def with_stack() -> Any:
        # Marked last: TVM's storage rewriting drops annotations.
        mark = tirx.transform.prim_func_pass(_on_stack, opt_level=0)
        return tvm.ir.transform.Sequential([mark, finish_host()])

    return lower, with_stack, finish_device


tirx.compilation_pipeline.register_tir_pipeline(PIPELINE, _pipeline)
