# SPDX-License-Identifier: MIT
"""ONNX's own conformance suite through the compiled path, against a list that may only grow.

``passing.txt`` names the cases that pass; ``failing.txt`` the others, each with its reason. A
case that is in neither list, passes though it is listed as failing, or fails though it is
listed as passing, fails the test. The nine cases of kind "real" need a download and are left
out, as they are in every offline run.
"""

from __future__ import annotations

import unittest
import warnings
from functools import lru_cache
from pathlib import Path

import onnx.backend.test
import pytest

from ranvier.backend import RanvierBackend

FOLDER = Path(__file__).parent
SUFFIX = "_cpu"

pytestmark = [pytest.mark.conformance, pytest.mark.usefixtures("cache_folder")]


@lru_cache(maxsize=1)
def cases() -> dict[str, unittest.TestCase]:
    """Return every offline case of the suite by name."""
    found: dict[str, unittest.TestCase] = {}
    with warnings.catch_warnings():
        # The suite computes expected values such as 1/0 while it is collected.
        warnings.simplefilter("ignore", RuntimeWarning)
        classes = onnx.backend.test.BackendTest(RanvierBackend, __name__).test_cases
    for title, cls in classes.items():
        if "RealModel" in title:
            continue
        for name in dir(cls):
            if name.startswith("test_") and name.endswith(SUFFIX):
                found[name.removesuffix(SUFFIX)] = cls(name)
    return found


def passing() -> list[str]:
    """Return the names of the cases that must pass."""
    return (FOLDER / "passing.txt").read_text().split()


def failing() -> dict[str, str]:
    """Return the names of the cases that fail, with the reason of each."""
    lines = (FOLDER / "failing.txt").read_text().splitlines()
    pairs = (line.partition(": ") for line in lines if line and not line.startswith("#"))
    return {name: reason for name, _, reason in pairs}


def run_case(name: str) -> None:
    """Run one case of the suite; an assertion or an exception is its failure."""
    case = cases()[name]
    getattr(case, case._testMethodName)()


def test_every_case_is_listed_once() -> None:
    listed = passing() + list(failing())
    assert len(listed) == len(set(listed))
    assert set(listed) == set(cases())


def test_numbers_promised() -> None:
    assert len(cases()) == 2024
    assert len(passing()) >= 1850


def test_every_failure_has_a_reason() -> None:
    assert all(len(reason) > 10 for reason in failing().values())


@pytest.mark.parametrize("name", passing())
def test_case(name: str) -> None:
    run_case(name)


@pytest.mark.parametrize("name", failing())
def test_case_still_fails(name: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - any failure will do, success will not
        run_case(name)
