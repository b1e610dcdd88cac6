# SPDX-License-Identifier: MIT
"""The kernels of a program: each distinct group is built once, whatever number of steps call it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvm import te

from ..ir.graph import Graph, Node
from ..ir.ops.fused import Fused
from ..ir.printer import print_graph
from ..ir.types import TensorType, numpy_dtype
from ..runtime.program import KernelInfo
from .cache import kernel_key
from .kernel import Kernel, build_kernel, with_pointers
from .packing import Packing
from .split import is_split
from .targets import Target
from .templates import Plan
from .templates.halo import clear_halo
from .templates.pack import pack, packed_size
from .views import View

_MAX_SOURCES = 32
_SYMBOL_DIGITS = 32
"""Hexadecimal digits of a kernel's symbol: 128 bits of its key, which no two share."""


@dataclass(frozen=True)
class Planned:
    """A kernel that a template wrote: of which group, by which plan, for which views."""

    body: Graph
    plan: Plan
    views: tuple[View, ...]


class KernelLibrary:
    """Builds kernels for a target and names them; equal groups share one kernel."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.kernels: dict[str, Kernel] = {}
        self.infos: dict[str, KernelInfo] = {}
        self.planned: dict[str, Planned] = {}
        self._known: dict[str, tuple[str, Kernel]] = {}

    def group(
        self, node: Node, plan: Plan | None = None, views: Sequence[View] = ()
    ) -> tuple[str, Kernel]:
        """Return name and kernel of a fused node.

        Args:
            node: the group.
            plan: how a template computes it; lowered by TE without one.
            views: how operands and results lie in memory.
        """
        assert isinstance(node.op, Fused)
        text = print_graph(node.op.body, inline=1 << 30)
        key = f"{plan}\n{views}\n{text}"
        if key not in self._known:
            body = node.op.body
            name, kernel = self._make(key, lambda: self._group_kernel(body, plan, views))
            self._known[key] = (name, kernel)
            # A template may decline the views; then the group was lowered, and its label says so.
            used = plan if kernel.by_template else None
            if used is not None:
                self.planned[name] = Planned(body, used, tuple(views))
            info = _describe(name, node, text, used)
            self.infos[name] = replace(info, parallel=kernel.parallel)
        self._note_source(self._known[key][0], node)
        return self._known[key]

    def convert(self, dtype: str, source: View, result: View) -> tuple[str, Kernel]:
        """Return name and kernel that copies a tensor between views."""
        key = f"convert {dtype} {source} {result}"
        if key not in self._known:
            name, kernel = self._make(key, lambda: self._convert_kernel(dtype, source, result))
            self._known[key] = (name, kernel)
            nbytes = 2 * math.prod(source.shape) * numpy_dtype(dtype).itemsize
            label = f"convert {'x'.join(map(str, source.shape))}"
            info = KernelInfo(name, label, key, 0, nbytes)
            self.infos[name] = replace(info, parallel=kernel.parallel)
        return self._known[key]

    def clear_halo(self, dtype: str, view: View) -> tuple[str, Kernel]:
        """Return name and kernel that stores zeros around a tensor."""
        key = f"clear {dtype} {view}"
        if key not in self._known:
            name, kernel = self._make(key, lambda: Kernel(clear_halo(dtype, view), ()))
            self._known[key] = (name, kernel)
            around = math.prod(n + sum(h) for n, h in zip(view.shape, view.halo, strict=True))
            nbytes = (around - math.prod(view.shape)) * numpy_dtype(dtype).itemsize
            label = f"clear halo of {'x'.join(map(str, view.shape))}"
            self.infos[name] = KernelInfo(name, label, key, 0, nbytes)
        return self._known[key]

    def pack(self, packing: Packing, view: View) -> tuple[str, Kernel]:
        """Return name and kernel that packs a float32 operand for a template."""
        unit = self.target.unit
        assert unit is not None, "only plans of templates ask for packed operands"
        key = f"pack {packing} {view} {unit.lanes}"
        if key not in self._known:
            name, kernel = self._make(key, lambda: self._pack_kernel(packing, view, unit.lanes))
            self._known[key] = (name, kernel)
            nbytes = 4 * (math.prod(view.shape) + packed_size(packing, view))
            label = f"pack {'x'.join(map(str, view.shape))} as {packing}"
            info = KernelInfo(name, label, key, 0, nbytes)
            self.infos[name] = replace(info, parallel=kernel.parallel)
        return self._known[key]

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

    def _group_kernel(self, body: Graph, plan: Plan | None, views: Sequence[View]) -> Kernel:
        written = None if plan is None else plan.build(views)
        if written is None:
            return build_kernel(body, self.target, views)
        return Kernel(written.function, written.scratch, written.split, by_template=True)

    def _convert_kernel(self, dtype: str, source: View, result: View) -> Kernel:
        operand = te.placeholder(source.shape or (1,), dtype, "source")
        copied = te.compute(operand.shape, lambda *i: operand(*i), "result")
        strides = [None if v.is_row_major else v.strides for v in (source, result)]
        function = self.target.schedule(te.create_prim_func([operand, copied]), strides)
        return Kernel(with_pointers(function, strides), (), is_split(function))

    def _pack_kernel(self, packing: Packing, view: View, lanes: int) -> Kernel:
        written = pack(packing, view, lanes)
        return Kernel(written.function, written.scratch, written.split)

    def _copy_kernel(self, nbytes: int) -> Kernel:
        source = te.placeholder((nbytes,), "uint8", "source")
        result = te.compute((nbytes,), lambda i: source(i), "result")
        function = self.target.schedule(te.create_prim_func([source, result]))
        return Kernel(with_pointers(function), (), is_split(function))

    def _note_source(self, name: str, node: Node) -> None:
        info = self.infos[name]
        if node.source and node.source not in info.sources and len(info.sources) < _MAX_SOURCES:
            self.infos[name] = replace(info, sources=(*info.sources, node.source))


def _describe(name: str, node: Node, text: str, plan: Plan | None) -> KernelInfo:
    assert isinstance(node.op, Fused)
    types = [v.type for v in (*node.inputs, *node.outputs)]
    flops = node.op.flops(*(v.type for v in node.inputs))
    nbytes = sum(t.nbytes for t in types if isinstance(t, TensorType))
    shape = "x".join(map(str, getattr(node.outputs[0].type, "shape", ()))) or "scalar"
    label = f"{node.op.label} {shape}" + (f" by {plan}" if plan is not None else "")
    return KernelInfo(name, label, text, flops, nbytes)


def host_graph(node: Node, constants: dict[str, Any]) -> Graph:
    """Return a graph of one node whose inputs are the node's operands without ``constants``."""
    inputs = dict.fromkeys(v for v in node.inputs if v.name not in constants)
    return Graph("host", tuple(inputs), (node,), node.outputs, constants)
