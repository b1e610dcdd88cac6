# SPDX-License-Identifier: MIT
"""The session: onnxruntime's manners, checks of inputs, bound arrays, DLPack, new shapes."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tvm

from agreement import assert_agree
from ranvier.errors import ArtifactError, ExecutionError, InputError
from ranvier.runtime import (
    Artifact,
    ModelInfo,
    Session,
    Specialisation,
    aligned_empty,
    key_of,
)
from ranvier.runtime.dlpack import array_from_dlpack
from ranvier.runtime.feeds import check_feed
from ranvier.runtime.ort_types import NodeArg, ort_type
from ranvier.runtime.program import OptionalSpec, SequenceSpec, TensorSpec
from ranvier.runtime.stages import Following, Result
from small_program import expected, target_info, without_slot_output


@pytest.fixture
def session(artifact: Artifact) -> Session:
    return Session(artifact)


def test_outputs_come_in_the_order_asked_for(session: Session, x: Any) -> None:
    e, z = expected(x)
    assert_agree(session.run(None, {"x": x}), [e, z])
    assert_agree(session.run(["z", "e", "z"], {"x": x}), [z, e, z])
    assert session.run([], {"x": x}) == []


def test_a_saved_model_runs_by_its_path(saved: Path, x: Any) -> None:
    for path in (saved, str(saved)):
        assert_agree(Session(path, threads=1).run(None, {"x": x}), expected(x))


def test_inputs_and_outputs_are_described_as_onnxruntime_does(session: Session) -> None:
    assert session.get_inputs() == [NodeArg("x", "tensor(float)", ["N", 3], "float32")]
    assert [(a.name, a.type, a.shape) for a in session.get_outputs()] == [
        ("e", "tensor(float)", ["N", 3]),
        ("z", "tensor(float)", ["N", 3]),
    ]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (TensorSpec("", "float64", ()), "tensor(double)"),
        (TensorSpec("", "float8_e4m3fn", ()), "tensor(float8e4m3fn)"),
        (TensorSpec("", "bfloat16", ()), "tensor(bfloat16)"),
        (TensorSpec("", "string", ()), "tensor(string)"),
        (
            OptionalSpec("", SequenceSpec("", TensorSpec("", "bool", ()))),
            "optional(seq(tensor(bool)))",
        ),
        (SequenceSpec("", None), "seq(unknown)"),
    ],
)
def test_types_in_onnxruntime_notation(spec: Any, text: str) -> None:
    assert ort_type(spec) == text


def test_unknown_output_suggests_a_name(session: Session, x: Any) -> None:
    with pytest.raises(InputError, match="no output 'zz'; did you mean 'z'"):
        session.run(["zz"], {"x": x})
    with pytest.raises(InputError, match=r"must be a list of names; use \['z'\]"):
        session.run("z", {"x": x})


@pytest.mark.parametrize("threads", [0, -1, 257, True, 2.0, "2"])
def test_what_is_no_number_of_threads_is_refused(artifact: Artifact, threads: Any) -> None:
    with pytest.raises(InputError, match=r"threads must be .* found"):
        Session(artifact, threads=threads)


def test_damage_shows_when_the_session_is_made(saved: Path) -> None:
    path = saved / "library-0.so"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactError, match="damaged"):
        Session(saved)


def test_a_library_for_another_device_is_an_artifact_error(
    model: ModelInfo, specialisation: Specialisation
) -> None:
    gpu = target_info(name="cuda{arch=sm_80}", kind="cuda", device="sm_80")
    with pytest.raises(ArtifactError, match="library"):
        Session(Artifact(model, gpu, [specialisation]))


def test_profile_tells_steps_and_outputs(session: Session, x: Any) -> None:
    profile = session.profile({"x": x})
    assert_agree(profile.outputs, expected(x))
    assert len(profile.steps) == 4
    assert profile.seconds == sum(s for _, s in profile.steps)


def test_invalid_data_is_an_execution_error(session: Session, x: Any) -> None:
    with pytest.raises(ExecutionError, match="x is 100 or more"):
        session.run(None, {"x": x + 100})


# New shapes


def test_unknown_shape_names_the_shapes_at_hand(session: Session) -> None:
    message = r"no code for inputs \(float32\[5, 3\]\); it holds: \(float32\[2, 3\]\)"
    with pytest.raises(ArtifactError, match=message):
        session.run(None, {"x": np.zeros((5, 3), np.float32)})


def test_new_shapes_are_compiled_once_and_kept(
    model: ModelInfo, specialisation: Specialisation, x: Any
) -> None:
    asked: list[tuple[str, Any]] = []

    def specialise(stage: str, arrays: Sequence[Any]) -> Specialisation:
        asked.append((stage, arrays[0].shape))
        return specialisation

    artifact = Artifact(model, target_info())
    session = Session(artifact, specialise=specialise)
    for _ in range(3):
        assert_agree(session.run(None, {"x": x}), expected(x))
    assert asked == [("", (2, 3))]
    assert artifact.keys == (specialisation.key,)


def test_threads_that_meet_a_new_shape_compile_it_once(
    model: ModelInfo, specialisation: Specialisation, x: Any
) -> None:
    asked = []

    def specialise(stage: str, arrays: Sequence[Any]) -> Specialisation:
        asked.append(stage)
        time.sleep(0.05)
        return specialisation

    session = Session(Artifact(model, target_info()), specialise=specialise)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: session.run(None, {"x": x}), range(8)))
    assert asked == [""]
    for result in results:
        assert_agree(result, expected(x))


def test_other_runs_go_on_while_a_new_shape_is_compiled(
    artifact: Artifact, specialisation: Specialisation, x: Any
) -> None:
    asked, answered = threading.Event(), threading.Event()

    def specialise(stage: str, arrays: Sequence[Any]) -> Specialisation:
        asked.set()
        assert answered.wait(30)
        return specialisation

    session = Session(artifact, specialise=specialise)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(session.run, None, {"x": np.zeros((5, 3), np.float32)})
        assert asked.wait(30)
        assert_agree(session.run(None, {"x": x}), expected(x))
        assert_agree(session.run(None, {"x": x + 1}), expected(x + 1))
        answered.set()
        assert isinstance(other.exception(30), ArtifactError)


def test_checks_stay_when_inputs_were_met_before(session: Session, x: Any) -> None:
    for _ in range(2):
        assert_agree(session.run(None, {"x": x}), expected(x))
        with pytest.raises(InputError, match="expected float32"):
            session.run(None, {"x": x.astype(np.float64)})
        with pytest.raises(InputError, match="dimension 1 must be 3, is 2"):
            session.run(None, {"x": x[:, :2]})
        with pytest.raises(InputError, match="unexpected input 'y'"):
            session.run(None, {"y": x})
        with pytest.raises(InputError, match="masked array"):
            session.run(None, {"x": np.ma.masked_less(x, 0)})
        with pytest.raises(InputError, match="expected a NumPy array"):
            session.run(None, {"x": x.tolist()})
        assert_agree(session.run(["z"], {"x": x}), expected(x)[1:])
        assert_agree(session.run(None, {"x": x.astype(">f4")}), expected(x))


def test_a_compiler_that_gives_another_shape_is_found_out(
    model: ModelInfo, specialisation: Specialisation
) -> None:
    session = Session(Artifact(model, target_info()), specialise=lambda *_: specialisation)
    with pytest.raises(ArtifactError, match="asked for code for"):
        session.run(None, {"x": np.zeros((5, 3), np.float32)})


def test_values_that_are_compiled_in_are_part_of_the_key(
    model: ModelInfo, specialisation: Specialisation, x: Any
) -> None:
    asked = []

    def specialise(stage: str, arrays: Sequence[Any]) -> Specialisation:
        asked.append(arrays[0])
        return replace(specialisation, key=key_of(arrays, {0}))

    session = Session(Artifact(model, target_info()), specialise=specialise)
    for value in (x, x.copy(), x + 1):
        session.run(None, {"x": value})
    assert len(asked) == 2


def exp_only(specialisation: Specialisation) -> Specialisation:
    """Return a stage that computes ``e`` alone."""
    program = specialisation.program
    # The library's `main` takes three outputs; the other two are left as they are.
    alone = replace(program, checks=(), steps=program.steps[:2])
    results = (Result("e"), Result("left"), Result("over"))
    return replace(specialisation, program=alone, results=results)


def test_stages_follow_each_other(model: ModelInfo, specialisation: Specialisation, x: Any) -> None:
    following = Following("second", ("e",))
    first = replace(exp_only(specialisation), following=following)
    second = replace(specialisation, key=key_of([x], stage="second"))
    session = Session(Artifact(model, target_info(), [first, second]))
    e, _ = expected(x)
    assert_agree(session.run(None, {"x": x}), expected(e))
    assert len(session.profile({"x": x}).steps) == 6


def test_endless_stages_are_an_error(
    model: ModelInfo, specialisation: Specialisation, x: Any
) -> None:
    again = replace(exp_only(specialisation), following=Following("again", ("x",)))
    stages = [again, replace(again, key=key_of([x], stage="again"))]
    session = Session(Artifact(model, target_info(), stages))
    with pytest.raises(ExecutionError, match="more than 1000 stages"):
        session.run(None, {"x": x})


@pytest.mark.parametrize("following", [None, Following("next", ("q",))])
def test_values_that_no_stage_computes_are_an_error(
    model: ModelInfo, specialisation: Specialisation, x: Any, following: Following | None
) -> None:
    alone = replace(exp_only(specialisation), following=following)
    session = Session(Artifact(model, target_info(), [alone]))
    with pytest.raises(ArtifactError, match=r"no program of the artifact computes '[zq]'"):
        session.run(None, {"x": x})


def test_results_must_name_every_output(specialisation: Specialisation) -> None:
    with pytest.raises(ArtifactError, match="1 named tensors, the program has 2"):
        replace(specialisation, results=(Result("e"),))


@pytest.mark.parametrize("layout", ["", "tt", "(", ")", "t)", "(t", "x", ")(", "()t"])
def test_bad_layouts_are_refused(layout: str) -> None:
    with pytest.raises(ArtifactError, match="bad layout"):
        Result("r", layout)


# Bound arrays


def test_bound_arrays_need_every_input_and_output(session: Session) -> None:
    with pytest.raises(InputError, match="missing input 'x'"):
        session.run_bound()
    session.bind_input("x", aligned_empty((2, 3), np.float32))
    with pytest.raises(InputError, match="output 'e' is not bound"):
        session.run_bound()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("y", aligned_empty((2, 3), np.float32), "no input 'y'"),
        ("x", [1.0], "must be a NumPy array, found list"),
        ("x", aligned_empty((2, 3), np.float64), "must be float32"),
        ("x", aligned_empty((2, 6), np.float32)[:, ::2], "contiguous"),
    ],
)
def test_arrays_that_cannot_be_bound(session: Session, name: str, array: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        session.bind_input(name, array)


def test_run_bound_writes_in_place(
    model: ModelInfo, specialisation: Specialisation, x: Any
) -> None:
    in_buffers = replace(specialisation, program=without_slot_output())
    session = Session(Artifact(model, target_info(), [in_buffers]))
    source, e, z = (aligned_empty((2, 3), np.float32) for _ in range(3))
    session.bind_input("x", source)
    session.bind_output("e", e)
    session.bind_output("z", z)
    for scale in (1, 2):
        source[...] = x * scale
        session.run_bound()
        assert_agree([e, z], expected(x * scale))


def test_results_whose_shape_depends_on_data_cannot_be_bound(session: Session) -> None:
    session.bind_input("x", aligned_empty((2, 3), np.float32))
    session.bind_output("e", aligned_empty((2, 3), np.float32))
    session.bind_output("z", aligned_empty((2, 3), np.float32))
    with pytest.raises(InputError, match="cannot be bound"):
        session.run_bound()


# DLPack


class Tensor:
    """Another library's tensor."""

    def __init__(self, array: Any, device: int = 1) -> None:
        self.array = array
        self.device = device

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (self.device, 0)


