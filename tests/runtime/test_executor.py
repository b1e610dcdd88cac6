# SPDX-License-Identifier: MIT
"""The executor: loops, host steps, checks, runs in place, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agreement import assert_agree
from ranvier.errors import ArtifactError, ExecutionError, InputError
from ranvier.runtime import aligned_empty
from ranvier.runtime.executor import Executor
from ranvier.runtime.program import HostStep, Program, SlotOperand, TensorSpec
from small_program import W, expected, small_program, without_slot_output


@pytest.fixture
def executor(library: Path) -> Executor:
    return Executor(small_program(), library, {"w": W})


def test_loop_arena_and_host_steps_give_the_outputs(executor: Executor, x: Any) -> None:
    assert_agree(executor.run([x]), expected(x))


def test_outputs_are_aligned(executor: Executor, x: Any) -> None:
    assert executor.run([x])[1].ctypes.data % 64 == 0


def test_results_of_an_earlier_run_stay(executor: Executor, x: Any) -> None:
    first = executor.run([x])
    executor.run([x + 1])
    assert_agree(first, expected(x))


@pytest.mark.parametrize("kind", ["misaligned", "strided", "fortran", "big endian", "read-only"])
def test_any_layout_of_an_input_is_read_right(executor: Executor, x: Any, kind: str) -> None:
    raw = np.zeros(25, np.uint8)
    arrays = {
        "misaligned": raw[1:].view(np.float32).reshape(2, 3),
        "strided": np.zeros((2, 6), np.float32)[:, ::2],
        "fortran": np.zeros((2, 3), np.float32, order="F"),
        "big endian": np.zeros((2, 3), ">f4"),
        "read-only": np.zeros((2, 3), np.float32),
    }
    array = arrays[kind]
    array[...] = x
    array.flags.writeable = kind != "read-only"
    assert_agree(executor.run([array]), expected(x))


def test_false_flag_raises_its_message(executor: Executor, x: Any) -> None:
    x[1, 1] = 100
    with pytest.raises(ExecutionError, match="x is 100 or more"):
        executor.run([x])


def test_threads_do_not_disturb_each_other(executor: Executor, x: Any) -> None:
    inputs = [x * k for k in range(64)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda a: executor.run([a]), inputs))
    for array, result in zip(inputs, results, strict=True):
        assert_agree(result, expected(array))


def test_profile_has_every_step_and_the_outputs(executor: Executor, x: Any) -> None:
    outputs, times = executor.profile([x])
    assert_agree(outputs, expected(x))
    labels = [info.label for info, _ in times]
    assert labels == ["loop of 2: add 3", "host: exp", "host: neg", "check"]
    assert times[0][0].flops == 6
    assert all(seconds >= 0 for _, seconds in times)


def test_wrong_shape_is_an_input_error(executor: Executor) -> None:
    with pytest.raises(InputError, match=r"input 0 must be float32\[2, 3\], found \[3, 2\]"):
        executor.run([np.zeros((3, 2), np.float32)])


def test_wrong_number_of_inputs_is_an_input_error(executor: Executor) -> None:
    with pytest.raises(InputError, match="takes 1 inputs, 0 were given"):
        executor.run([])


def test_weights_are_shared_between_executors(library: Path) -> None:
    first = Executor(small_program(), library, {"w": W})
    second = Executor(small_program(), library, {"w": W})
    assert first._blob is second._blob
    assert Executor(small_program(), library, {"w": W.copy()})._blob is not first._blob


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "parameter 'w' has no array"),
        ({"w": W[:2]}, r"parameter 'w' must be float32\[3\], its array is float32\[2\]"),
        ({"w": W.astype(np.float64)}, "its array is float64"),
    ],
)
def test_wrong_weights_are_an_artifact_error(
    library: Path, weights: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        Executor(small_program(), library, weights)


def test_missing_and_damaged_library_are_artifact_errors(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        Executor(small_program(), tmp_path / "none.so", {"w": W})
    (tmp_path / "bad.so").write_bytes(b"\x7fELF and then nothing")
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        Executor(small_program(), tmp_path / "bad.so", {"w": W})


def test_library_without_main_is_an_artifact_error() -> None:
    import _ctypes

    with pytest.raises(ArtifactError, match="cannot be loaded"):
        Executor(small_program(), Path(_ctypes.__file__), {"w": W})


def changed_host_step(**changes: Any) -> Program:
    program = small_program()
    step = program.steps[1]
    assert isinstance(step, HostStep)
    steps = (program.steps[0], replace(step, **changes), *program.steps[2:])
    return replace(program, steps=steps)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "graph @g("}, "host step cannot be read"),
        ({"inputs": ()}, "does not fit its operands"),
    ],
)
def test_bad_host_step_is_an_artifact_error(
    library: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        Executor(changed_host_step(**changes), library, {"w": W})


def test_host_result_of_another_shape_is_an_execution_error(library: Path, x: Any) -> None:
    program = small_program()
    step = program.steps[2]
    assert isinstance(step, HostStep)
    (output,) = step.outputs
    assert not isinstance(output, SlotOperand)
    narrow = replace(output, spec=TensorSpec("z", "float32", (3,)))
    steps = (*program.steps[:2], replace(step, outputs=(narrow,)), program.steps[3])
    executor = Executor(replace(program, steps=steps), library, {"w": W})
    with pytest.raises(ExecutionError, match=r"host op neg gave .* expects float32\[3\]"):
        executor.run([x])


def test_host_op_that_refuses_is_an_execution_error(library: Path, x: Any) -> None:
    text = "graph @h(%a: float64[2, 3]) {\n %b: float64[2, 3] = exp(%a)\n return %b\n}"
    executor = Executor(changed_host_step(text=text), library, {"w": W})
    with pytest.raises(ExecutionError, match=r"host op exp: .*expected float64"):
        executor.run([x])


# Runs in place


def test_bound_arrays_are_used_in_place(library: Path, x: Any) -> None:
    executor = Executor(without_slot_output(), library, {"w": W})
    source, e, z = (aligned_empty((2, 3), np.float32) for _ in range(3))
    source[...] = x
    for scale in (1, 2):
        source[...] = x * scale
        executor.run_bound([source], [e, z])
        assert_agree([e, z], expected(x * scale))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: np.zeros(25, np.uint8)[1:].view(np.float32).reshape(2, 3), "aligned"),
        (lambda: aligned_empty((2, 6), np.float32)[:, ::2], "contiguous"),
        (lambda: aligned_empty((2, 3), np.float64), "must be float32"),
        (lambda: aligned_empty((3, 2), np.float32), "must be float32"),
    ],
)
def test_arrays_that_cannot_be_used_in_place_are_refused(
    library: Path, make: Any, message: str
) -> None:
    executor = Executor(without_slot_output(), library, {"w": W})
    good = aligned_empty((2, 3), np.float32)
    with pytest.raises(InputError, match=message):
        executor.run_bound([make()], [good, good])
    with pytest.raises(InputError, match=message):
        executor.run_bound([good], [make(), good])


def test_read_only_output_is_refused(library: Path) -> None:
    executor = Executor(without_slot_output(), library, {"w": W})
    good, fixed = (aligned_empty((2, 3), np.float32) for _ in range(2))
    fixed.flags.writeable = False
    with pytest.raises(InputError, match="read-only"):
        executor.run_bound([good], [good, fixed])


def test_output_in_a_host_slot_cannot_be_bound(executor: Executor) -> None:
    good = aligned_empty((2, 3), np.float32)
    with pytest.raises(InputError, match="cannot be bound"):
        executor.run_bound([good], [good, good])
