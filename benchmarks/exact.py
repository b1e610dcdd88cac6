# SPDX-License-Identifier: MIT
"""A reference in float64: ranvier's interpreter, which is NumPy, on a widened model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .cases import Case
from .engines import Feed, Ranvier, Run, Unavailable


class ExactInterpreter:
    """NumPy in float64, node by node: exact and slow; never timed."""

    name = "interpreter, float64"
    packages = ("numpy",)
    needs_module = False

    def load(self) -> None:
        """Import the frontend."""
        Ranvier().load()

    def prepare(self, case: Case, threads: int) -> Run:
        """Return the interpretation of the model with every float32 widened."""
        import onnx

        from ranvier.compiler import Compiler
        from ranvier.ir.interpreter import interpret
        from ranvier.ir.structure import structures_of

        model = onnx.load(str(case.model))
        widen(model.graph)
        compiler = Compiler(model)

        def run(feed: Feed) -> list[Any]:
            arrays = [_wide(np.asarray(feed[v.name])) for v in compiler.model.graph.inputs]
            stage, _ = compiler.stage("", structures_of(arrays), arrays)
            if stage.rest is not None:
                raise Unavailable("shapes depend on data; the interpreter has no float64 for that")
            results = interpret(stage.graph, arrays)
            return list(results)[: len(compiler.model.graph.outputs)]  # checks come after them

        return run


def widen(graph: Any) -> None:
    """Make every float32 of an ONNX graph a float64, in place."""
    from onnx import TensorProto

    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for attribute in _attributes(graph):
        if attribute.name in {"to", "dtype"} and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.DOUBLE
        if attribute.HasField("t"):
            _widen_tensor(attribute.t)
        if attribute.name in {"value_float", "value_floats"}:
            _widen_constant(attribute)
        if attribute.HasField("g"):
            widen(attribute.g)


def _attributes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield from node.attribute


def _widen_tensor(tensor: Any) -> None:
    from onnx import TensorProto, numpy_helper

    if tensor.data_type == TensorProto.FLOAT:
        array = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _widen_constant(attribute: Any) -> None:
    """Write the number or the list of a Constant as a tensor, whose type can be chosen."""
    from onnx import helper, numpy_helper

    numbers = np.array(helper.get_attribute_value(attribute), np.float64)
    attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(numbers)))


def _wide(array: Any) -> Any:
    return array.astype(np.float64) if array.dtype == np.float32 else array