def test_tensors_of_other_libraries_run_without_copies(session: Session, x: Any) -> None:
    assert_agree(session.run_dlpack(["z"], {"x": Tensor(x)}), expected(x)[1:])
    assert np.shares_memory(array_from_dlpack("x", Tensor(x)), x)


def test_tensors_elsewhere_and_other_objects_are_refused(session: Session, x: Any) -> None:
    with pytest.raises(InputError, match="input 'x' is on a device of DLPack type 2"):
        session.run_dlpack(None, {"x": Tensor(x, 2)})
    with pytest.raises(InputError, match="list does not support DLPack"):
        session.run_dlpack(None, {"x": [1.0]})


def test_types_that_numpy_lacks_are_taken_over() -> None:
    tensor = tvm.runtime.empty((2, 3), "bfloat16")
    source = np.arange(6, dtype=ml_dtypes.bfloat16).reshape(2, 3)
    ctypes.memmove(tensor.data_ptr(), source.tobytes(), source.nbytes)
    array = array_from_dlpack("x", tensor)
    assert array.ctypes.data == tensor.data_ptr()
    del tensor
    np.testing.assert_array_equal(array, source)
    assert not array.flags.writeable


def test_packed_types_are_refused() -> None:
    with pytest.raises(InputError, match="int4 is packed in DLPack"):
        array_from_dlpack("x", tvm.runtime.empty((2, 4), "int4"))


