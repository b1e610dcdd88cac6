# SPDX-License-Identifier: MIT
"""``ranvier op``: every place that concerns an op."""

from __future__ import annotations

import ast
import difflib
import functools
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import OpError
from .command import Command, Output

if TYPE_CHECKING:
    from rich.console import Console

    from ..ir.op import Op

_ROOT = Path(__file__).resolve().parents[1]
_PLACES = {
    "converters": "frontend",
    "passes": "passes",
    "tests": "tests",
}


@click.command("op", cls=Command)
@click.argument("name")
def command(name: str) -> Output:
    """Show every place that concerns the op NAME.

    NAME is that of an op (relu), of its class (Relu) or of an ONNX operator (Relu). Shows the
    specification, the gradient, the ONNX operators converted to it, its lowering, and the
    passes, tests and samples that mention it.
    """
    classes = _classes(name)
    data = {"name": name, "ops": [_describe(cls) for cls in classes]}
    return Output(data, lambda console: _render(console, data))


def _classes(name: str) -> list[type[Op]]:
    """Return the classes that a name means.

    Raises:
        OpError: it means none; the message suggests the nearest.
    """
    from ..ir import Op, ops  # noqa: F401 - fills the registry

    by_class = {cls.__name__: cls for cls in Op.registry.values()}
    exact = Op.registry.get(name) or by_class.get(name)
    if exact is not None:
        return [exact]
    emitted = _emitted_for(name)
    if emitted:
        return [by_class[c] for c in emitted if c in by_class]
    known = [*Op.registry, *by_class, *_operators()]
    near = difflib.get_close_matches(name, dict.fromkeys(known), 3, 0.6)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "see ir/ops"
    raise OpError(f"no op, class or ONNX operator is called {name!r}; {hint}")


def _describe(cls: type[Op]) -> dict[str, Any]:
    from ..codegen.lowering import base as lowering
    from ..ir.op import Composite, Op

    # Importing the package fills the table of lowerings.
    rule = lowering.LOWERINGS.get(cls)
    places = {title: list(_mentions(_ROOT / folder, cls)) for title, folder in _PLACES.items()}
    samples = [p for p in places["tests"] if p.startswith("tests/samples/")]
    return {
        "op": cls.name,
        "class": cls.__name__,
        "defined": _position(cls),
        "kind": cls.kind.value,
        "specification": inspect.getdoc(cls) or "",
        "attributes": [f.name for f in fields(cls)],  # type: ignore[arg-type]
        "composite": issubclass(cls, Composite),
        "gradient": issubclass(cls, Composite) or cls.vjp is not Op.vjp,
        "operators": sorted(o for o, emitted in _conversions().items() if cls.__name__ in emitted),
        "lowering": _position(rule) if rule else None,
        **places,
        "tests": [*(p for p in places["tests"] if p not in samples), *_golden(cls)],
        "samples": samples,
    }


def _position(thing: Any) -> str:
    """Return file and line of a class or function."""
    path = Path(inspect.getsourcefile(thing) or "").resolve()
    _, line = inspect.getsourcelines(thing)
    return f"{_relative(path)}:{line}"


def _relative(path: Path) -> str:
    return path.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT) else str(path)


def _mentions(folder: Path, cls: type[Op]) -> Iterator[str]:
    """Yield file and line of each top-level definition that refers to the class."""
    for path in sorted(folder.rglob("*.py")) if folder.is_dir() else []:
        text = path.read_text(encoding="utf-8")
        if cls.__name__ not in text:
            continue  # parsing is the slow part
        for statement in ast.parse(text).body:
            lines = [n.lineno for n in _references(statement, cls.__name__)]
            if lines:
                yield f"{_relative(path)}:{min(lines)}"


def _golden(cls: type[Op]) -> Iterator[str]:
    """Yield the golden texts in which the op occurs."""
    word = re.compile(rf"= {re.escape(cls.name)}\(")
    for path in sorted((_ROOT / "tests" / "golden").rglob("*.txt")):
        if word.search(path.read_text(encoding="utf-8")):
            yield _relative(path)


def _references(statement: ast.stmt, name: str) -> Iterator[ast.expr]:
    for node in ast.walk(statement):
        found = getattr(node, "attr" if isinstance(node, ast.Attribute) else "id", None)
        if found == name and isinstance(node, ast.expr):
            yield node


# ONNX operators


def _operators() -> list[str]:
    return list(_conversions())


def _emitted_for(operator: str) -> set[str]:
    return _conversions().get(operator, set())


@functools.cache
def _conversions() -> dict[str, set[str]]:
    """Return for every converted ONNX operator the names that its converter refers to."""
    found: dict[str, set[str]] = {}
    for path in sorted((_ROOT / "frontend").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for statement in ast.parse(text).body if "@converter" in text else []:
            for operator in _converter_names(statement):
                found.setdefault(operator, set()).update(_names(statement))
    return found


def _converter_names(statement: ast.stmt) -> Iterator[str]:
    for decorator in getattr(statement, "decorator_list", []):
        called = decorator.func if isinstance(decorator, ast.Call) else None
        if isinstance(called, ast.Name) and called.id == "converter":
            for argument in decorator.args:
                if isinstance(argument, ast.Constant):
                    yield str(argument.value)


def _names(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


def _render(console: Console, data: dict[str, Any]) -> None:
    for op in data["ops"]:
        attributes = ", ".join(op["attributes"]) or "none"
        gradient = "has a gradient" if op["gradient"] else "no gradient"
        kind = f"composite, {op['kind']}" if op["composite"] else op["kind"]
        console.print(f"{op['op']} ({op['class']}), {kind}, {gradient}", style="bold")
        console.print(f"  {op['specification']}".replace("\n", "\n  "))
        console.print(f"  attributes  {attributes}")
        console.print(f"  defined     {op['defined']}")
        console.print(f"  ONNX        {', '.join(op['operators']) or 'none directly'}")
        lowering = op["lowering"] or ("by its expansion" if op["composite"] else "none")
        console.print(f"  lowering    {lowering}")
        for title in ("converters", "passes", "tests", "samples"):
            places = op[title]
            for k, place in enumerate(places or ["none"]):
                console.print(f"  {title if k == 0 else '':<11} {place}")
        console.print()
