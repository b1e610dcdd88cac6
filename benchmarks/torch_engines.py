# SPDX-License-Identifier: MIT
"""torch on the module that the ONNX file was exported from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .engines import Feed, Run, Unavailable, require

if TYPE_CHECKING:
    from .cases import Case


class TorchEager:
    """torch, operation by operation."""

    name = "torch"
    packages = ("torch",)
    needs_module = True

    def load(self) -> None:
        """Import the library."""
        require("torch")

    def prepare(self, case: Case, threads: int) -> Run:
        """Return the module's call in inference mode."""
        module, names = _restored(case, threads)
        return _runner(module, names)


class TorchCompile:
    """torch.compile with Inductor, weights frozen as every other engine has them."""

    name = "torch.compile"
    packages = ("torch",)
    needs_module = True

    def load(self) -> None:
        """Import the library; Inductor also needs a C++ compiler."""
        require("torch")
        compilers = [os.environ.get("CXX", ""), "g++", "clang++"]
        if not any(shutil.which(compiler) for compiler in compilers if compiler):
            raise Unavailable("torch.compile needs a C++ compiler; install g++")

    def prepare(self, case: Case, threads: int) -> Run:
        """Return the compiled module's call; the first call compiles."""
        import torch

        module, names = _restored(case, threads)
        return _runner(torch.compile(module, options={"freezing": True}), names)


class TorchDouble:
    """torch in float64, a reference for others; never timed."""

    name = "torch, float64"
    packages = ("torch",)
    needs_module = True

    def load(self) -> None:
        """Import the library."""
        require("torch")

    def prepare(self, case: Case, threads: int) -> Run:
        """Return the call of the module in float64."""
        module, names = _restored(case, threads)
        run = _runner(module.double(), names)

        def run_double(feed: Feed) -> Sequence[Any]:
            return run(
                {k: a.astype(np.float64) if a.dtype.kind == "f" else a for k, a in feed.items()}
            )

        return run_double


def _restored(case: Case, threads: int) -> tuple[Any, Sequence[str]]:
    assert case.module is not None, "see engines.check"
    import torch

    try:
        from .modules import restore
    except ImportError as error:
        raise Unavailable(f"the module needs {error.name}, which is not installed") from error
    torch.set_num_threads(threads)
    return restore(case.module)


def _runner(module: Any, names: Sequence[str]) -> Run:
    import torch

    def run(feed: Feed) -> Sequence[Any]:
        with torch.inference_mode():
            result = module(*(torch.from_numpy(feed[name]) for name in names))
        return [part.numpy() for part in _flat(result)]

    return run


def _flat(result: Any) -> list[Any]:
    if isinstance(result, list | tuple):
        return [leaf for part in result for leaf in _flat(part)]
    return [] if result is None else [result]
