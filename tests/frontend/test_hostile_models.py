# SPDX-License-Identifier: MIT
"""Models that are damaged, break the standard or mean harm give typed errors that say where."""

from __future__ import annotations

import os
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_text import imported, parse
from ranvier.errors import InputError, ModelError, RanvierError, UnsupportedError
from ranvier.frontend import load, specialise
from ranvier.ir import TensorType

RELU = "net (float[2] x) => (float[2] y) { y = Relu(x) }"
LINEAR = "net (float[2] x) => (float[2] y) <float[2] w = {1,2}> { y = Add(x, w) }"


def refused(kind: type[RanvierError], message: str, model: Any) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        load(model.SerializeToString() if isinstance(model, ModelProto) else model)


# Files


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "picture.onnx"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" * 10)
    refused(ModelError, "picture.onnx: not an ONNX model or truncated (80 bytes)", path)
    path.write_bytes(b"")
    refused(ModelError, "picture.onnx: the model has no graph", path)
    refused(ModelError, "none.onnx: cannot be read", tmp_path / "none.onnx")
    refused(ModelError, "not a regular file", tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_named_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    refused(ModelError, "not a regular file", tmp_path / "pipe.onnx")


def test_a_file_of_more_than_two_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # sparse: takes no room on the disk
    refused(ModelError, "a model file has at most 2147483647", path)


@pytest.mark.parametrize("version", [0, 2, 15, -1])
def test_file_format_versions(version: int) -> None:
    model = parse(RELU)
    model.ir_version = version
    refused(UnsupportedError, f"IR version {version} is not supported; 3 to 14 are", model)


# Operators


@pytest.mark.parametrize(
    ("graph", "kind", "message"),
    [
        ("y = Relo(x)", UnsupportedError, "operator Relo is not in operator set ai.onnx version"),
        ("y = Gelu(x)", UnsupportedError, "ai.onnx version 13; it exists since version 20"),
        ("y = ai.acme.Relu(x)", ModelError, "operator set ai.acme is used but not imported"),
        ("y = Relu(x, x)", ModelError, "2 operands, expected 1"),
        ("y = Concat<axis=0>()", ModelError, "0 operands, expected at least 1"),
        ("y, z = Relu(x)", ModelError, "2 results, expected 1"),
        ("y = Concat(x, x)", ModelError, "attribute 'axis' is missing"),
        ("y = Concat<axis=0.5>(x, x)", ModelError, "attribute 'axis' must be INT, found FLOAT"),
        ("y = Relu<slope=1>(x)", ModelError, "unknown attribute 'slope'; allowed: none"),
        ("y = Add(x, z)", ModelError, "value 'z' is not defined"),
        ("y = Relu(x) y = Neg(x)", ModelError, "value 'y' is defined twice"),
        ("x = Relu(w) y = Neg(x)", ModelError, "value 'x' is defined twice"),
        ("y = Neg(z) z = Neg(y)", ModelError, "depend on each other in a cycle: Neg_0, Neg_1"),
        ("z = Relu(x)", ModelError, "value 'y' is not defined"),
        ("y = Constant()", ModelError, "a constant needs exactly one value attribute"),
        ("y = Constant<value_int=1, value_float=1.0>()", ModelError, "exactly one value attribute"),
        ('y = Cast<to="float">(x)', ModelError, "attribute 'to' must be INT, found STRING"),
    ],
)  # fmt: skip
def test_broken_nodes(graph: str, kind: type[RanvierError], message: str) -> None:
    refused(
        kind,
        message,
        parse(f"net (float[2] x, float[2] w) => (float[2] y) {{ {graph} }}", opset=13),
    )


def test_messages_name_file_and_node(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    graph = "net (float[2] x) => (float[2] y) { [n1] y = Relu(x, x) }"
    path.write_bytes(parse(graph).SerializeToString())
    refused(ModelError, "m.onnx: node 'n1' (Relu): 2 operands, expected 1", path)


@pytest.mark.parametrize("version", [0, -1, 2**40])
def test_operator_set_versions(version: int) -> None:
    model = parse(RELU)
    model.opset_import[0].version = version
    if version > 0:
        refused(UnsupportedError, "is newer than 28, the newest supported", model)
    else:
        refused(ModelError, "has no version", model)


def test_operators_of_unknown_domains() -> None:
    model = parse(RELU)
    model.opset_import.append(helper.make_opsetid("com.acme", 1))
    load(model)  # imported, but not used
    model.graph.node[0].domain = "com.acme"
    refused(UnsupportedError, "operator domain 'com.acme' is unknown", model)


def test_names_that_are_no_text() -> None:
    data = parse(RELU).SerializeToString().replace(b"Relu", b"\xff\xfe\xfd\xfc")
    refused(ModelError, "is not UTF-8", data)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("f (v) => (w) { w = local.f(v) }", "functions call each other in a cycle: f -> f"),
        ("f (v) => (w) { w = Relu(u) }", "value 'u' is not defined"),
        ("f (v) => (w, z) { w = Relu(v) z = Relu(v) }", ""),
        ("f () => (w) { w = Constant<value_int=1>() }", "1 operands and 1 results, the function 0"),
    ],
)
def test_broken_functions(body: str, message: str) -> None:
    graph = "net (float[2] x) => (float[2] y) { y = local.f(x) }\n"
    model = parse(f'{graph} <domain: "local", opset_import: ["" : 20, "local" : 1]> {body}')
    if message:
        refused(ModelError, message, model)
    else:
        load(model)


