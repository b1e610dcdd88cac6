# SPDX-License-Identifier: MIT
"""What every op promises, checked on the samples of tests/samples."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeGuard

import numpy as np
import pytest

from agreement import Compiled, assert_agree, type_mismatch
from precision import in_float64
from ranvier.errors import OpError
from ranvier.ir import (
    Composite,
    Emitter,
    Graph,
    Kind,
    Op,
    TensorType,
    Value,
    interpret,
    numpy_dtype,
    parse_graph,
    print_graph,
    type_of,
    verify,
)
from ranvier.ir.types import FLOATS
from samples import Sample, all_samples

SAMPLES = all_samples()
NOT_SAMPLED = {"onnx"}  # an imported op is converted before it has types or values
every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=str)

# Central differences with step h are wrong by about h² (curvature) plus u/h (rounding, where u
# is the unit of the results): the step balances both. Curvature goes with the slope, which the
# relative tolerance covers; rounding goes with the results, so that a small slope that is wrong by
# some percent is seen.
STEPS = {"float64": (1e-5, 1e-5, 1e-9), "float32": (1e-2, 2e-2, 1e-4)}


def one_node(sample: Sample) -> Graph:
    """Return the graph that applies the op to arguments of the sample's types."""
    emit = Emitter()
    arguments = tuple(emit.argument(type_of(a)) for a in sample.inputs)
    return emit.graph("sample", arguments, emit.multi(sample.op, *arguments))


@every_sample
def test_inferred_types_are_evaluated_types(sample: Sample) -> None:
    inferred = sample.op.infer(*map(type_of, sample.inputs))
    with np.errstate(all="ignore"):
        results = sample.op.evaluate(*sample.inputs)
    assert isinstance(results, tuple)
    assert len(results) == len(inferred)
    sizes: dict[str, int] = {}
    for k, (type, value) in enumerate(zip(inferred, results, strict=True)):
        problem = type_mismatch(type, value, sizes)
        assert not problem, f"result {k}: {problem}"


@every_sample
def test_evaluation_leaves_its_operands_alone(sample: Sample) -> None:
    before = [None if a is None or isinstance(a, list) else a.copy() for a in sample.inputs]
    with np.errstate(all="ignore"):
        sample.op.evaluate(*sample.inputs)
    for old, new in zip(before, sample.inputs, strict=True):
        if old is not None:
            # Bytes, because NumPy does not know that the NaN of narrow types equal each other.
            assert old.tobytes() == np.asarray(new).tobytes()


@every_sample
def test_printed_and_parsed_back_is_equal(sample: Sample) -> None:
    graph = verify(one_node(sample))
    text = print_graph(graph)
    again = parse_graph(text)
    assert again == graph
    assert print_graph(again) == text
    assert hash(again.nodes[-1].op) == hash(sample.op)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if isinstance(s.op, Composite)], ids=str)
def test_expansion_computes_the_same(sample: Sample) -> None:
    op = sample.op
    assert isinstance(op, Composite)
    graph = verify(op.expansion(*map(type_of, sample.inputs)))
    assert tuple(v.type for v in graph.outputs) == op.infer(*map(type_of, sample.inputs))
    with np.errstate(all="ignore"):
        expected = op.evaluate(*sample.inputs)
    for actual, wanted in zip(interpret(graph, sample.inputs), expected, strict=True):
        assert_agree(actual, wanted, sample.rtol, sample.atol)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.op.kind is not Kind.HOST], ids=str)
def test_compiled_is_evaluated(sample: Sample, compiled: Compiled) -> None:
    with np.errstate(all="ignore"):
        expected = sample.op.evaluate(*sample.inputs)
    actual = compiled(one_node(sample), list(sample.inputs))
    for k, (a, e) in enumerate(zip(actual, expected, strict=True)):
        assert_agree(a, e, sample.rtol, sample.atol, f"result {k}")


# Gradients


def is_float(type: object) -> TypeGuard[TensorType]:
    """Whether a gradient flows through values of this type."""
    return isinstance(type, TensorType) and type.dtype in FLOATS


def differentiable(sample: Sample) -> bool:
    """Whether operands and results leave something to differentiate."""
    inputs = tuple(map(type_of, sample.inputs))
    return any(map(is_float, inputs)) and any(map(is_float, sample.op.infer(*inputs)))


def widened(sample: Sample) -> Sample:
    """Return the sample with operands in float64, where the op takes them.

    The bodies of control flow are in float64 then, too. Floats of 8 bits and less stay: nearly
    all of their values are at kinks and ties.
    """
    wide = tuple(
        np.asarray(a, np.float64)
        if isinstance(a, np.ndarray | np.generic) and is_float(type_of(a)) and a.dtype.itemsize > 1
        else a
        for a in sample.inputs
    )
    op = in_float64(one_node(sample)).nodes[-1].op if sample.op.regions() else sample.op
    try:
        op.infer(*map(type_of, wide))
    except OpError:
        return sample
    return dataclasses.replace(sample, op=op, inputs=wide)


