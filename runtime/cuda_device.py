# SPDX-License-Identifier: MIT
"""The few calls of the CUDA driver that running a program takes, with typed errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ExecutionError, TargetError
from .cuda_compile import INSTALL
from .dtypes import Array


class Device:
    """GPU number ``index`` and its primary context.

    Raises:
        TargetError: no driver, no such GPU, or the wheels are missing.
    """

    def __init__(self, index: int = 0) -> None:
        try:
            from cuda.bindings import driver
        except ImportError:
            raise TargetError(f"running on a GPU needs CUDA's bindings: {INSTALL}") from None
        self._driver = driver
        try:
            (status,) = driver.cuInit(0)
        except RuntimeError as error:
            raise TargetError(f"no CUDA driver on this machine ({error})") from error
        if int(status) != 0:
            raise TargetError(f"the CUDA driver cannot start: {status}")
        self._device = self._call("find the GPU", driver.cuDeviceGet(index))
        context = self._call("use the GPU", driver.cuDevicePrimaryCtxRetain(self._device))
        self._context = context
        self.activate()

    @property
    def arch(self) -> str:
        """Compute capability such as ``sm_90``."""
        kinds = self._driver.CUdevice_attribute
        major, minor = (
            self._call("ask the GPU", self._driver.cuDeviceGetAttribute(kind, self._device))
            for kind in (
                kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        return f"sm_{major}{minor}"

    def activate(self) -> None:
        """Make the context current in this thread."""
        self._call("use the GPU", self._driver.cuCtxSetCurrent(self._context))

    def allocate(self, nbytes: int) -> int:
        """Return the address of ``nbytes`` bytes on the GPU."""
        what = f"allocate {nbytes} bytes on the GPU"
        return int(self._call(what, self._driver.cuMemAlloc(max(nbytes, 1))))

    def free(self, address: int) -> None:
        """Give memory back."""
        self._call("free memory of the GPU", self._driver.cuMemFree(address))

    def upload(self, array: Array, address: int) -> None:
        """Copy a contiguous array to the GPU."""
        if array.nbytes:
            data = array.ctypes.data
            self._call("copy to the GPU", self._driver.cuMemcpyHtoD(address, data, array.nbytes))

    def download(self, address: int, array: Array) -> None:
        """Copy from the GPU into a contiguous array; waits for what was launched before."""
        if array.nbytes:
            data = array.ctypes.data
            self._call("copy from the GPU", self._driver.cuMemcpyDtoH(data, address, array.nbytes))

    def load(self, cubin: bytes, names: list[str]) -> dict[str, object]:
        """Return the functions of machine code by name."""
        module = self._call("load kernels", self._driver.cuModuleLoadData(cubin))
        return {
            n: self._call(f"find kernel {n}", self._driver.cuModuleGetFunction(module, n.encode()))
            for n in names
        }

    def launch(self, function: object, blocks: int, threads: int, addresses: list[int]) -> None:
        """Start a kernel on pointers."""
        values = np.asarray(addresses, np.uint64)
        step = values.itemsize
        places = np.asarray(
            [values.ctypes.data + k * step for k in range(len(addresses))], np.uint64
        )
        result = self._driver.cuLaunchKernel(
            function, blocks, 1, 1, threads, 1, 1, 0, 0, places.ctypes.data, 0
        )
        self._call("launch a kernel", result)

    def _call(self, what: str, result: tuple[Any, ...]) -> Any:
        status, *values = result
        if int(status) != 0:
            raise ExecutionError(f"cannot {what}: {status}")
        return values[0] if values else None
