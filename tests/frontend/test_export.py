# SPDX-License-Identifier: MIT
"""Exported graphs compute what they did, by the reference implementation of the onnx package."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import re
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from agreement import assert_agree
from ranvier.compiler import Compiler, bound_types
from ranvier.errors import OpError, UnsupportedError
from ranvier.frontend import load
from ranvier.frontend.export import export, save_onnx
from ranvier.frontend.export_imported import export_imported
from ranvier.ir import (
    Emitter,
    Graph,
    TensorType,
    dtype_name,
    interpret,
    numpy_dtype,
    ops,
    type_of,
)
from ranvier.ir.types import FLOATS, INTEGERS
from samples import Sample, all_samples

OPSETS = (13, 20, 28)
SAMPLES = all_samples()

NO_FORM = {
    "conv_weight_gradient": "part of training alone",
    "in_range": "a check of our own, left out as a hidden output",
    "inverse": "ONNX has no inverse and no solver",
    "legacy_uniform": "NumPy's old generator",
    "max_pool_gradient": "ONNX's maximum does not tell positions in all types",
    "multinomial": "draws with random_bits",
    "random_bits": "our own counter-based generator",
    "random_key": "draws from the operating system",
    "random_normal": "draws with random_bits",
    "random_uniform": "draws with random_bits",
    "row_bernoulli": "draws with row_bits",
    "row_bits": "our own counter-based generator, by key of a sample",
    "row_normal": "draws with row_bits",
    "row_uniform": "draws with row_bits",
}
"""Ops that are refused at every opset, and why."""

WITHIN = {
    **dict.fromkeys(("multinomial", "random_normal", "random_uniform"), "random_bits"),
    **dict.fromkeys(("row_bernoulli", "row_normal", "row_uniform"), "row_bits"),
    "quantized_conv": "conv",
}
"""Composites that are expanded, and the op that is refused then."""

SINCE = {
    "bitcast": 26,
    "bitwise_and": 18,
    "bitwise_not": 18,
    "bitwise_or": 18,
    "bitwise_xor": 18,
    "col2im": 18,
    "cumprod": 26,
    "equal_string": 19,
    "regex_full_match": 20,
    "string_concat": 20,
    "string_split": 20,
}
"""Ops that are refused at older opsets."""

TYPE_SINCE = {"float8_": 19, "int4": 21, "float4_": 23, "float8_e8m0": 24, "int2": 25}
"""Element types, and the first opset where Cast knows them."""

REFUSED = [
    ("dequantize", r"blocks", 20, "blocks of scales came with opset 21"),
    ("mat_mul", r"float16-into-float32", 28, "ONNX has no product with a wider result"),
    ("max_pool", r"window-of-padding", 28, "ONNX wants padding below the window's size"),
    ("max_pool_with_indices", r"first-of-equals", 28, "ONNX pools no int32"),
    ("pad", r"wrap", 13, "wrapping came with opset 19"),
    ("quantize", r"blocks|ragged", 20, "blocks of scales came with opset 21"),
    ("quantized_conv", r".*", 28, "ONNX convolves no int32"),
    ("reduce_m..", r"bool", 13, "extremes of bool came with opset 20"),
    ("relu", r"int8", 13, "relu of integers came with opset 14"),
    ("roi_align", r"|max", 13, "half pixels came with opset 16"),
    (
        "scatter_elements|scatter_nd",
        r"(add|mul|max|min).*|int64|float16|nan",
        13,
        "reductions came with opsets 16 and 18",
    ),
    ("shift_left|shift_right", r"int.*", 28, "ONNX shifts unsigned integers only"),
    ("top_k", r"bool", 28, "ONNX has no order of bool"),
    ("window_sum", r"int8-wraps", 28, "ONNX convolves no int8 into int8"),
]
"""Patterns of ops and labels, the newest opset that refuses them, and why."""

UNRELIABLE = [
    ("batch_norm", r".*", 13, "applies the version of opset 7, whose operands differ"),
    ("cast", r"int4-u?int[24]", 28, "cannot unpack int4 that are cast to narrow integers"),
    ("conv_transpose", r"groups", 28, "cannot have groups"),
    ("cumsum|reduce_sum", r"float16|wide-sum", 28, "accumulates in half precision"),
    ("dequantize", r"|int32|rows", 13, "has no version of opset 13"),
    ("gather_elements", r"", 28, "wants indices as large as the data"),
    ("grid_sample", r"cubic-border-edges", 28, "clamps points instead of neighbours"),
    ("instance_norm", r"half", 28, "accumulates in half precision"),
    ("log_softmax", r"half|large", 28, "takes the logarithm of a softmax that is 0"),
    ("softmax_cross_entropy", r"half", 28, "takes the logarithm of a softmax that is 0"),
    ("look_up", r"nan", 28, "does not find NaN"),
    ("lp_norm", r"one", 28, "adds up signed elements"),
    ("max_pool", r"3d", 28, "reads beyond the data in 3-D"),
    ("max_pool_with_indices", r"column-major", 28, "counts row-major"),
    ("max_roi_pool", r".*", 28, "has no such operator"),
    ("roi_align", r"adaptive", 13, "shifts by half a pixel as of opset 16"),
    ("scan", r"never", 28, "cannot scan nothing"),
    ("tfidf_vectorizer", r"idf", 28, "gives counts times weights"),
    (
        "string_normalizer",
        r"|sensitive|all-stopped",
        28,
        "drops empty strings, and minds the case of stop words",
    ),
    ("unique", r"unsorted|columns", 28, "loses items, and gives counts another shape"),
]
"""Patterns of ops and labels, up to which opset the reference errs, and how."""


UNDEFINED = [
    ("cast_string", r"format", 28, "ONNX leaves the spelling of numbers open"),
    ("max_pool|max_pool_with_indices", r"nan", 28, "ONNX says nothing of NaN in pools"),
    ("pow", r"|int.*", 28, "integers that overflow, and 0 to negative powers"),
]
"""Patterns of ops and labels whose values ONNX leaves open; the model is checked, not run."""


@lru_cache
def onnxruntime() -> Any:
    """Return the module, or ``None`` where it is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    module = importlib.import_module("onnxruntime")
    module.set_default_logger_severity(4)
    return module


