# SPDX-License-Identifier: MIT
"""Before and after texts of every pass, one idea a file; ``--update-golden`` rewrites the latter.

A file is ``<pass-name>/<idea>.txt``::

    // What it shows, in a sentence.
    // options: {"keyword": "value"}      (only where the pass gets some)
    // input
    graph @g(...) { ... }
    // ---
    graph @g(...) { ... }
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agreement import assert_agree
from arrays import inputs_for
from ranvier.ir import Graph, interpret, parse_graph, print_graph, verify
from ranvier.ir.verify import holds
from ranvier.passes import PASSES, TRAINING, Pass

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*/*.txt"))
START, SEPARATOR = "// input\n", "// ---\n"
LONGEST = 40
"""Lines of a file: thirty of graphs and the comments."""


@dataclass(frozen=True)
class Golden:
    """One file, taken apart."""

    path: Path
    head: str
    before: str
    after: str

    @property
    def rule(self) -> Pass:
        """The pass that the folder is named after."""
        return PASSES[self.path.parent.name]

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the pass."""
        lines = [x for x in self.head.splitlines() if x.startswith("// options:")]
        return dict(ast.literal_eval(lines[0].partition(":")[2].strip())) if lines else {}

    def apply(self, graph: Graph) -> Graph:
        """Run the pass on ``graph``."""
        return self.rule(graph, **self.options)


def read(path: Path) -> Golden:
    """Take a file apart; it may lack the expected text while it is being written."""
    head, start, rest = path.read_text(encoding="utf-8").partition(START)
    assert start, f"{path}: the line '// input' is missing"
    before, _, after = rest.partition(SEPARATOR)
    return Golden(path, head, before, after)


def name_of(path: Path) -> str:
    """Return the name of a case: pass and idea."""
    return f"{path.parent.name}/{path.stem}"


every_file = pytest.mark.parametrize("path", FILES, ids=name_of)


@every_file
def test_text_after_the_pass(path: Path, request: pytest.FixtureRequest) -> None:
    golden = read(path)
    result = print_graph(golden.apply(parse_graph(golden.before)))
    if request.config.getoption("--update-golden"):
        text = golden.head + START + golden.before + SEPARATOR + result
        path.write_text(text, encoding="utf-8")
    else:
        assert result == golden.after, "if the new text is right: pytest --update-golden"


@every_file
def test_predicates_of_the_pass_hold(path: Path) -> None:
    golden = read(path)
    before = verify(parse_graph(golden.before), ("ssa", *golden.rule.requires))
    after = verify(golden.apply(before), ("ssa", *golden.rule.ensures))
    assert [v.type for v in after.inputs] == [v.type for v in before.inputs]
    assert [v.type for v in after.outputs] == [v.type for v in before.outputs]
    assert [v.name for v in after.outputs] == [v.name for v in before.outputs]


@every_file
def test_twice_is_once(path: Path) -> None:
    golden = read(path)
    once = golden.apply(parse_graph(golden.before))
    assert print_graph(golden.apply(once)) == print_graph(once)


@every_file
def test_values_stay(path: Path) -> None:
    golden = read(path)
    before = parse_graph(golden.before)
    if not holds(before, "canonical"):
        pytest.skip("an imported graph cannot be evaluated")
    after = golden.apply(before)
    for seed in range(3):
        inputs = inputs_for(before, seed)
        results = zip(interpret(after, inputs), interpret(before, inputs), strict=True)
        for value, (actual, expected) in zip(before.outputs, results, strict=True):
            assert_agree(actual, expected, 1e-4, 1e-5, f"%{value.name}, seed {seed}")


@every_file
def test_file_shows_one_idea(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("// "), "the first line says what the file shows"
    assert not text.startswith(START), "the first line says what the file shows"
    assert len(text.splitlines()) <= LONGEST


def test_every_pass_has_a_file() -> None:
    # Those of TRAINING add outputs, so that before and after do not compare.
    assert sorted(PASSES.keys() - {p.parent.name for p in FILES} - set(TRAINING)) == []


def test_every_folder_is_a_pass() -> None:
    assert sorted({p.parent.name for p in FILES} - PASSES.keys()) == []
