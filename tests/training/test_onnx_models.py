# SPDX-License-Identifier: MIT
"""ONNX models as they are trained: which arrays are learned, and that they come back as ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corpus import feeds, path_of, rows
from onnx_text import parse
from ranvier.compiler import Session
from ranvier.ir import Array, interpret, ops
from ranvier.passes import CANONICAL, run_passes, use_dropout
from ranvier.training.model import OnnxModel

NORMS = """g (float[N, 2, 4] x) => (float[N, 2, 4] y)
  <float[2] ones = {1, 1}, float[2] zeros = {0, 0}> {
  a = BatchNormalization (x, ones, zeros, zeros, ones)
  b = Relu (a)
  y = BatchNormalization (b, ones, zeros, zeros, ones)
}"""


def model_of(text: str) -> OnnxModel:
    return OnnxModel(parse(text).SerializeToString())


def test_equal_arrays_that_were_stored_once_are_parameters_of_their_own() -> None:
    model = model_of(NORMS)
    assert sorted(model.trainable) == ["ones", "ones.3", "zeros", "zeros.3"]
    assert sorted(model.parameters.keys() - model.trainable) == [
        "ones.2", "ones.4", "zeros.2", "zeros.4",
    ]  # fmt: skip
    weights = {"ones.3": np.array([2, 3], np.float32), "zeros.2": np.array([4, 5], np.float32)}
    again = OnnxModel(model.export(weights))
    x = np.random.default_rng(0).standard_normal((3, 2, 4)).astype(np.float32)
    (y,) = interpret(again.graph({"x": x.shape}, (), {}), [x])
    first = np.maximum((x - [[[4], [5]]]) / np.sqrt(1 + 1e-5), 0)
    np.testing.assert_allclose(y, first * [[[2], [3]]] / np.sqrt(1 + 1e-5), rtol=1e-5)


def test_identities_of_arrays_are_arrays() -> None:
    model = model_of("""g (float[N, 2] x) => (float[N, 2] y)
      <float[2, 2] w = {1, 2, 3, 4}, float[2] b = {0.5, 2}> {
      c = Identity (b)
      u = MatMul (x, w)
      v = Add (u, b)
      y = Mul (v, c)
    }""")
    assert sorted(model.trainable) == ["b", "c", "w"]


def test_tied_embeddings_stay_tied() -> None:
    model = model_of("""g (int64[N] x) => (float[N, 3] y)
      <float[3, 2] e = {1, 2, 3, 4, 5, 6}> {
      h = Gather (e, x)
      t = Transpose (e)
      y = MatMul (h, t)
    }""")
    assert model.trainable == {"e"}


def test_a_shared_layer_keeps_its_constant_bias() -> None:
    model = model_of("""g (float[N, 1, 4] x) => (float[N, 1, 4] y)
      <float[1, 1, 1] w = {2}, float[1, 1, 3] v = {1, 2, 3}, float[1] b = {0}> {
      a = Conv (x, v, b)
      c = Conv <pads = [1, 1]> (a, v, b)
      y = Conv <pads = [1, 1]> (c, v, b)
    }""")
    assert model.trainable == {"v", "b"}


def test_norms_without_scale_and_shift_of_their_own_get_none() -> None:
    text = """g (float[N, 2, 4] x) => (float[N, 2, 4] y)
      <float[2] NAME1 = {1, 1}, float[2] NAME2 = {0, 0}> {
      y = InstanceNormalization (x, NAME1, NAME2)
    }"""
    assert model_of(text.replace("NAME", "val_")).trainable == frozenset()
    assert model_of(text.replace("NAME", "norm")).trainable == {"norm1", "norm2"}


LOOP = """g (float[N, 3] x) => (float[N, 3] y)
  <float[3, 3] w = {0.5, 0.1, 0, 0, 0.5, 0.1, 0.1, 0, 0.5}, int64 trips = {40}, bool on = {1}> {
  y = Loop (trips, on, x) <body = step (int64 i, bool go, float[N, 3] h) =>
    (bool go2, float[N, 3] h2) {
      go2 = Identity (go)
      p = MatMul (h, w)
      h2 = Tanh (p)
    }>
}"""


def test_weights_of_a_loop_are_learned() -> None:
    model = model_of(LOOP)
    assert model.trainable == {"w"}
    graph = run_passes(model.graph({"x": (2, 3)}, ("w",), {}), CANONICAL)
    assert any(isinstance(node.op, ops.Scan) for node in graph.nodes)
    x, w = np.ones((2, 3), np.float32), model.parameters["w"]
    expected = x
    for _ in range(40):
        expected = np.tanh(expected @ w)
    np.testing.assert_allclose(interpret(graph, [x, w])[0], expected, rtol=1e-5)


def test_a_model_exported_for_training_is_in_inference_mode_until_it_trains() -> None:
    model = model_of("""g (float[N, 2, 4] x) => (float[N, 2, 4] y)
      <float[2] s = {1, 2}, float[2] o = {0, 1}, float[2] m = {0, 0.5}, float[2] v = {1, 2},
       float ratio = {0.5}, bool on = {1}> {
      a, m2, v2 = BatchNormalization <training_mode = 1> (x, s, o, m, v)
      y = Dropout (a, ratio, on)
    }""")
    graph = model.graph({"x": (3, 2, 4)}, (), {})
    assert {n.op.name for n in graph.nodes} >= {"batch_norm", "dropout_site"}
    assert any(isinstance(n.op, ops.Dropout) for n in use_dropout(graph).nodes)
    exported = model.export({})
    assert [n.op_type for n in exported.graph.node] == ["BatchNormalization", "Dropout"]
    assert len(exported.graph.node[1].input) == 2


# The corpus

FLOATS = [r for r in rows() if r["name"] != "resnet18_qdq"]
every_model = pytest.mark.parametrize("row", FLOATS, ids=lambda row: str(row["name"]))
LEARNED = {
    "autoencoder_dynamo18": (29, 12282), "bert_tiny_dynamo18": (39, 143552),
    "bert_tiny_ts14": (39, 143552), "densenet121_ts18": (305, 449652),
    "lstm_text_ts17": (9, 228325), "mixedops_dynamo20": (5, 288), "mixedops_ts18": (5, 288),
    "mobilenetv2_dynamo18": (106, 266674), "mobilenetv2_ts11": (106, 266674),
    "oldcnn_ts12": (14, 14669), "oldcnn_ts9": (14, 14669), "resnet18_dynamo20": (42, 702186),
    "resnet18_ts17": (42, 702186), "unet2d_bn_ts13": (12, 9803),
    "unet2d_dynamo18": (49, 100861), "unet2d_fp16": (26, 12062),
    "unet2d_ts17_dynhw": (49, 100861), "unet3d_dynamo18": (49, 297637),
    "unet3d_ts17": (49, 297637), "vit_monai_dynamo18": (52, 311141),
    "vit_own_ts17": (56, 325162),
}  # fmt: skip
"""Arrays and numbers that torch's ``parameters()`` has, with norms folded as the exporters do."""


