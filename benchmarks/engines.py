# SPDX-License-Identifier: MIT
"""The runtimes that are compared: one class each, all with the same protocol.

Every engine takes NumPy arrays by name and returns NumPy arrays, by the fastest way that its
documentation gives for that, with float32 arithmetic on a given number of threads.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from .cases import Case

Feed = Mapping[str, Any]
Run = Callable[[Feed], Sequence[Any]]


class Unavailable(Exception):
    """An engine cannot take part in a case; the message says why."""


class Engine(Protocol):
    """A runtime that prepares a model once and then runs it."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages whose versions matter."""

    @property
    def needs_module(self) -> bool:
        """Whether it runs torch modules, not ONNX files."""

    def load(self) -> None:
        """Import what the engine needs.

        Raises:
            Unavailable: it is not installed.
        """

    def prepare(self, case: Case, threads: int) -> Run:
        """Return a function from inputs to outputs.

        Raises:
            Unavailable: the engine cannot run this case.
        """


class Ranvier:
    """This project: compiled in the process, kernels kept in the cache."""

    name = "ranvier"
    packages = ("ranvier", "apache-tvm", "apache-tvm-ffi")
    needs_module = False

    def load(self) -> None:
        """Import compiler and runtime, without the second of torch that tvm_ffi adds to it."""
        hide_torch()
        import ranvier.compiler  # noqa: F401

    def prepare(self, case: Case, threads: int) -> Run:
        """Compile, or load if the case is an artifact."""
        import ranvier
        from ranvier.errors import UnsupportedError

        try:
            session = ranvier.Session(case.model, threads=threads)
        except UnsupportedError as error:
            raise Unavailable(str(error)) from error
        return lambda feed: session.run(None, feed)


class OnnxRuntime:
    """ONNX Runtime's CPU provider, all optimisations, its own defaults for the rest."""

    name = "onnxruntime"
    packages = ("onnxruntime",)
    needs_module = False

    def load(self) -> None:
        """Import the library."""
        require("onnxruntime")

    def prepare(self, case: Case, threads: int) -> Run:
        """Return the run of an inference session."""
        return _onnxruntime_run(case, threads, optimised=True)


class UnoptimisedOnnxRuntime:
    """ONNX Runtime node by node, a reference for others; never timed."""

    name = "onnxruntime, unoptimised"
    packages = ("onnxruntime",)
    needs_module = False

    def load(self) -> None:
        """Import the library."""
        require("onnxruntime")

    def prepare(self, case: Case, threads: int) -> Run:
        """Return the run of a session without optimisations."""
        return _onnxruntime_run(case, threads, optimised=False)


def _onnxruntime_run(case: Case, threads: int, optimised: bool) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        str(case.model), options, providers=["CPUExecutionProvider"]
    )
    return lambda feed: list(session.run(None, feed))


class OpenVino:
    """OpenVINO's CPU plugin: float32, one stream, tuned for latency, arrays shared not copied."""

    name = "openvino"
    packages = ("openvino",)
    needs_module = False

    def load(self) -> None:
        """Import the library."""
        require("openvino")

    def prepare(self, case: Case, threads: int) -> Run:
        """Return the run of a compiled model's one request."""
        import openvino

        core = openvino.Core()
        model = core.read_model(str(case.model))
        if case.shapes:
            model.reshape({name: list(shape) for name, shape in case.shapes.items()})
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": threads,
        }
        compiled = core.compile_model(model, "CPU", options)
        request = compiled.create_infer_request()

        def run(feed: Feed) -> Sequence[Any]:
            found = request.infer(feed, share_inputs=True, share_outputs=True)
            return [found[k] for k in range(len(compiled.outputs))]

        return run


OWN = Ranvier.name


def check(engine: Engine, case: Case) -> None:
    """Refuse a case that an engine cannot run, before anything is imported.

    Raises:
        Unavailable: there is no torch module beside the model.
    """
    if engine.needs_module and case.module is None:
        raise Unavailable("no torch module beside the model; export-modules writes such models")


def versions(engine: Engine) -> dict[str, str]:
    """Return the installed versions of an engine's packages."""
    found: dict[str, str] = {}
    for package in engine.packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # on the path, but not installed
            found[package] = str(getattr(sys.modules.get(package), "__version__", "unknown"))
    return found


def hide_torch() -> None:
    """Keep tvm_ffi from importing torch, which costs seconds and hundreds of megabytes.

    It does so only to share tensors with torch, which nothing here needs. It must happen before
    the first import of ``tvm_ffi`` and holds for the process.
    """
    os.environ.setdefault("TVM_FFI_DISABLE_TORCH_C_DLPACK", "1")
    if "torch" not in sys.modules:
        # A module that is None fails to import, as if it were not installed.
        sys.modules["torch"] = None  # type: ignore[assignment]


def restore_torch() -> None:
    """Undo :func:`hide_torch`."""
    if "torch" in sys.modules and sys.modules["torch"] is None:
        del sys.modules["torch"]


def require(package: str) -> None:
    """Import a package.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        importlib.import_module(package)
    except ImportError:
        raise Unavailable(
            f"{package} is not installed; pip install 'ranvier[bench]' brings it"
        ) from None
