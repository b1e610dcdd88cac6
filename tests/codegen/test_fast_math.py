# SPDX-License-Identifier: MIT
"""Polynomials of float32: error bounds on all numbers, special values, code that is vectors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as tb

from ranvier.codegen.bindings import PIPELINE, bind_lets
from ranvier.codegen.kernel import build_kernel
from ranvier.codegen.lowering import fast_math
from ranvier.codegen.targets import parse_target
from ranvier.codegen.trial import run_op
from ranvier.ir import Array, Emitter, Op, TensorType, ops

Reference = Callable[[Array], Array]

TINY = 1e-8
INF, NAN = math.inf, math.nan


def reference_erf(x: Array) -> Array:
    """Return the error function of float64 numbers, calling C only where it is a curve."""
    with np.errstate(invalid="ignore"):
        result = np.where(np.abs(x) < TINY, x * (2 / math.sqrt(math.pi)), np.sign(x))
    curve = (np.abs(x) >= TINY) & (np.abs(x) < 4.5)
    result[curve] = [math.erf(v) for v in x[curve].tolist()]
    return result


def reference_sigmoid(x: Array) -> Array:
    """Return the logistic function of float64 numbers."""
    return 1 / (1 + np.exp(-x))


# Units in the last place of the result; measured on all numbers, rounded up.
FUNCTIONS: list[tuple[Op, Reference, float]] = [
    (ops.Exp(), np.exp, 1.1),
    (ops.Expm1(), np.expm1, 1.7),
    (ops.Log(), np.log, 1.0),
    (ops.Log1p(), np.log1p, 1.6),
    (ops.Tanh(), np.tanh, 2.6),
    (ops.Erf(), reference_erf, 2.6),
    (ops.Sigmoid(), reference_sigmoid, 2.5),
]
each_function = pytest.mark.parametrize(
    ("op", "reference", "bound"), FUNCTIONS, ids=[f[0].name for f in FUNCTIONS]
)

SPECIAL: dict[str, list[tuple[float, float]]] = {
    "exp": [(0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (88.73, INF), (-104, 0), (1e-45, 1)],
    "expm1": [(0, 0), (-0.0, -0.0), (INF, INF), (-INF, -1), (88.73, INF), (1e-45, 1e-45)],
    "log": [(0, -INF), (-0.0, -INF), (1, 0), (INF, INF), (-1e-45, NAN), (-INF, NAN)],
    "log1p": [(0, 0), (-0.0, -0.0), (-1, -INF), (INF, INF), (-1.5, NAN), (-INF, NAN)],
    "tanh": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (1e-45, 1e-45), (3e38, 1)],
    "erf": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (1e-45, 1e-45), (-3e38, -1)],
    "sigmoid": [(0, 0.5), (-0.0, 0.5), (INF, 1), (-INF, 0), (-104, 0), (3e38, 1)],
}


def all_numbers(step: int) -> Iterator[Array]:
    """Yield every ``step``-th float32 by its bits, at most 2**22 at a time."""
    block = step << 22
    for start in range(0, 1 << 32, block):
        bits = np.arange(start, min(start + block, 1 << 32), step, dtype=np.int64)
        yield bits.astype(np.uint32).view(np.float32)


def units_off(actual: Array, exact: Array) -> float:
    """Return the largest error in units of the last place; NaN, infinity and sign must agree."""
    rounded = exact.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(rounded))
    np.testing.assert_array_equal(np.isinf(actual), np.isinf(rounded))
    number = ~np.isnan(rounded)
    np.testing.assert_array_equal(np.signbit(actual[number]), np.signbit(exact[number]))
    finite = np.isfinite(rounded)
    unit = np.spacing(np.abs(rounded[finite])).astype(np.float64)
    return float(np.max(np.abs(actual[finite] - exact[finite]) / unit, initial=0.0))


def largest_error(op: Op, reference: Reference, step: int, target: str = "cpu") -> float:
    """Return the error of ``op`` on every ``step``-th number."""
    worst = 0.0
    with np.errstate(all="ignore"):
        for x in all_numbers(step):
            worst = max(worst, units_off(run_op(op, [x], target)[0], reference(x.astype(float))))
    return worst


@each_function
@pytest.mark.parametrize("target", ["cpu", "cpu{march=x86-64}"])
def test_sampled_numbers_are_within_the_bound(
    op: Op, reference: Reference, bound: float, target: str
) -> None:
    """The second target has no fused multiply-add."""
    assert largest_error(op, reference, 10007, target) <= bound


@pytest.mark.slow
@each_function
def test_all_numbers_are_within_the_bound(op: Op, reference: Reference, bound: float) -> None:
    assert largest_error(op, reference, 1) <= bound


@each_function
def test_special_numbers_are_exact(op: Op, reference: Reference, bound: float) -> None:
    x, expected = np.array([*SPECIAL[op.name], (NAN, NAN)], np.float32).T.copy()
    (actual,) = run_op(op, [x])
    np.testing.assert_array_equal(actual, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual[number]), np.signbit(expected[number]))


@pytest.mark.parametrize("op", [ops.Tanh(), ops.Erf(), ops.Sigmoid()], ids=lambda op: op.name)
def test_results_stay_within_one(op: Op) -> None:
    for x in all_numbers(997):
        assert np.nanmax(np.abs(run_op(op, [x])[0])) <= 1


# Code

LANES = 8
CALL = re.compile(r"\b(exp|expm1|log|log1p|tanh|erf|nearbyint|rint|fma)f\b")
TARGETS = {
    "x86-64-v3": ("x86_64-linux-gnu", "x86-64-v3", r"vfmadd\w+ps .*%ymm", r"vfmadd\w+ss"),
    "x86-64-v4": ("x86_64-linux-gnu", "x86-64-v4", r"vfmadd\w+ps .*%[yz]mm", r"vfmadd\w+ss"),
    "armv8-a": ("aarch64-linux-gnu", "generic", r"fmla\s+v\d+\.4s", r"fmadd\s+s"),
}
NAMES = [f[0].name for f in FUNCTIONS]


def assembly(function: Any, march: str) -> str:
    """Return the code of a TIR function for an architecture level."""
    triple, cpu, _, _ = TARGETS[march]
    target = {"kind": "llvm", "opt-level": 2, "mtriple": triple, "mcpu": cpu}
    return str(compile_for(target, function).mod.inspect_source("asm")).replace("\t", " ")


def compile_for(target: dict[str, object], function: Any) -> Any:
    """Return the library of one TIR function, ``main``."""
    module = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
    return tvm.compile(module, tvm.target.Target(target), tir_pipeline=PIPELINE)


def check_vectors(code: str, march: str) -> None:
    """Check that arithmetic is on vectors alone and calls no function of C."""
    _, _, vector, scalar = TARGETS[march]
    assert re.search(vector, code)
    assert not re.search(scalar, code)
    assert not CALL.search(code)


def vectorised_loop(name: str, size: int) -> Any:
    """Return a function over ``size`` numbers in vectorised loops, as templates have them."""
    with IRBuilder() as builder, tb.prim_func(s_tir=True):
        tb.func_attr({"tirx.noalias": True})
        x = tb.arg("x", tb.buffer((size,), "float32"))
        y = tb.arg("y", tb.buffer((size,), "float32"))
        with tb.serial(0, size // LANES) as i, tb.vectorized(0, LANES) as lane:
            tb.buffer_store(y, getattr(fast_math, name)(x[i * LANES + lane]), [i * LANES + lane])
    function = builder.get()
    return function.with_body(bind_lets(function.body))


@pytest.mark.parametrize("march", TARGETS)
@pytest.mark.parametrize(
    "op", [*(f[0] for f in FUNCTIONS), ops.Gelu(), ops.Gelu("tanh"), ops.Softplus(), ops.Mish()]
)
def test_kernels_are_vector_code(op: Op, march: str) -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (4096,)))
    body = emit.graph("kernel", [x], [emit(op, x)])
    kernel = build_kernel(body, parse_target(f"cpu{{march={march}}}"))
    check_vectors(assembly(kernel.function, march), march)


@pytest.mark.parametrize("march", TARGETS)
@pytest.mark.parametrize("name", NAMES)
def test_vectorised_loops_are_vector_code(name: str, march: str) -> None:
    check_vectors(assembly(vectorised_loop(name, 4096), march), march)


@pytest.mark.parametrize(("op", "reference", "bound"), FUNCTIONS, ids=NAMES)
def test_vectorised_loops_compute_the_same(op: Op, reference: Reference, bound: float) -> None:
    x = np.concatenate([np.geomspace(1e-30, 1e30, 512), -np.geomspace(1e-30, 1e30, 512)])
    x = x.astype(np.float32)
    result = tvm.runtime.tensor(np.zeros_like(x))
    library = compile_for({"kind": "llvm"}, vectorised_loop(op.name, x.size))
    library["main"](tvm.runtime.tensor(x), result)
    np.testing.assert_allclose(result.numpy(), run_op(op, [x])[0], 6e-7)


def test_a_name_is_computed_once_in_a_vectorised_loop() -> None:
    """Nested functions would otherwise grow exponentially, and truth values have no vectors."""
    with IRBuilder() as builder, tb.prim_func(s_tir=True):
        x = tb.arg("x", tb.buffer((LANES,), "float32"))
        with tb.vectorized(0, LANES) as lane:
            value = x[lane]
            for _ in range(12):
                named = tirx.Var("named", value.ty)
                test = named > named * named
                large = tirx.Var("large", test.ty)
                both = tirx.Select(large, named * named, tirx.Select(large, named, named + named))
                value = tirx.Let(named, value, tirx.Let(large, test, both))
            tb.buffer_store(x, value, [lane])
    function = builder.get()
    code = assembly(function.with_body(bind_lets(function.body)), "x86-64-v3")
    assert code.count("vmulps") <= 24