def graph_of(sample: Sample) -> Graph:
    emit = Emitter()
    arguments = [emit.argument(type_of(a), f"a{k}") for k, a in enumerate(sample.inputs)]
    return emit.graph("sample", arguments, emit.multi(sample.op, *arguments))


def entry(table: Sequence[tuple[str, str, int, str]], sample: Sample, opset: int) -> str:
    """Return the reason that a table gives for a sample; empty if there is none."""
    for name, label, newest, reason in table:
        fits = re.fullmatch(name, sample.op.name) and re.fullmatch(label, sample.label)
        if fits and opset <= newest:
            return reason
    return ""


def newer_type(sample: Sample, opset: int) -> bool:
    """Whether an element type of operands or results is newer than the opset."""
    types = [*map(type_of, sample.inputs), *sample.op.infer(*map(type_of, sample.inputs))]
    names = [t.dtype for t in types if isinstance(t, TensorType)]
    return any(
        opset < since and dtype.lstrip("u").startswith(prefix)
        for dtype in names
        for prefix, since in TYPE_SINCE.items()
    )


def may_refuse(sample: Sample, opset: int) -> bool:
    name = sample.op.name
    return (
        name in NO_FORM
        or opset < SINCE.get(name, 0)
        or bool(entry(REFUSED, sample, opset))
        or newer_type(sample, opset)
    )


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def run_elsewhere(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any] | None:
    """Run with onnxruntime; ``None`` where it is absent or lacks a type or version."""
    runtime = onnxruntime()
    if runtime is None:
        return None
    if runtime.__version__.startswith("1.23.") and "TfIdfVectorizer" in operators(model):
        # The last version for Python 3.10 takes the weights of n-grams by output position.
        return None
    try:
        session = runtime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return list(session.run(None, feeds))
    except Exception:  # noqa: BLE001 - it has no one base for "not implemented"
        return None


def tolerances(sample: Sample, results: Sequence[Any]) -> tuple[float, float]:
    """Return tolerances; the reference computes in the element type, we in float32."""
    arrays = [a for a in (*sample.inputs, *results) if isinstance(a, np.ndarray)]
    narrow = [a.dtype for a in arrays if dtype_name(a.dtype) in ("float16", "bfloat16")]
    if not narrow:
        return max(sample.rtol, 1e-5), max(sample.atol, 2e-6)
    unit = max(float(ml_dtypes.finfo(d).eps) for d in narrow)  # type: ignore[no-untyped-call]
    return 8 * unit, 4 * unit


def in_range(sample: Sample) -> Sample:
    """Return casts of floats to integers without what ONNX leaves undefined."""
    if not isinstance(sample.op, ops.Cast) or sample.op.dtype not in INTEGERS:
        return sample
    (x,) = sample.inputs
    assert isinstance(x, np.ndarray)
    if dtype_name(x.dtype) not in FLOATS:
        return sample
    limits = ml_dtypes.iinfo(numpy_dtype(sample.op.dtype))  # type: ignore[no-untyped-call]
    wide = x.astype(np.float64)
    fits = np.isfinite(wide) & (np.trunc(wide) >= limits.min) & (np.trunc(wide) < limits.max)
    return dataclasses.replace(sample, inputs=(np.where(fits, wide, 0).astype(x.dtype),))


