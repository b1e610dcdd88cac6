# SPDX-License-Identifier: MIT
"""Reads expressions of a graph as products and polynomials, however they are associated."""

from __future__ import annotations

import math

import ml_dtypes

from ..ir import Op, TensorType, Value, numpy_dtype, ops
from ..ir.types import FLOATS
from .rewriting import Scope

Polynomial = dict[int, float]
"""Coefficient by power."""

_ONE: tuple[float, tuple[int, ...]] = (1.0, ())
_MAX_DEPTH = 12
_MAX_TERMS = 16


def terms(scope: Scope, value: Value, *through: type[Op]) -> list[Value]:
    """Return ``value`` and what it is made of by way of ops ``through``, nearest first.

    Only values of the type of ``value`` count; constants and repetitions are left out.
    """
    found = [value]
    for v in found:
        node = scope.producer(v, *through)
        if node is None or len(found) > _MAX_TERMS:
            continue
        found += [
            w
            for w in dict.fromkeys(node.inputs)
            if w not in found and w.type == value.type and scope.array(w) is None
        ]
    return found


def coefficient(scope: Scope, value: Value, *atoms: Value) -> float | None:
    """Return ``c`` of ``value = c * product(atoms)``, ``None`` if it is no such product."""
    found = _monomial(scope, value, atoms)
    return None if found is None or found[1] != (1,) * len(atoms) else found[0]


def _monomial(
    scope: Scope, value: Value, atoms: tuple[Value, ...], depth: int = 0
) -> tuple[float, tuple[int, ...]] | None:
    """Return a number and the power of each atom whose product is ``value``."""
    if value in atoms:
        return 1.0, tuple(int(value == a) for a in atoms)
    number = scope.number(value)
    if number is not None:
        return number, (0,) * len(atoms)
    node = scope.producer(value, ops.Mul, ops.Div, ops.Neg)
    if node is None or value.type != atoms[0].type or depth > _MAX_DEPTH:
        return None
    parts = [_monomial(scope, v, atoms, depth + 1) for v in node.inputs]
    if any(p is None for p in parts):
        return None
    (a, m), (b, n) = parts[0] or _ONE, parts[-1] or _ONE
    if isinstance(node.op, ops.Neg):
        return -a, m
    if isinstance(node.op, ops.Mul):
        return a * b, tuple(j + k for j, k in zip(m, n, strict=True))
    return None if any(n) or b == 0 else (a / b, m)


def polynomial(scope: Scope, value: Value, x: Value, depth: int = 0) -> Polynomial | None:
    """Return ``value`` as a polynomial of ``x``, ``None`` if it is none.

    The coefficients are numbers; all values in between have the type of ``x``.
    """
    if value == x:
        return {1: 1.0}
    number = scope.number(value)
    if number is not None:
        return {0: number}
    node = scope.producer(value, ops.Add, ops.Sub, ops.Mul, ops.Div, ops.Neg, ops.Pow)
    if node is None or value.type != x.type or depth > _MAX_DEPTH:
        return None
    terms = [polynomial(scope, v, x, depth + 1) for v in node.inputs]
    if any(t is None for t in terms):
        return None
    first, last = terms[0] or {}, terms[-1] or {}
    if isinstance(node.op, ops.Neg):
        return _product(first, {0: -1.0})
    if isinstance(node.op, ops.Add):
        return _sum(first, last)
    if isinstance(node.op, ops.Sub):
        return _sum(first, _product(last, {0: -1.0}))
    if isinstance(node.op, ops.Mul):
        return _product(first, last)
    return _quotient_or_power(isinstance(node.op, ops.Div), first, last)


def _quotient_or_power(divides: bool, first: Polynomial, last: Polynomial) -> Polynomial | None:
    number = last.get(0, 0.0)
    if set(last) != {0}:
        return None
    if divides:
        return _product(first, {0: 1 / number}) if number else None
    if number not in (1, 2, 3):
        return None
    result = first
    for _ in range(int(number) - 1):
        result = _product(result, first)
    return result


def _sum(a: Polynomial, b: Polynomial) -> Polynomial:
    return {k: a.get(k, 0.0) + b.get(k, 0.0) for k in a.keys() | b.keys()}


def _product(a: Polynomial, b: Polynomial) -> Polynomial:
    result: Polynomial = {}
    for j, x in a.items():
        for k, y in b.items():
            result[j + k] = result.get(j + k, 0.0) + x * y
    return result


def is_polynomial(scope: Scope, value: Value, x: Value, expected: Polynomial) -> bool:
    """Whether ``value`` is this polynomial of ``x``, but for rounded coefficients."""
    found = polynomial(scope, value, x)
    return (
        found is not None
        and found.keys() == expected.keys()
        and all(is_close(found[k], expected[k], x) for k in expected)
    )


def is_close(found: float, expected: float, like: Value) -> bool:
    """Whether two numbers are equal but for rounding to the float type of ``like``."""
    if not isinstance(like.type, TensorType) or like.type.dtype not in FLOATS:
        return False
    unit = float(ml_dtypes.finfo(numpy_dtype(like.type.dtype)).eps)  # type: ignore[no-untyped-call]
    return math.isclose(found, expected, rel_tol=max(4 * unit, 1e-6), abs_tol=0.0)
