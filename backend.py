# SPDX-License-Identifier: MIT
"""The ``onnx.backend.base.Backend`` interface, by which ONNX's conformance suite runs a backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx import ModelProto
from onnx.backend.base import Backend, BackendRep

from .compiler import Session
from .errors import InputError


class RanvierRep(BackendRep):
    """A prepared model."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return the model's outputs for ``inputs``, in the order of the graph's inputs.

        Raises:
            InputError: more inputs than the model has, or of the wrong type.
        """
        arrays = inputs if isinstance(inputs, list | tuple) else [inputs]
        names = [i.name for i in self.session.get_inputs()]
        if len(arrays) > len(names):
            raise InputError(f"the model has {len(names)} inputs, {len(arrays)} were given")
        return tuple(self.session.run(None, dict(zip(names, arrays, strict=False))))


class RanvierBackend(Backend):
    """Compiles and runs ONNX models on this machine's CPU."""

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> RanvierRep:
        """Return the model ready to run."""
        if not cls.supports_device(device):
            raise InputError(f"device {device!r} is not supported; use 'CPU'")
        return RanvierRep(Session(model))

    @classmethod
    def run_model(
        cls, model: ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """Compile and run once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: Any,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run a single node as a model of its own."""
        import numpy as np
        from onnx import helper

        arrays = [np.asarray(a) for a in inputs]
        names = [name for name in node.input if name]
        declared = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(a.dtype), list(a.shape)
            )
            for name, a in zip(names, arrays, strict=True)
        ]
        results = [helper.make_empty_tensor_value_info(name) for name in node.output]
        graph = helper.make_graph([node], "node", declared, results)
        return cls.run_model(helper.make_model(graph), arrays, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether ``device`` is the CPU."""
        return device.upper().startswith("CPU")


prepare = RanvierBackend.prepare
run_model = RanvierBackend.run_model
run_node = RanvierBackend.run_node
supports_device = RanvierBackend.supports_device
