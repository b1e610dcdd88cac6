# SPDX-License-Identifier: MIT
"""Choices among candidates: kept per processor, obeyed by later compilations, never in the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ranvier.codegen.choices import Choices, group_key, keep_choices, load_choices
from ranvier.codegen.targets import parse_target
from ranvier.codegen.templates.base import Plan, Written
from ranvier.codegen.views import Request, View
from ranvier.compiler import build_canonical
from ranvier.ir import Emitter, Graph, TensorType, interpret, ops
from ranvier.runtime.executor import Executor
from ranvier.tuner import tune

TARGET = parse_target("cpu")


def network() -> Graph:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 16, 14, 14)), "x")
    rng = np.random.default_rng(0)
    y = x
    for _ in range(2):
        w = emit.constant(rng.standard_normal((16, 16, 3, 3)).astype(np.float32) / 12)
        y = emit(ops.Relu(), emit(ops.Conv((1, 1), (1, 1), (1, 1), (1, 1), (1, 1)), y, w))
    return emit.graph("network", [x], [y])


@dataclass(frozen=True)
class Named(Plan):
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def operands(self) -> Sequence[Request]:
        return ()

    @property
    def result(self) -> Request:
        return Request()

    def build(self, views: Sequence[View]) -> Written:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANVIER_CACHE", str(tmp_path))


def body() -> Graph:
    return network()


def test_the_first_candidate_is_taken_where_nothing_is_known() -> None:
    assert str(Choices().pick(body(), [Named("a"), Named("b")])) == "a"
    assert Choices().pick(body(), []) is None


def test_a_known_choice_is_obeyed_while_it_is_a_candidate() -> None:
    choices = Choices({group_key(body()): "b"})
    assert str(choices.pick(body(), [Named("a"), Named("b")])) == "b"
    assert str(choices.pick(body(), [Named("a"), Named("c")])) == "a"


def test_ranks_beyond_the_last_candidate_give_the_last() -> None:
    assert str(Choices(rank=1).pick(body(), [Named("a"), Named("b")])) == "b"
    assert str(Choices(rank=5).pick(body(), [Named("a"), Named("b")])) == "b"


def test_choices_are_kept_beside_earlier_ones() -> None:
    keep_choices(TARGET.info(), {"one": "a"})
    path = keep_choices(TARGET.info(), {"two": "b"})
    assert load_choices(TARGET.info()).plans == {"one": "a", "two": "b"}
    path.write_text("{")
    assert load_choices(TARGET.info()).plans == {}


def test_tuning_keeps_measured_candidates_and_later_programs_use_them() -> None:
    graph = network()
    tuned = tune(graph, rounds=1)
    assert tuned
    assert all(t.chosen in t.seconds and len(t.seconds) > 1 for t in tuned)
    kept = load_choices(TARGET.info()).plans
    assert set(kept.values()) == {t.chosen for t in tuned}

    # Whatever was fastest here: the last of the candidates is asked for.
    last = {key: list(t.seconds)[-1] for key, t in zip(kept, tuned, strict=True)}
    keep_choices(TARGET.info(), last)
    built = build_canonical(graph, TARGET)
    labels = {info.label.partition(" by ")[2] for info in built.program.kernels} - {""}
    assert labels == set(last.values())
    array = np.random.default_rng(1).standard_normal((1, 16, 14, 14)).astype(np.float32)
    (found,) = Executor(built.program, built.library, built.weights).run([array])
    (expected,) = interpret(graph, [array])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
