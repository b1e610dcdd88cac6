# SPDX-License-Identifier: MIT
"""The examples in docstrings run, each module under its one true name.

``pytest --doctest-modules`` would import the files a second time under the name of the clone,
and fill the registry of ops twice.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import ranvier

SKIPPED = {"tests", "build", "dist"}
PEERS = {"torch", "openvino", "monai"}
"""Packages that only benchmarks import, and that need not be installed."""


def modules(folder: Path, package: str) -> list[str]:
    """Return the names of the modules in ``folder``, found without importing any."""
    names = [package]
    for info in pkgutil.iter_modules([str(folder)]):
        if info.ispkg and info.name not in SKIPPED:
            names += modules(folder / info.name, f"{package}.{info.name}")
        elif not info.ispkg and info.name != "__main__":
            names.append(f"{package}.{info.name}")
    return names


@pytest.mark.parametrize("name", modules(Path(ranvier.__path__[0]), "ranvier"))
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in PEERS:
            raise
        pytest.skip(f"{error.name} is not installed")
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert outcome.failed == 0, "the report is in the captured output"
