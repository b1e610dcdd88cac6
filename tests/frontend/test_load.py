# SPDX-License-Identifier: MIT
"""What loading makes of a model that keeps to the standard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_text import imported, parse
from ranvier.frontend import load
from ranvier.frontend.external import ExternalData
from ranvier.frontend.tensors import ELEMENT_TYPES, array_of
from ranvier.ir import (
    ArrayAttribute,
    OptionalType,
    SequenceType,
    TensorType,
    UnknownType,
    numpy_dtype,
    parse_graph,
    print_graph,
    verify,
)
from ranvier.ir.ops import Onnx

NOWHERE = ExternalData(None)


def op(node: Any) -> Onnx:
    assert isinstance(node.op, Onnx)
    return node.op


def test_nodes_are_taken_as_they_are() -> None:
    model = imported("""
        net (float[N,4] x) => (float[N,4] y) <float[4] w = {1,2,3,4}> {
          [first] a = Clip(x, , w)
          y = Elu<alpha = 0.5>(a)
        }""")
    graph = verify(model.graph)
    assert [str(v) for v in graph.inputs] == ["%x: float32[N, 4]"]
    assert model.output_types == (TensorType("float32", ("N", 4)),)
    clip, elu = graph.nodes
    assert op(clip) == Onnx("Clip", 20, operands=(0, 2))
    assert clip.source == "first"
    assert op(elu).settings == (("alpha", 0.5),)
    assert elu.source == "Elu_1"
    np.testing.assert_array_equal(graph.parameters["w"], np.array([1, 2, 3, 4], np.float32))


def test_an_imported_graph_prints_and_parses_back() -> None:
    graph = imported("""
        net (float[N,4] x, bool c) => (float[K] y) {
          y = If(c) <then_branch = t () => (float[J] a) { a = Neg(x) },
                     else_branch = e () => (float[L] b) { b = Cast<to = 1>(x) }>
        }""").graph
    assert parse_graph(print_graph(graph)) == graph


def test_dimensions_get_names() -> None:
    graph = imported("""
        net (float[batch, unused, 3] x, float[batch] y, seq(int64[N]) z) => (float[A] w) {
          w = Relu(y)
        }""").graph
    assert graph.inputs[0].type == TensorType("float32", ("batch", "unused", 3))
    assert graph.inputs[2].type == SequenceType(TensorType("int64", ("N",)))


def test_odd_dimensions_are_unknown() -> None:
    model = parse("net (float[N, M] x, float[K] o, float[K] q) => (float[K] y) { y = Relu(o) }")
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_param = "past + 1, [0]"
    dims[1].dim_value = -1
    model.graph.input[1].type.CopyFrom(
        helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    )
    model.graph.input[2].type.tensor_type.ClearField("shape")
    x, o, q = load(model).graph.inputs
    assert x.type == TensorType("float32", ("past_1_0", "unknown"))
    assert o.type == OptionalType(TensorType("float32", (2,)))
    assert q.type == UnknownType()


@pytest.mark.parametrize("ir", [3, 4])
def test_initialisers_are_no_inputs(ir: int) -> None:
    model = parse("net (float[2] x) => (float[2] y) <float[2] w = {1,2}> { y = Add(x, w) }", 8)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]))
    model.ir_version = ir
    graph = load(model).graph
    assert [v.name for v in graph.inputs] == ["x"]
    assert list(graph.parameters) == ["w"]


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("value_int = 3", np.int64(3)),
        ("value_ints = [3, 4]", np.array([3, 4], np.int64)),
        ("value_float = 0.5", np.float32(0.5)),
        ("value_floats = [0.5]", np.array([0.5], np.float32)),
        ('value_string = "a"', np.array("a", object)),
        ('value_strings = ["a", "b"]', np.array(["a", "b"], object)),
        ("value = int8[2] {1, -1}", np.array([1, -1], np.int8)),
    ],
)
def test_constants_become_parameters(attribute: str, expected: Any) -> None:
    graph = imported(f"net () => (float[N] y) {{ c = Constant<{attribute}>() y = Relu(c) }}").graph
    found = graph.parameters["c"]
    assert found.dtype == np.asarray(expected).dtype
    assert found.shape == np.shape(expected)
    assert found.tolist() == expected.tolist()


def sparse(indices: list[Any], dims: list[int]) -> Any:
    values = helper.make_tensor("s", TensorProto.FLOAT, [2], [5.0, 7.0])
    return helper.make_sparse_tensor(
        values, numpy_helper.from_array(np.array(indices, np.int64)), dims
    )


@pytest.mark.parametrize("indices", [[1, 5], [[0, 1], [1, 2]]])
def test_sparse_tensors_become_dense(indices: list[Any]) -> None:
    model = parse("net () => (float[2,3] y, float[2,3] z) { y = Relu(s) z = Relu(c) }")
    model.graph.sparse_initializer.append(sparse(indices, [2, 3]))
    constant = helper.make_node("Constant", [], ["c"], sparse_value=sparse(indices, [2, 3]))
    model.graph.node.append(constant)
    parameters = load(model).graph.parameters
    assert parameters["s"].tolist() == [[0, 5, 0], [0, 0, 7]]
    assert parameters["c"].tolist() == [[0, 5, 0], [0, 0, 7]]


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("dtype", sorted(set(ELEMENT_TYPES.values()) - {"string"}))
def test_element_types(dtype: str, raw: bool) -> None:
    numbers = {"bool": [1, 0, 1], "float8_e8m0fnu": [1, 2, 4]}.get(dtype, [1, 3, 0])
    expected = np.array(numbers).astype(np.float32).astype(numpy_dtype(dtype))
    if dtype == "complex64":
        expected = expected + 2j
    code = next(c for c, name in ELEMENT_TYPES.items() if name == dtype)
    tensor = (
        numpy_helper.from_array(expected, "t")
        if raw
        else helper.make_tensor("t", code, [3], expected.tolist())
    )
    assert tensor.data_type == code
    found = array_of(tensor, NOWHERE)
    assert found.dtype == expected.dtype
    assert found.tolist() == expected.tolist()


def test_packed_integers_are_signed() -> None:
    tensor = helper.make_tensor("t", TensorProto.INT4, [3], [-8, 7, -1])
    found = array_of(tensor, NOWHERE)
    assert found.dtype == ml_dtypes.int4
    assert found.astype(int).tolist() == [-8, 7, -1]


def test_nodes_are_put_in_order() -> None:
    graph = imported("net (float[2] x) => (float[2] y) { y = Relu(a) a = Neg(b) b = Abs(x) }").graph
    assert [op(n).type for n in verify(graph).nodes] == ["Abs", "Neg", "Relu"]
    assert [n.source for n in graph.nodes] == ["Abs_2", "Neg_1", "Relu_0"]


def test_functions_are_inlined() -> None:
    model = imported("""
        net (float[2] x) => (float[2] y) {
          [call] a = local.outer<alpha = 0.25>(x)
          b = local.outer(a)
          y = Relu(b)
        }
        <domain: "local", opset_import: ["" : 18, "local" : 1]>
        outer <alpha: float = 0.5> (v) => (w) {
          t = local.inner(v)
          w = Elu<alpha: float = @alpha>(t)
        }
        <domain: "local", opset_import: ["" : 17]>
        inner (v, u) => (w) { w = Clip(v, u) }
        """)
    graph = verify(model.graph)
    assert [(op(n).type, op(n).version) for n in graph.nodes] == [
        ("Clip", 17),
        ("Elu", 18),
        ("Clip", 17),
        ("Elu", 18),
        ("Relu", 20),
    ]
    assert [op(n).settings for n in graph.nodes[1:4:2]] == [
        (("alpha", 0.25),),
        (("alpha", 0.5),),
    ]
    assert op(graph.nodes[0]).operands == (0,)
    assert graph.nodes[1].source == "call/Elu_1"


def test_an_unbound_attribute_of_a_function_is_left_out() -> None:
    model = imported("""
        net (float[2] x) => (float[2] y) { y = local.f(x) }
        <domain: "local", opset_import: ["" : 20]>
        f <alpha> (v) => (w) { w = Elu<alpha: float = @alpha>(v) }
        """)
    assert op(model.graph.nodes[0]).settings == ()


def test_regions_are_closed() -> None:
    graph = imported("""
        net (float[2] x, bool c) => (float[2] y) <float[2] w = {1,2}> {
          z = Neg(x)
          y = If(c) <
            then_branch = t () => (float[2] a) {
              a = If(c) <then_branch = p () => (float[2] q) { q = Add(z, w) },
                         else_branch = r () => (float[2] s) { s = Identity(x) }> },
            else_branch = e () => (float[2] b) { z = Abs(x) b = Neg(z) }>
        }""").graph
    verify(graph)
    node = graph.nodes[1]
    assert [v.name for v in node.inputs] == ["c", "c", "z", "w", "x"]
    then, other = (dict(op(node).settings)[k] for k in ("then_branch", "else_branch"))
    assert [v.name for v in then.inputs] == ["c", "z", "w", "x"]
    assert len(other.inputs) == 4
    # The second branch has a `z` of its own, which hides the outer one.
    assert [v.name for v in other.nodes[1].inputs] == ["z"]
    assert other.nodes[1].inputs[0] == other.nodes[0].outputs[0]


def test_tensor_attributes_are_arrays() -> None:
    model = parse("net (int64[1] n) => (float[N] y) { y = ConstantOfShape(n) }")
    value = helper.make_attribute("value", helper.make_tensor("v", TensorProto.INT8, [1], [3]))
    model.graph.node[0].attribute.append(value)
    settings = dict(op(load(model).graph.nodes[0]).settings)
    assert settings == {"value": ArrayAttribute(np.array([3], np.int8))}


def test_what_the_file_says_of_itself() -> None:
    model = parse("net (float[2] x) => (float[2] y) { y = Relu(x) }")
    model.producer_name, model.producer_version = "exporter", "1.0"
    helper.set_model_props(model, {"study": "liver"})
    loaded = load(model)
    assert (loaded.ir_version, loaded.producer) == (10, "exporter 1.0")
    assert loaded.opsets == {"": 20, "local": 1}
    assert loaded.metadata == {"study": "liver"}


def test_external_data(tmp_path: Path) -> None:
    model = parse("net (float[2] x) => (float[2] y) <float[2] w = {1,2}> { y = Add(x, w) }")
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([1, 2], np.float32), "w"))
    path = tmp_path / "m.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert (tmp_path / "w.bin").exists()
    assert load(path).graph.parameters["w"].tolist() == [1, 2]
    assert load(path.read_bytes(), folder=tmp_path).graph.parameters["w"].tolist() == [1, 2]