def test_functions_that_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty functions that call the next one twice would be a million nodes."""
    monkeypatch.setattr("ranvier.frontend.build.MAX_INLINED", 2000)
    functions = "".join(
        f'<domain: "local", opset_import: ["" : 20, "local" : 1]>'
        f" f{k} (v) => (w) {{ t = local.f{k + 1}(v) w = local.f{k + 1}(t) }}\n"
        for k in range(20)
    )
    last = '<domain: "local", opset_import: ["" : 20]> f20 (v) => (w) { w = Relu(v) }'
    model = parse(f"net (float[2] x) => (float[2] y) {{ y = local.f0(x) }}\n{functions}{last}")
    refused(UnsupportedError, "from inlining functions", model)


def test_deeply_nested_regions() -> None:
    inner = parse("net () => (float[1] y) { y = Constant<value_floats=[1.0]>() }").graph
    for _ in range(28):
        outer = onnx.GraphProto(name="g", output=inner.output)
        condition = helper.make_node("Constant", [], ["c"], value_int=1)
        branches = {"then_branch": inner, "else_branch": onnx.GraphProto()}
        outer.node.extend([condition, helper.make_node("If", ["c"], ["y"], **branches)])
        inner = outer
    model = parse(RELU)
    model.graph.CopyFrom(inner)
    refused(ModelError, "regions are nested more than 24 deep", model)


# Tensors


def edit_dims(tensor: TensorProto) -> None:
    tensor.dims[0] = 2**62


def edit_negative(tensor: TensorProto) -> None:
    tensor.dims[0] = -2


def edit_type(tensor: TensorProto) -> None:
    tensor.data_type = 99


def edit_raw(tensor: TensorProto) -> None:
    tensor.raw_data = b"\0" * 7


def edit_many_dims(tensor: TensorProto) -> None:
    tensor.dims.extend([1] * 100)


def edit_range(tensor: TensorProto) -> None:
    tensor.CopyFrom(TensorProto(name="w", data_type=TensorProto.INT8, dims=[1], int32_data=[300]))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edit_dims, "initialiser 'w': a tensor of float32[4611686018427387904] needs"),
        (edit_negative, "a tensor has the negative dimension -2"),
        (edit_type, "element type 99 is undefined"),
        (edit_raw, "a tensor of float32[2] needs 8 bytes, has 7"),
        (edit_many_dims, "a tensor has 101 dimensions"),
        (edit_range, "a tensor of int8 holds numbers outside the range of its type"),
    ],
)
def test_broken_tensors(edit: Callable[[TensorProto], None], message: str) -> None:
    model = parse(LINEAR)
    edit(model.graph.initializer[0])
    tracemalloc.start()
    refused(ModelError, message, model)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_a_sparse_tensor_that_is_too_large() -> None:
    model = parse(RELU)
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [5.0])
    indices = numpy_helper.from_array(np.array([3], np.int64))
    sparse = helper.make_sparse_tensor(values, indices, [2**20, 2**20])
    model.graph.sparse_initializer.append(sparse)
    refused(UnsupportedError, "a sparse tensor of 1099511627776 elements", model)
    sparse.dims[:] = [2]
    model.graph.sparse_initializer[0].CopyFrom(sparse)
    refused(ModelError, "an index lies outside the shape [2]", model)


# External data


def with_external(location: str, offset: int = 0, length: int | None = None) -> ModelProto:
    model = parse(LINEAR)
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": str(offset)}
    if length is not None:
        entries["length"] = str(length)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "w.bin").write_bytes(np.array([1, 2, 3], np.float32).tobytes())
    (tmp_path / "secret.bin").write_bytes(b"\0" * 100)
    (inside / "link.bin").symlink_to(tmp_path / "secret.bin")
    (inside / "ok.bin").symlink_to(inside / "w.bin")
    return inside


@pytest.mark.parametrize(
    ("location", "offset", "length", "message"),
    [
        ("../secret.bin", 0, 8, "only a relative path inside the model's folder"),
        ("a/../../secret.bin", 0, 8, "only a relative path inside the model's folder"),
        ("/etc/passwd", 0, 8, "only a relative path inside the model's folder"),
        ("C:\\secret.bin", 0, 8, "only a relative path inside the model's folder"),
        ("..\\secret.bin", 0, 8, "only a relative path inside the model's folder"),
        ("", 0, 8, "only a relative path inside the model's folder"),
        ("w.bin\0", 0, 8, "only a relative path inside the model's folder"),
        ("link.bin", 0, 8, "a link leads out of the model's folder"),
        ("none.bin", 0, 8, "No such file"),
        (".", 0, 8, "not a regular file"),
        ("w.bin", 8, 8, "the tensor needs bytes 8 to 16, the file has 12"),
        ("w.bin", -4, 8, "offset -4 and length 8 do not hold the 8 bytes"),
        ("w.bin", 0, 12, "offset 0 and length 12 do not hold the 8 bytes"),
        ("w.bin", 2**62, None, "the file has 12"),
    ],
)
def test_external_data_elsewhere(
    folder: Path, location: str, offset: int, length: int | None, message: str
) -> None:
    path = folder / "m.onnx"
    path.write_bytes(with_external(location, offset, length).SerializeToString())
    refused(ModelError, message, path)


def test_external_data_in_place(folder: Path) -> None:
    for location in ("w.bin", "ok.bin", "./w.bin"):
        model = load(with_external(location, 4, 8), folder)
        assert model.graph.parameters["w"].tolist() == [2, 3]
    refused(ModelError, "the model came as bytes", with_external("w.bin"))


def test_external_data_that_overlap(folder: Path) -> None:
    """Few bytes on the disk must not become many in memory."""
    model = with_external("w.bin")
    for k in range(4):
        copy = model.graph.initializer.add()
        copy.CopyFrom(model.graph.initializer[0])
        copy.name = f"w{k}"
        copy.external_data[1].value = str(k)
    with pytest.raises(ModelError, match="tensors overlap"):
        load(model, folder)


# Specialising


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("y = ConstantOfShape(s)", "elements; at most 2147483647 are supported"),
        ("y = Expand(x, s)", "elements; at most 2147483647 are supported"),
        ("y = Tile(x, s)", "elements; at most 2147483647 are supported"),
    ],
)
def test_shapes_that_explode(nodes: str, message: str) -> None:
    model = imported(f"""
        net (float[1,1] x) => (float[A,B] y) <int64[2] s = {{1048576, 1048576}}> {{ {nodes} }}""")
    tracemalloc.start()
    with pytest.raises(UnsupportedError, match=message):
        specialise(model.graph, [TensorType("float32", (1, 1))])
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_loops_that_explode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each level of nesting that cannot be compiled is tried and then written out."""
    monkeypatch.setattr("ranvier.frontend.walker.MAX_CONVERTED", 2000)
    text = "t = Concat<axis=0>(s, s)"
    for k in range(12):
        text = f"""t = Loop(n, c, s) <body = b{k} (int64 i, bool ci, float[A] s)
            => (bool co, float[B] t) {{ co = Identity(ci) {text} }}>"""
    model = imported(f"""
        net (float[2] s) => (float[K] t) <int64 n = {{4}}, bool c = {{1}}> {{ {text} }}""")
    with pytest.raises(RanvierError, match=r"unrolls to more than|elements"):
        specialise(model.graph, [TensorType("float32", (2,))])