def plain(value: Any) -> Any:
    """Return a result of another implementation with strings as objects."""
    array = np.asarray(value)
    return array.astype(object) if array.dtype.kind in "US" else array


def refusal_of(graph: Graph, opset: int) -> str | None:
    """Return what an export is refused with."""
    try:
        export(graph, opset)
    except (UnsupportedError, OpError) as error:
        return str(error)
    return None


def check(sample: Sample, opset: int) -> None:
    """Export one sample and run it."""
    sample = in_range(sample)
    graph = graph_of(sample)
    with np.errstate(all="ignore"):
        expected = interpret(graph, sample.inputs)
    if may_refuse(sample, opset):
        refusal = refusal_of(graph, opset)
        if refusal is not None:
            inner = WITHIN.get(sample.op.name, sample.op.name)
            assert inner in refusal or newer_type(sample, opset)
            return
        assert newer_type(sample, opset), "is exported now: take it off the table"
    model = export(graph, opset)
    onnx.checker.check_model(model, full_check=True)
    if entry(UNDEFINED, sample, opset):
        return
    feeds = {v.name: a for v, a in zip(graph.inputs, sample.inputs, strict=True)}
    if entry(UNRELIABLE, sample, opset):
        actual = run_elsewhere(model, feeds)
        if actual is None:
            return
    else:
        actual = list(ReferenceEvaluator(model).run(None, feeds))
    rtol, atol = tolerances(sample, expected)
    for k, (a, e) in enumerate(zip(actual, expected, strict=True)):
        assert_agree(plain(a) if isinstance(e, np.ndarray) else a, e, rtol, atol, f"{k}")


@pytest.mark.parametrize("name", sorted({s.op.name for s in SAMPLES}))
def test_exported_op_computes_the_same(name: str) -> None:
    failures = []
    for sample in SAMPLES:
        for opset in OPSETS:
            if sample.op.name != name:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the reference's own overflows
                try:
                    check(sample, opset)
                except Exception as error:  # noqa: BLE001 - every failure is shown at once
                    text = " ".join(str(error).split())[:300]
                    failures.append(f"{sample} at {opset}: {type(error).__name__}: {text}")
    assert not failures, "\n".join(failures)


# Whole models

ROOT = Path(__file__).parents[2]
CORPUS = Path(os.environ.get("RANVIER_CORPUS", ROOT.parent / "shared")) / "corpus"

MODELS = ("mixedops_ts18", "oldcnn_ts12", "lstm_text_ts17", "bert_tiny_ts14", "unet2d_dynamo18")


def canonical(model: onnx.ModelProto | Path, shapes: dict[str, Any]) -> tuple[Graph, list[int]]:
    """Return the canonical graph and which outputs are flags of checks."""
    compiler = Compiler(model)
    stage, _ = compiler.stage("", bound_types(compiler.model.graph, shapes), None)
    assert stage.rest is None
    return stage.graph, [k for k, _ in stage.checks]


def check_round_trip(graph: Graph, hidden: list[int], inputs: list[Any], opset: int) -> None:
    """Export, load and convert again: both graphs compute the same, and onnxruntime too."""
    expected = [v for k, v in enumerate(interpret(graph, inputs)) if k not in hidden]
    model = export(graph, opset, hidden)
    onnx.checker.check_model(model, full_check=True)
    again, checks = canonical(model, {})
    actual = [v for k, v in enumerate(interpret(again, inputs)) if k not in checks]
    feeds = {v.name: a for v, a in zip(graph.inputs, inputs, strict=True)}
    for found in (actual, run_elsewhere(model, feeds)):
        for a, e in zip(found or expected, expected, strict=True):
            peak = float(np.abs(np.asarray(e, np.float64)).max(initial=0))
            assert_agree(plain(a), e, 1e-4, 1e-5 * max(peak, 1))


@pytest.mark.parametrize("opset", [18, 22])
@pytest.mark.parametrize("name", MODELS)
def test_corpus_model_round_trips(name: str, opset: int) -> None:
    folder = CORPUS / name
    if not folder.is_dir():
        pytest.skip(f"no {name} at {CORPUS}; set RANVIER_CORPUS")
    with np.load(folder / "pair0.npz", allow_pickle=False) as data:
        feeds = {k.removeprefix("in."): data[k] for k in data if k.startswith("in.")}
    graph, hidden = canonical(folder / "model.onnx", {k: a.shape for k, a in feeds.items()})
    names = [v.name for v in load(folder / "model.onnx").graph.inputs]
    check_round_trip(graph, hidden, [feeds[n] for n in names], opset)


