# SPDX-License-Identifier: MIT
"""Options and fixtures that every test sees."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

# Set before anything loads NumPy or TVM: two test processes share two cores, and each of them
# would otherwise start a pool of threads as large as the machine.
os.environ["TVM_NUM_THREADS"] = os.environ.get("TVM_NUM_THREADS", "1")
os.environ["OPENBLAS_NUM_THREADS"] = os.environ.get("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

from agreement import Compiled

# The same examples on every run: a failure of the continuous integration can be repeated.
settings.register_profile(
    "default",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("search", derandomize=False, deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--update-golden``."""
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what the passes produce now as the expected texts of tests/golden",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need a GPU, visibly, where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not gpu_count():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


def gpu_count() -> int:
    """Return the number of CUDA devices that the driver reports."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A kernel cache of this test run, so that no run depends on what an earlier one left."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANVIER_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def compiled() -> Compiled:
    """A function that compiles a canonical graph for this machine and runs it on inputs."""
    from ranvier.compiler import run_canonical

    return run_canonical