def test_a_loop_without_end() -> None:
    model = imported("""
        net (float[2] x) => (float[2] y) <bool c = {1}> {
          y = Loop(, c, x) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] t)
            { co = Identity(ci) t = Relu(s) }> }""")
    with pytest.raises(ModelError, match="the loop never ends"):
        specialise(model.graph, [TensorType("float32", (2,))])


def test_a_regular_expression_that_explodes() -> None:
    model = parse("net (string[1] x) => (bool[1] y) { y = RegexFullMatch(x) }")
    pattern = helper.make_attribute("pattern", "(a{1000}){1000}")
    model.graph.node[0].attribute.append(pattern)
    with pytest.raises(ModelError, match=r"node 'RegexFullMatch_0' .* is too large"):
        specialise(load(model).graph, [TensorType("string", (1,))])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "the model has 2 inputs, 0 were given"),
        (
            [TensorType("int32", (2, 3)), TensorType("float32", (2,))],
            "input 'x': expected float32[N, 3], found int32[2, 3]",
        ),
        (
            [TensorType("float32", (2, 3, 1)), TensorType("float32", (2,))],
            "input 'x': expected float32[N, 3], found float32[2, 3, 1]",
        ),
        (
            [TensorType("float32", (2, 4)), TensorType("float32", (2,))],
            "input 'x': expected float32[N, 3], found float32[2, 4]",
        ),
        (
            [TensorType("float32", (2, 3)), TensorType("float32", (5,))],
            "input 'z': expected float32[N], found float32[5]; 'N' is 2 in another input",
        ),
        (
            [TensorType("float32", (2, 3)), (TensorType("float32", (2,)), None)],
            "input 'z': expected float32[N], found a sequence of (float32[2], nothing)",
        ),
    ],
)
def test_inputs_that_do_not_fit(given: list[Any], message: str) -> None:
    model = imported("net (float[N,3] x, float[N] z) => (float[N,3] y) { y = Relu(x) }")
    with pytest.raises(InputError, match=re.escape(message)):
        specialise(model.graph, given)


def test_operators_that_fail_name_the_node() -> None:
    model = imported("net (float[2] x, float[3] z) => (float[2] y) { [sum] y = Add(x, z) }")
    where = re.escape("m.onnx: node 'sum' (Add-20): add: shapes [2] and [3] do not broadcast")
    types = [TensorType("float32", (2,)), TensorType("float32", (3,))]
    with pytest.raises(ModelError, match=where):
        specialise(model.graph, types, file="m.onnx")


def test_a_function_is_called_with_an_attribute_of_another_type() -> None:
    model = parse("""
        net (float[2] x) => (float[2] y) { y = local.f<alpha = "much">(x) }
        <domain: "local", opset_import: ["" : 20]>
        f <alpha> (v) => (w) { w = Elu<alpha: float = @alpha>(v) }
        """)
    refused(ModelError, "attribute 'alpha' must be FLOAT, the call states 'much'", model)
