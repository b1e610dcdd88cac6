# SPDX-License-Identifier: MIT
"""Host steps: graphs of ops that have no kernels, evaluated by the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArtifactError, ExecutionError, ParseError
from .dtypes import Array, name_of_dtype
from .program import BufferOperand, BufferRef, HostOperand, HostStep, TensorSpec

View = Callable[[BufferRef, TensorSpec], Array]


class HostRunner:
    """Runs one host step on buffers and slots.

    Attributes:
        ops: names of the ops it evaluates.
    """

    def __init__(self, step: HostStep) -> None:
        # Imported here: an artifact without host steps runs with NumPy and tvm_ffi alone.
        from ..ir import parse_graph

        self._step = step
        try:
            self._graph = parse_graph(step.text)
        except ParseError as error:
            raise ArtifactError(f"the graph of a host step cannot be read: {error}") from error
        if (len(self._graph.inputs), len(self._graph.outputs)) != (
            len(step.inputs),
            len(step.outputs),
        ):
            raise ArtifactError("the graph of a host step does not fit its operands")
        self.ops = tuple(node.op.name for node in self._graph.nodes)
        self._source = next((n.source for n in self._graph.nodes if n.source), "")

    def run(self, view: View, slots: list[Any]) -> None:
        """Evaluate the step.

        Raises:
            ExecutionError: an op refused its operands, or gave what the program does not expect.
        """
        from ..ir import interpret

        # Copies: a result may keep an operand (a sequence does), and buffers are reused.
        arguments = [
            view(operand.ref, operand.spec).copy()
            if isinstance(operand, BufferOperand)
            else slots[operand.slot]
            for operand in self._step.inputs
        ]
        try:
            results = interpret(self._graph, arguments)
        except Exception as error:
            name = ", ".join(self.ops)
            raise ExecutionError(f"host op {name}: {str(error) or type(error).__name__}") from error
        for operand, result in zip(self._step.outputs, results, strict=True):
            self._store(operand, result, view, slots)

    def _store(self, operand: HostOperand, result: Any, view: View, slots: list[Any]) -> None:
        if not isinstance(operand, BufferOperand):
            slots[operand.slot] = result
            return
        array, spec = np.asarray(result), operand.spec
        if (name_of_dtype(array.dtype), array.shape) != (spec.dtype, spec.dims):
            raise ExecutionError(
                f"host op {', '.join(self.ops)} gave {array.dtype}{list(array.shape)}, "
                f"the program expects {spec}"
            )
        view(operand.ref, spec)[...] = array
