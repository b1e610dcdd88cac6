# SPDX-License-Identifier: MIT
"""CUDA C of scheduled kernels, and how each is launched; no GPU or CUDA toolkit is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
from tvm import tirx
from tvm.tirx.build import split_host_device_mods

from ..errors import UnsupportedError
from ..runtime.cuda_launch import KernelLaunches, Launch


def cuda_source(kernels: Mapping[str, Any], arch: str) -> tuple[str, tuple[KernelLaunches, ...]]:
    """Return CUDA C with every kernel, and the launches that each kernel consists of.

    Args:
        kernels: TIR functions of raw pointers by name, their loops bound to threads.
        arch: compute capability such as ``sm_80``.
    """
    functions = {
        tvm.ir.GlobalVar(name): function.with_attr("global_symbol", name)
        for name, function in kernels.items()
    }
    device, target = _device_module(tvm.IRModule(functions), arch)
    if device is None:
        return "", tuple(KernelLaunches(name, ()) for name in kernels)
    source = tvm.get_global_func("target.build.cuda")(device, target).inspect_source()
    launches: dict[str, list[tuple[int, Launch]]] = {name: [] for name in kernels}
    for variable, function in device.functions.items():
        owner, number = _owner(variable.name_hint, kernels)
        positions = _positions(kernels[owner])
        launches[owner].append((number, _launch(variable.name_hint, function, positions)))
    ordered = {
        name: tuple(x for _, x in sorted(found, key=_first)) for name, found in launches.items()
    }
    return str(source), tuple(KernelLaunches(name, found) for name, found in ordered.items())


def _first(pair: tuple[int, Launch]) -> int:
    return pair[0]


def _device_module(module: Any, arch: str) -> tuple[Any, Any]:
    target = tvm.target.Target(
        {
            "kind": "cuda",
            "arch": arch,
            "max_threads_per_block": 1024,
            "max_shared_memory_per_block": 49152,
            "thread_warp_size": 32,
        },
        host={"kind": "llvm"},
    )
    module = tirx.transform.BindTarget(target)(module)
    lower, _, finish = tirx.get_tir_pipeline("s_tir")
    _, devices = split_host_device_mods(lower(module))
    for device_target, device in devices.items():
        return finish()(device), device_target
    return None, target


def _owner(name: str, kernels: Mapping[str, Any]) -> tuple[str, int]:
    """Return which kernel a device function ``NAME_kernel[_N]`` belongs to, and its place there."""
    stem, _, number = name.rpartition("_kernel")
    if stem not in kernels:
        raise UnsupportedError(f"device function {name!r} belongs to no kernel")
    return stem, int(number.removeprefix("_") or 0)


def _launch(name: str, function: Any, positions: Mapping[str, int]) -> Launch:
    extents = {"blockIdx.x": 1, "threadIdx.x": 1}
    extents.update(_thread_extents(function.body))
    strange = [p.name for p in function.params if p.name not in positions]
    if strange:
        raise UnsupportedError(f"device parameter {strange[0]!r} is not an argument of its kernel")
    arguments = tuple(positions[p.name] for p in function.params)
    return Launch(name, extents["blockIdx.x"], extents["threadIdx.x"], arguments)


def _thread_extents(statement: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    waiting = [statement]
    while waiting:
        current = waiting.pop()
        if isinstance(current, tirx.SeqStmt):
            waiting += list(current.seq)
        elif isinstance(current, tirx.AttrStmt):
            if current.attr_key == "thread_extent":
                found[str(current.node.thread_tag)] = int(current.value)
            waiting.append(current.body)
    return found


def _positions(kernel: Any) -> dict[str, int]:
    """Return the number of each kernel argument by the name of its device parameter."""
    declared = [x.buffer for x in kernel.body.seq if isinstance(x, tirx.DeclBuffer)]
    return {f"{buffer.name}_ptr": k for k, buffer in enumerate(declared)}
