# SPDX-License-Identifier: MIT
"""The kernels of a program: each distinct group is built once, whatever number of steps call it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tvm import te

from ..ir.graph import Graph, Node
from ..ir.ops.fused import Fused
from ..ir.printer import print_graph
from ..ir.types import TensorType
from ..runtime.program import KernelInfo
from .cache import kernel_key
from .kernel import Kernel, build_kernel, with_pointers
from .split import is_split
from .targets import Target

_MAX_SOURCES = 32
_SYMBOL_DIGITS = 32
"""Hexadecimal digits of a kernel's symbol: 128 bits of its key, which no two share."""


class KernelLibrary:
    """Builds kernels for a target and names them; equal groups share one kernel."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.kernels: dict[str, Kernel] = {}
        self.infos: dict[str, KernelInfo] = {}
        self._known: dict[str, tuple[str, Kernel]] = {}

    def group(self, node: Node) -> tuple[str, Kernel]:
        """Return name and kernel of a fused node."""
        assert isinstance(node.op, Fused)
        text = print_graph(node.op.body, inline=1 << 30)
        if text not in self._known:
            body = node.op.body
            name, kernel = self._make(text, lambda: build_kernel(body, self.target))
            self._known[text] = (name, kernel)
            info = _describe(name, node, text)
            self.infos[name] = replace(info, parallel=kernel.parallel)
        self._note_source(self._known[text][0], node)
        return self._known[text]

    def copy(self, nbytes: int) -> tuple[str, Kernel]:
        """Return name and kernel that copies ``nbytes`` bytes."""
        key = f"copy {nbytes}"
        if key not in self._known:
            name, kernel = self._make(key, lambda: self._copy_kernel(nbytes))
            self._known[key] = (name, kernel)
            label = f"copy {nbytes} bytes"
            self.infos[name] = KernelInfo(name, label, key, 0, 2 * nbytes, parallel=kernel.parallel)
        return self._known[key]

    def _make(self, text: str, build: Callable[[], Kernel]) -> tuple[str, Kernel]:
        """Return symbol and kernel for what ``text`` says, by ``build`` if it is not compiled yet.

        The symbol is made of what decides the code, so equal symbols are equal functions.
        """
        key = kernel_key(text, repr(self.target.info()))
        kernel = self.target.compiled(key)
        if kernel is None:
            kernel = replace(build(), key=key)
        name = f"k_{key[:_SYMBOL_DIGITS]}"
        self.kernels[name] = kernel
        return name, kernel

    def _copy_kernel(self, nbytes: int) -> Kernel:
        source = te.placeholder((nbytes,), "uint8", "source")
        result = te.compute((nbytes,), lambda i: source(i), "result")
        function = self.target.schedule(te.create_prim_func([source, result]))
        return Kernel(with_pointers(function), (), is_split(function))

    def _note_source(self, name: str, node: Node) -> None:
        info = self.infos[name]
        if node.source and node.source not in info.sources and len(info.sources) < _MAX_SOURCES:
            self.infos[name] = replace(info, sources=(*info.sources, node.source))


def _describe(name: str, node: Node, text: str) -> KernelInfo:
    assert isinstance(node.op, Fused)
    types = [v.type for v in (*node.inputs, *node.outputs)]
    flops = node.op.flops(*(v.type for v in node.inputs))
    nbytes = sum(t.nbytes for t in types if isinstance(t, TensorType))
    shape = "x".join(map(str, getattr(node.outputs[0].type, "shape", ()))) or "scalar"
    return KernelInfo(name, f"{node.op.label} {shape}", text, flops, nbytes)


def host_graph(node: Node, constants: dict[str, Any]) -> Graph:
    """Return a graph of one node whose inputs are the node's operands without ``constants``."""
    inputs = dict.fromkeys(v for v in node.inputs if v.name not in constants)
    return Graph("host", tuple(inputs), (node,), node.outputs, constants)
