# SPDX-License-Identifier: MIT
"""Passes by name, their predicates and options, and running lists of them."""

from __future__ import annotations

import pytest

from ranvier.errors import PassError, VerificationError
from ranvier.ir import Graph, parse_graph
from ranvier.ir.verify import PREDICATES
from ranvier.passes import CANONICAL, PASSES, TARGET_READY, TRAINING, Pass, pass_named, run_passes

GRAPH = parse_graph(
    """graph @g(%x: float32[4]) {
  %a: float32[4] = neg(%x)
  %b: float32[4] = neg(%a)
  %y: float32[4] = exp(%b)
  return %y
}"""
)
UNTYPED = parse_graph(
    """graph @g(%x: float32[4]) {
  %y: float32[5] = exp(%x)
  return %y
}"""
)


def _break(graph: Graph) -> Graph:
    """Return another graph, which lacks what the pass ensures."""
    return UNTYPED


def test_names_are_kebab_case_of_their_functions() -> None:
    for name, one in PASSES.items():
        assert name == one.name == one.function.__name__.replace("_", "-")


def test_every_pass_says_what_it_does() -> None:
    for one in PASSES.values():
        assert one.summary.endswith((".", ";", ":")), one.name
        assert set(one.requires) | set(one.ensures) <= PREDICATES.keys()


def test_pipelines_name_passes() -> None:
    assert {*CANONICAL, *TARGET_READY, *TRAINING} == PASSES.keys()


def test_unknown_pass_lists_the_known_ones() -> None:
    with pytest.raises(PassError, match=r"unknown pass 'fold'; known: .*fold-constants"):
        pass_named("fold")


def test_unknown_option_lists_the_known_ones() -> None:
    message = r"pass 'fold-constants' has no option 'size'; it has: limit, growth"
    with pytest.raises(PassError, match=message):
        run_passes(GRAPH, ["fold-constants"], options={"fold-constants": {"size": 1}})
    with pytest.raises(PassError, match=r"'canonicalise' has no option 'size'; it has: none"):
        PASSES["canonicalise"](GRAPH, size=1)


def test_options_of_a_pass_that_is_not_run_are_refused() -> None:
    with pytest.raises(PassError, match="options are given for pass 'fuse', which is not among"):
        run_passes(GRAPH, ["canonicalise"], options={"fuse": {}})


def test_nothing_to_do_returns_the_same_object() -> None:
    done = run_passes(GRAPH, (*CANONICAL, *TARGET_READY))
    for name in {*CANONICAL, *TARGET_READY}:
        assert PASSES[name](done) is done, name


def test_required_predicates_are_checked_on_request() -> None:
    run_passes(UNTYPED, ["eliminate-dead-nodes"], check=True)
    with pytest.raises(VerificationError, match="exp infers"):
        run_passes(UNTYPED, ["canonicalise"], check=True)


def test_ensured_predicates_are_checked_on_request() -> None:
    broken = Pass("break", _break, ensures=("typed",))
    assert run_passes(GRAPH, [broken]) is UNTYPED
    with pytest.raises(VerificationError, match="exp infers"):
        run_passes(GRAPH, [broken], check=True)


def test_observer_sees_each_step() -> None:
    seen: list[tuple[str, int, int]] = []

    def observe(one: Pass, before: Graph, after: Graph, seconds: float) -> None:
        assert seconds >= 0
        seen.append((one.name, len(before.nodes), len(after.nodes)))

    run_passes(GRAPH, ["canonicalise", PASSES["fuse"]], observe=observe)
    assert seen == [("canonicalise", 3, 1), ("fuse", 1, 1)]