def vjp_graph(sample: Sample, seeded: tuple[int, ...]) -> tuple[Graph, tuple[int, ...]]:
    """Return the graph of the op's vjp and which inputs its outputs are the cotangents of.

    Its inputs are the op's operands, then one cotangent per result among ``seeded``.
    """
    emit = Emitter()
    arguments = tuple(emit.argument(type_of(a)) for a in sample.inputs)
    results = emit.multi(sample.op, *arguments)
    seeds: list[Value | None] = [None] * len(results)
    for k in seeded:
        seeds[k] = emit.argument(results[k].type, f"seed{k}")
    cotangents = sample.op.vjp(emit, arguments, results, tuple(seeds))
    assert len(cotangents) == len(arguments), "vjp returns one cotangent per operand"
    found = [(k, c) for k, c in enumerate(cotangents) if c is not None]
    for k, c in found:
        assert c.type == arguments[k].type, f"cotangent of operand {k} has type {c.type}"
    inputs = [*arguments, *(s for s in seeds if s is not None)]
    graph = emit.graph("vjp", inputs, [c for _, c in found])
    return verify(graph), tuple(k for k, _ in found)


def directions(array: Any, rng: np.random.Generator) -> list[Any]:
    """Return directions to differentiate along: two dense ones and some single elements."""
    dense = [np.asarray(rng.standard_normal(array.shape)) for _ in range(2)]
    single = []
    for k in rng.permutation(array.size)[:6]:
        direction = np.zeros(array.size)
        direction[k] = 1.0
        single.append(direction.reshape(array.shape))
    return dense + single


def slope(
    sample: Sample, k: int, direction: Any, seeds: dict[int, Any], step: float
) -> tuple[float, float]:
    """Return the central difference of the seeded results along a direction of operand k.

    The second number is what they amount to, whose rounding the difference has.
    """
    totals, amount = [], 1.0
    for sign in (1.0, -1.0):
        inputs = list(sample.inputs)
        moved = np.asarray(inputs[k], np.float64) + sign * step * direction
        inputs[k] = moved.astype(np.asarray(inputs[k]).dtype)
        with np.errstate(all="ignore"):
            results = sample.op.evaluate(*inputs)
        terms = [np.asarray(results[j], np.float64) * s for j, s in seeds.items()]
        totals.append(sum(float(np.sum(t)) for t in terms))
        amount += sum(float(np.sum(np.abs(t))) for t in terms)
    return (totals[0] - totals[1]) / (2 * step), amount


def check_gradient(sample: Sample, seeded: tuple[int, ...]) -> None:
    """Compare the vjp, seeded at some results, with differences along several directions."""
    rng = np.random.default_rng(7)
    types = sample.op.infer(*map(type_of, sample.inputs))
    seeds = {
        k: rng.standard_normal(t.dims).astype(numpy_dtype(t.dtype))
        for k in seeded
        if isinstance(t := types[k], TensorType)
    }
    graph, operands = vjp_graph(sample, seeded)
    values = interpret(graph, [*sample.inputs, *seeds.values()])
    cotangents = dict(zip(operands, values, strict=True))
    floats = [k for k, a in enumerate(sample.inputs) if is_float(type_of(a))]
    assert set(operands) <= set(floats), "a cotangent for an operand that has none"
    names = {t.dtype for t in (*types, *map(type_of, sample.inputs)) if is_float(t)}
    if sample.gradient is None or not names <= STEPS.keys():
        return  # nothing that differences show; types and verification were checked above
    step, relative, absolute = STEPS["float32" if "float32" in names else "float64"]
    for k in floats:
        for direction in directions(sample.inputs[k], rng):
            expected, amount = slope(sample, k, direction, seeds, step)
            actual = float(np.sum(np.asarray(cotangents.get(k, 0.0), np.float64) * direction))
            slack = absolute * amount
            assert actual == pytest.approx(expected, rel=relative, abs=slack), f"operand {k}"


@pytest.mark.parametrize("sample", [s for s in SAMPLES if differentiable(s)], ids=str)
def test_gradient_is_the_finite_difference(sample: Sample) -> None:
    sample = widened(sample)
    types = sample.op.infer(*map(type_of, sample.inputs))
    floats = tuple(k for k, t in enumerate(types) if is_float(t))
    if sample.gradient is False:
        with pytest.raises(OpError, match="no gradient"):
            vjp_graph(sample, floats)
        return
    check_gradient(sample, floats)
    if len(floats) > 1:  # a result that nobody reads has the cotangent None
        for k in floats:
            check_gradient(sample, (k,))


# The registry


def test_every_op_has_a_sample() -> None:
    missing = set(Op.registry) - {s.op.name for s in SAMPLES} - NOT_SAMPLED
    assert not missing, f"add samples of {sorted(missing)} to tests/samples/"


def test_samples_are_told_apart() -> None:
    names = [str(s) for s in SAMPLES]
    twice = sorted({n for n in names if names.count(n) > 1})
    assert not twice, f"give these samples labels: {twice}"


@pytest.mark.parametrize("name", sorted(Op.registry))
def test_op_is_well_formed(name: str) -> None:
    op = Op.registry[name]
    parameters = op.__dataclass_params__  # type: ignore[attr-defined]
    assert parameters.frozen, "attributes never change"
    assert parameters.eq, "ops compare by their attributes"
    assert op.__module__.startswith("ranvier.ir.ops.")
    assert name == name.lower()


@pytest.mark.parametrize("name", sorted(Op.registry))
def test_op_is_documented(name: str) -> None:
    text = Op.registry[name].__dict__.get("__doc__") or ""
    # A dataclass without a docstring gets its signature as one.
    assert text, "the docstring is the specification of the op"
    assert not text.startswith(f"{Op.registry[name].__name__}("), "the docstring is missing"