def test_tensors_that_cannot_be_exported_are_refused(x: Any) -> None:
    class Stubborn(Tensor):
        def __dlpack__(self, **_: Any) -> Any:
            raise BufferError("needs a gradient")

    with pytest.raises(InputError, match="input 'x' cannot be taken over by DLPack"):
        array_from_dlpack("x", Stubborn(x))


# Checks of inputs


SPECS = (
    TensorSpec("image", "float32", ("N", 3, "H")),
    TensorSpec("mask", "bool", ("N", "H")),
)


def feed(**changes: Any) -> dict[str, Any]:
    arrays = {"image": np.zeros((2, 3, 5), np.float32), "mask": np.zeros((2, 5), bool)}
    return {k: v for k, v in {**arrays, **changes}.items() if v is not None}


def test_inputs_come_in_the_models_order() -> None:
    arrays = feed()
    mask_first = dict(reversed(arrays.items()))
    assert check_feed(SPECS, mask_first)[0] is arrays["image"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (feed(mask=None), r"missing input 'mask' \(bool\[N, H\]\)"),
        ({}, r"missing inputs 'image' \(float32\[N, 3, H\]\), 'mask'"),
        (feed(imag=0), "unexpected input 'imag'; did you mean 'image'"),
        (feed(zzz=0), "unexpected input 'zzz'; there are: 'image', 'mask'"),
        ([1], "inputs must be a dict of names and arrays, found list"),
        (feed(image=[[1.0]]), r"found list; pass numpy.asarray\(value, dtype='float32'\)"),
        (feed(image=Tensor(None)), "found .*Tensor; pass it to run_dlpack"),
        (feed(image=np.ma.zeros((2, 3, 5), np.float32)), "masked array"),
        (
            feed(image=np.zeros((2, 3, 5))),
            r"found float64; nothing is cast silently, use array.astype\('float32'\)",
        ),
        (feed(image=np.zeros((3, 5), np.float32)), r"expected 3 dimensions .* found 2 \[3, 5\]"),
        (
            feed(image=np.zeros((2, 4, 5), np.float32)),
            r"found \[2, 4, 5\]: dimension 1 must be 3, is 4",
        ),
        (
            feed(mask=np.zeros((2, 6), bool)),
            r"input 'mask': dimension 1 \('H'\) is 6, but input 'image' says 'H' is 5",
        ),
    ],
)
def test_wrong_inputs_say_what_is_wrong(inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_feed(SPECS, inputs)


def test_extended_types_are_named_in_the_hint() -> None:
    spec = TensorSpec("x", "bfloat16", (1,))
    with pytest.raises(InputError, match=r"astype\(ml_dtypes.bfloat16\)"):
        check_feed([spec], {"x": np.zeros(1, np.float32)})


def test_numpy_scalars_are_arrays_of_rank_zero() -> None:
    spec = TensorSpec("x", "float32", ())
    assert check_feed([spec], {"x": np.float32(2)})[0].shape == ()


def test_strings_become_objects() -> None:
    spec = TensorSpec("s", "string", (2,))
    for array in (np.array(["a", "é"]), np.array([b"a", "é".encode()])):
        (found,) = check_feed([spec], {"s": array})
        assert found.dtype == object
        assert found.tolist() == ["a", "é"]
    with pytest.raises(InputError, match="expected an array of str, found an element int"):
        check_feed([spec], {"s": np.array(["a", 1], object)})


def test_sequences_and_optionals_are_checked_inside() -> None:
    specs = (
        SequenceSpec("s", TensorSpec("", "float32", ("N",))),
        OptionalSpec("o", TensorSpec("", "int64", ())),
    )
    good = [np.zeros(1, np.float32), np.zeros(2, np.float32)]
    assert len(check_feed(specs, {"s": good, "o": None})[0]) == 2
    with pytest.raises(InputError, match=r"input 's', element 1: .* found float64"):
        check_feed(specs, {"s": [good[0], np.zeros(1)], "o": None})
    with pytest.raises(InputError, match="input 's': expected a list"):
        check_feed(specs, {"s": good[0], "o": None})
    with pytest.raises(InputError, match=r"input 'o': .* found float32"):
        check_feed(specs, {"s": good, "o": np.float32(1)})