IF = """
<ir_version: 10, opset_import: ["" : 20]>
choose (bool c, float[3] x) => (float[3] y) {
  y = If (c) <then_branch = t () => (float[3] a) { a = Add (x, x) },
              else_branch = e () => (float[3] b) { b = Exp (x) }>
}
"""
LOOP = """
<ir_version: 10, opset_import: ["" : 20]>
repeat (int64 n, bool go, float[3] x, float[3] w) => (float[3] y) {
  y = Loop (n, go, x) <body = b (int64 i, bool c, float[3] s) => (bool again, float[3] r)
    { again = Identity (c)  r = Mul (s, w) }>
}
"""
SCAN = """
<ir_version: 10, opset_import: ["" : 20]>
sums (float[2] s, float[4, 2] x, float[2] w) => (float[2] last, float[4, 2] all) {
  last, all = Scan <num_scan_inputs = 1,
    body = b (float[2] a, float[2] d) => (float[2] r, float[2] o)
    { m = Mul (d, w)  r = Add (a, m)  o = Identity (r) }> (s, x)
}
"""
THREE, TWO = np.array([1, -2, 0.5], np.float32), np.array([0.5, 2], np.float32)
CONTROL = {
    "if": (IF, [np.array(True), THREE]),
    "else": (IF, [np.array(False), THREE]),
    "loop": (LOOP, [np.array(3), np.array(True), THREE, THREE]),
    "scan": (SCAN, [TWO, np.arange(8, dtype=np.float32).reshape(4, 2), TWO]),
}


@pytest.mark.parametrize("name", CONTROL)
@pytest.mark.parametrize("opset", [18, 22])
def test_control_flow_round_trips(name: str, opset: int) -> None:
    text, inputs = CONTROL[name]
    graph, hidden = canonical(onnx.parser.parse_model(text), {})
    check_round_trip(graph, hidden, inputs, opset)


# Imported models


@pytest.mark.parametrize("name", CONTROL)
def test_imported_model_is_written_as_it_is(name: str) -> None:
    text, inputs = CONTROL[name]
    first = onnx.parser.parse_model(text)
    model = export_imported(load(first))
    onnx.checker.check_model(model, full_check=True)
    assert [n.op_type for n in model.graph.node] == [n.op_type for n in first.graph.node]
    feeds = {v.name: a for v, a in zip(first.graph.input, inputs, strict=True)}
    expected = ReferenceEvaluator(first).run(None, feeds)
    for a, e in zip(ReferenceEvaluator(model).run(None, feeds), expected, strict=True):
        assert_agree(np.asarray(a), np.asarray(e))


CLIP = """
<ir_version: 10, opset_import: ["" : 20]>
clip (float[N, 3] x, float top) => (float[N, 3] y) { y = Clip (x, , top) }
"""


def test_symbolic_dimensions_and_absent_operands_are_kept() -> None:
    first = load(onnx.parser.parse_model(CLIP))
    model = export_imported(first)
    assert list(model.graph.node[0].input) == ["x", "", "top"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert load(model).graph == first.graph
    assert load(model).output_types == first.output_types


def test_attributes_that_are_types_are_kept() -> None:
    tensor = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, ["N", 2])
    nodes = [
        onnx.helper.make_node("Optional", [], ["o"], type=tensor),
        onnx.helper.make_node("OptionalHasElement", ["o"], ["y"]),
    ]
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.BOOL, [])
    graph = onnx.helper.make_graph(nodes, "types", [], [y])
    opsets = [onnx.helper.make_opsetid("", 20)]
    model = export_imported(
        load(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10))
    )
    assert model.graph.node[0].attribute[0].tp == tensor


def test_imported_model_at_another_opset_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="at opset 20; opset 18 needs a conversion"):
        export_imported(load(onnx.parser.parse_model(CLIP)), 18)


@pytest.mark.parametrize("opset", [12, 29])
def test_opsets_out_of_range_are_refused(opset: int) -> None:
    with pytest.raises(UnsupportedError, match=f"opset {opset} cannot be written"):
        export(graph_of(SAMPLES[0]), opset)


def test_file_appears_whole(tmp_path: Path) -> None:
    model = export(graph_of(SAMPLES[0]))
    save_onnx(model, tmp_path / "m.onnx")
    assert onnx.load(tmp_path / "m.onnx") == model
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