@every_model
def test_what_is_learned_is_what_torch_calls_parameters(row: dict[str, Any]) -> None:
    model = OnnxModel(path_of(row))
    sizes = [model.parameters[k].size for k in model.trainable]
    assert (len(sizes), sum(sizes)) == LEARNED[row["name"]]


def changed(model: OnnxModel, seed: int) -> dict[str, Array]:
    """Return other weights of the same order of magnitude."""
    rng = np.random.default_rng(seed)
    return {
        k: np.asarray(a * rng.uniform(0.8, 1.2, a.shape), a.dtype)
        for k, a in model.parameters.items()
    }


@every_model
def test_changed_weights_come_back_in_onnx(row: dict[str, Any]) -> None:
    """Of either pair of the corpus, whose shapes differ: a model of symbolic sizes stays one."""
    runtime = pytest.importorskip("onnxruntime")
    model = OnnxModel(path_of(row))
    weights = changed(model, 3)
    proto = model.export(weights)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    peer = runtime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    inputs, _ = feeds(row, 1)
    expected = peer.run(None, inputs)
    shapes = {k: a.shape for k, a in inputs.items()}
    graph = model.graph(shapes, tuple(weights), {})
    found = interpret(graph, [*(inputs[k] for k in model.inputs), *weights.values()])
    tolerance = 2e-2 if "fp16" in row["name"] else 1e-5
    for y, z in zip(found, expected, strict=True):
        assert np.abs(y - z).max() <= tolerance * np.abs(z).max()


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(r, id=r["name"], marks=() if "mixedops" in r["name"] else pytest.mark.slow)
        for r in FLOATS
    ],
)
def test_an_exported_model_runs_as_in_onnxruntime(row: dict[str, Any]) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = OnnxModel(path_of(row))
    data = model.export(changed(model, 4)).SerializeToString()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    peer = runtime.InferenceSession(data, options, ["CPUExecutionProvider"])
    inputs, _ = feeds(row, 1)
    tolerance = 2e-2 if "fp16" in row["name"] else 1e-5
    for y, z in zip(Session(data).run(None, inputs), peer.run(None, inputs), strict=True):
        assert np.abs(y - z).max() <= tolerance * np.abs(z).max()
