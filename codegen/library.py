# SPDX-License-Identifier: MIT
"""The kernels of a program: each distinct group is built once, whatever number of steps call it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from tvm import te

from ..ir.graph import Graph, Node
from ..ir.ops.fused import Fused
from ..ir.printer import print_graph
from ..ir.types import TensorType
from ..runtime.program import KernelInfo
from .kernel import Kernel, build_kernel, with_pointers
from .targets import Target

_MAX_SOURCES = 32


class KernelLibrary:
    """Builds kernels for a target and names them; equal groups share one kernel."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.functions: dict[str, Any] = {}
        self.infos: dict[str, KernelInfo] = {}
        self._known: dict[str, tuple[str, Kernel]] = {}

    def group(self, node: Node) -> tuple[str, Kernel]:
        """Return name and kernel of a fused node."""
        assert isinstance(node.op, Fused)
        text = print_graph(node.op.body, inline=1 << 30)
        if text not in self._known:
            kernel = build_kernel(node.op.body, self.target)
            name = self._add(node.op.label or "group", kernel)
            self._known[text] = (name, kernel)
            self.infos[name] = _describe(name, node, text)
        self._note_source(self._known[text][0], node)
        return self._known[text]

    def copy(self, nbytes: int) -> tuple[str, Kernel]:
        """Return name and kernel that copies ``nbytes`` bytes."""
        key = f"copy {nbytes}"
        if key not in self._known:
            source = te.placeholder((nbytes,), "uint8", "source")
            result = te.compute((nbytes,), lambda i: source(i), "result")
            function = self.target.schedule(te.create_prim_func([source, result]))
            kernel = Kernel(with_pointers(function), ())
            name = self._add("copy", kernel)
            self._known[key] = (name, kernel)
            self.infos[name] = KernelInfo(name, f"copy {nbytes} bytes", key, 0, 2 * nbytes)
        return self._known[key]

    def _add(self, label: str, kernel: Kernel) -> str:
        stem = re.sub(r"\W+", "_", label, flags=re.ASCII)[:40].strip("_")
        name = f"k{len(self.functions)}_{stem}"
        self.functions[name] = kernel.function
        return name

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
