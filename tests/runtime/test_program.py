# SPDX-License-Identifier: MIT
"""Programs to JSON and back; whatever is odd in the JSON is a typed error."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.errors import ArtifactError
from ranvier.ir import OptionalType, SequenceType, TensorType, UnknownType
from ranvier.runtime.program import (
    BranchStep,
    BufferOperand,
    BufferRef,
    Check,
    KernelStep,
    LoopStep,
    OptionalSpec,
    Parameter,
    Program,
    SequenceSpec,
    SlotOperand,
    TensorSpec,
    WhileStep,
    value_spec,
)
from ranvier.runtime.strict_json import parse_object
from small_program import X, small_program

FLAG = BufferRef("arena", 0, 0)
CALL = KernelStep("add", (FLAG,))


def with_steps(*steps: Any) -> Program:
    return replace(small_program(), steps=(*small_program().steps, *steps))


PROGRAMS = {
    "small": small_program(),
    "branch": with_steps(BranchStep(FLAG, (CALL,), ())),
    "while": with_steps(WhileStep(FLAG, BufferRef("arena", 0, 8), -1, (CALL,))),
    "nested": with_steps(LoopStep(3, (LoopStep(2, (CALL,)), BranchStep(FLAG, (CALL,), (CALL,))))),
    "host values": replace(
        small_program(),
        inputs=(X, SequenceSpec("s", OptionalSpec("", None))),
        input_slots=(None, 5),
    ),
}


def through_json(program: Program) -> Program:
    text = json.dumps(program.to_json())
    return Program.from_json(parse_object(text, "text"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_json_gives_the_program_back(name: str) -> None:
    assert through_json(PROGRAMS[name]) == PROGRAMS[name]


def paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every item of nested lists and dicts."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items if isinstance(data, dict | list) else []:
        yield (*path, key)
        yield from paths(value, (*path, key)) if isinstance(value, dict | list) else ()


def parent_of(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        data = data[key]
    return data


def read_or_refuse(data: Any) -> None:
    """Read a program; nothing but a typed error may come of it."""
    with contextlib.suppress(ArtifactError):
        Program.from_json(data)


JSON = small_program().to_json()
PATHS = list(paths(JSON))
ODD: list[Any] = [None, True, -1, 1.5, 2**64, "", "x", [], {}, [[]], {"@": "Program"}, [1, "a"]]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: ".".join(map(str, p)))
def test_odd_values_give_a_program_or_a_typed_error(path: tuple[Any, ...]) -> None:
    for odd in ODD:
        data = copy.deepcopy(JSON)
        parent_of(data, path)[path[-1]] = odd
        read_or_refuse(data)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: ".".join(map(str, p)))
def test_missing_keys_give_a_program_or_a_typed_error(path: tuple[Any, ...]) -> None:
    data = copy.deepcopy(JSON)
    del parent_of(data, path)[path[-1]]
    read_or_refuse(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[]", "expected a JSON object, found a list"),
        ('{"a": 1, "a": 2}', "a key occurs twice"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": ' + "[" * 500 + "]" * 500 + "}", "nested deeper"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "not valid JSON"),
    ],
    ids=["empty", "list", "twice", "nan", "deep", "very deep"],
)
def test_bad_json_is_a_typed_error(text: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        parse_object(text, "file")


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_a_typed_error(data: bytes) -> None:
    with contextlib.suppress(ArtifactError):
        assert isinstance(parse_object(data, "file"), dict)


def test_messages_say_where() -> None:
    data = copy.deepcopy(JSON)
    data["steps"][0]["body"][0]["arguments"][1]["offset"] = "7"
    where = r"program\.steps\[0\]\.body\[0\]\.arguments\[1\]\.offset: expected int, found '7'"
    with pytest.raises(ArtifactError, match=where):
        Program.from_json(data)


BASE = small_program()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arena_bytes": -1}, "arena_bytes is -1"),
        ({"parameter_bytes": 64}, "parameter 'w' ends at byte 76, the blob has 64"),
        ({"arena_bytes": 151}, r"bytes 128 to 152 of arena 0, which has 151"),
        ({"kernels": BASE.kernels[:1]}, "unknown kernel 'check'"),
        ({"kernels": BASE.kernels * 2}, "two kernels have one name"),
        ({"checks": (Check(3, "m"),)}, "check of output 3, which does not exist"),
        ({"checks": (Check(1, "m"),)}, "not a flag"),
        ({"output_slots": (0,)}, "3 outputs but 1 output slots"),
        ({"output_slots": ()}, "output 0 .* cannot be in a buffer and has no slot"),
        ({"output_slots": (0, 1, None)}, "output 1 is a host object"),
        ({"output_slots": (-1, None, None)}, "has slot -1"),
        (
            {"output_slots": (9, None, None)},
            "output 0 is taken from slot 9, which is never written",
        ),
        ({"steps": BASE.steps[2:]}, "host slot 0 is read before written"),
        ({"steps": (LoopStep(1, (BASE.steps[1],)),)}, "host step inside a loop"),
        ({"steps": (BranchStep(FLAG, (BASE.steps[1],), ()),)}, "host step inside a loop or branch"),
        ({"steps": (KernelStep("add", (BufferRef("input", 1, 0),)),)}, "there is no input 1"),
        ({"steps": (KernelStep("add", (BufferRef("input", 0, 0, (4,)),)),)}, "1 strides inside 0"),
        (
            {"steps": (LoopStep(3, (KernelStep("add", (BufferRef("input", 0, 0, (-8,)),)),)),)},
            "bytes -16 to 0 of input 0",
        ),
    ],
)
def test_references_that_lead_nowhere_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        replace(BASE, **change)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TensorSpec("t", "float31", ()), "unknown element type 'float31'"),
        (lambda: TensorSpec("t", "int8", (-1,)), "negative size"),
        (lambda: TensorSpec("t", "int8", (2**40, 2**40)), "too large"),
        (lambda: BufferRef("stack", 0, 0), "unknown space 'stack'"),  # type: ignore[arg-type]
        (lambda: BufferRef("arena", 1, 0), "index 1 does not fit"),
        (lambda: BufferRef("arena", 0, -1), "out of range"),
        (lambda: BufferOperand(FLAG, TensorSpec("t", "int8", ("N",))), "needs a host slot"),
        (lambda: SlotOperand(-1), "host slot -1"),
        (lambda: LoopStep(-1, ()), "loop count -1"),
        (lambda: WhileStep(FLAG, FLAG, -2, ()), "maximal number of trips -2"),
        (lambda: Parameter("p", -1, X), "offset -1"),
        (lambda: Parameter("p", 0, TensorSpec("p", "string", (1,))), "has no bytes"),
    ],
)
def test_values_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        make()


def test_specs_follow_graph_types() -> None:
    tensor = TensorType("float32", ("N", 3))
    assert value_spec("x", tensor) == TensorSpec("x", "float32", ("N", 3))
    sequence = value_spec("s", SequenceType(tensor))
    assert sequence == SequenceSpec("s", TensorSpec("", "float32", ("N", 3)))
    assert value_spec("o", OptionalType(UnknownType())) == OptionalSpec("o", None)
    assert str(sequence) == "sequence<float32[N, 3]>"
    assert str(value_spec("u", UnknownType())) == "?"
