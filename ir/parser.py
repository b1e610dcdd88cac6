# SPDX-License-Identifier: MIT
"""Reads the textual form of graphs; errors carry the line number and what was expected."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import OpError, ParseError
from .attributes import ArrayAttribute
from .graph import Graph, Node, Value
from .op import op_named
from .printer import digest
from .types import (
    Array,
    Dim,
    OptionalType,
    SequenceType,
    TensorType,
    Type,
    UnknownType,
    numpy_dtype,
)

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<value>%(?:"(?:[^"\\]|\\.)*"|[A-Za-z_][\w.]*))
    | (?P<symbol>@(?:"(?:[^"\\]|\\.)*"|[A-Za-z_][\w.]*))
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<digest>sha256:[0-9a-f]{64})
    | (?P<hex>0x[0-9a-f]*)
    | (?P<number>-?(?:inf|nan|\d+(?:\.\d*)?(?:e[-+]?\d+)?))(?![\w.])
    | (?P<word>[A-Za-z_][\w.]*)
    | (?P<punct>[(){}\[\]<>,:=?])
    )""",
    re.VERBOSE | re.ASCII,
)
_MAX_DEPTH = 64


def parse_graph(text: str, parameters: Mapping[str, Array] | None = None) -> Graph:
    """Read one graph.

    Args:
        text: what :func:`~ranvier.ir.printer.print_graph` wrote.
        parameters: arrays of the parameters that the text gives as digests only, by name
            or by digest (the parameters of regions may share a name).

    Raises:
        ParseError: the text breaks the grammar, names an unknown op or value, or a
            parameter's array is missing or does not match its digest.
    """
    parser = _Parser(text, parameters or {})
    graph = parser.graph()
    parser.end()
    return graph


class _Parser:
    def __init__(self, text: str, parameters: Mapping[str, Array]) -> None:
        self.text = text
        self.given = parameters
        self.position = 0
        self.depth = 0
        self.kind = ""
        self.token = ""
        self.advance()

    # Tokens

    def advance(self) -> str:
        """Step to the next token and return the one left behind."""
        before = self.token
        rest = re.compile(r"\s*\Z").match(self.text, self.position)
        if rest:
            self.kind, self.token = "end", ""
            self.start = len(self.text)
            return before
        match = _TOKEN.match(self.text, self.position)
        if match is None:
            self.start = self.position
            found = self.text[self.position :].lstrip()[:20]
            raise self.error(f"unexpected characters {found!r}")
        self.kind = match.lastgroup or ""
        self.token = match[self.kind]
        self.start = match.start(self.kind)
        self.position = match.end()
        return before

    def error(self, message: str) -> ParseError:
        number = self.text.count("\n", 0, self.start) + 1
        lines = self.text.splitlines()
        line = lines[number - 1].strip() if number <= len(lines) else ""
        return ParseError(f"line {number}: {message}: {line[:120]!r}")

    def expect(self, token: str) -> None:
        if self.token != token or self.kind == "string":
            raise self.error(f"expected {token!r}, found {self.token or 'end of text'!r}")
        self.advance()

    def accept(self, token: str) -> bool:
        if self.token == token and self.kind != "string":
            self.advance()
            return True
        return False

    def name(self, kind: str) -> str:
        if self.kind != kind:
            raise self.error(f"expected a {kind}, found {self.token or 'end of text'!r}")
        body = self.advance()[1:]
        return self.unquote(body) if body.startswith('"') else body

    def unquote(self, token: str) -> str:
        try:
            return str(json.loads(token))
        except ValueError:
            raise self.error(f"bad string {token!r}") from None

    def end(self) -> None:
        if self.kind != "end":
            raise self.error(f"expected the end of the text, found {self.token!r}")

    # Grammar

    def graph(self) -> Graph:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.error(f"regions nested deeper than {_MAX_DEPTH}")
        self.expect("graph")
        name = self.name("symbol")
        env: dict[str, Value] = {}
        self.expect("(")
        inputs = tuple(self.declarations(env, ")"))
        self.expect(")")
        self.expect("{")
        parameters: dict[str, Array] = {}
        while self.accept("param"):
            self.parameter(env, parameters)
        nodes: list[Node] = []
        while self.token != "return":
            nodes.append(self.node(env))
        self.advance()
        outputs = tuple(self.uses(env))
        self.expect("}")
        self.depth -= 1
        return Graph(name, inputs, tuple(nodes), outputs, parameters)

    def declarations(self, env: dict[str, Value], stop: str) -> list[Value]:
        values: list[Value] = []
        while self.token != stop:
            name = self.name("value")
            self.expect(":")
            if name in env:
                raise self.error(f"%{name} is defined twice")
            env[name] = Value(name, self.type())
            values.append(env[name])
            if not self.accept(","):
                break
        return values

    def type(self) -> Type:
        if self.accept("?"):
            return UnknownType()
        if self.token in ("sequence", "optional"):
            wrap = SequenceType if self.token == "sequence" else OptionalType
            self.advance()
            self.expect("<")
            element = self.type()
            self.expect(">")
            return wrap(element)
        dtype = self.dtype()
        return TensorType(dtype, self.shape())

    def dtype(self) -> str:
        dtype = self.advance()
        try:
            numpy_dtype(dtype)
        except OpError as error:
            raise self.error(str(error)) from None
        return dtype

    def shape(self) -> tuple[Dim, ...]:
        self.expect("[")
        dims: list[Dim] = []
        while self.token != "]":
            if self.kind == "number" and self.token.isdigit():
                dims.append(int(self.advance()))
            elif self.kind == "string":
                dims.append(self.unquote(self.advance()))
            elif self.kind == "word" or self.token in ("inf", "nan"):
                dims.append(self.advance())
            else:
                raise self.error(f"expected a dimension, found {self.token!r}")
            if not self.accept(","):
                break
        self.expect("]")
        return tuple(dims)

    def parameter(self, env: dict[str, Value], parameters: dict[str, Array]) -> None:
        name = self.name("value")
        self.expect(":")
        dtype = self.dtype()
        shape = tuple(d for d in self.shape() if isinstance(d, int))
        self.expect("=")
        if name in env:
            raise self.error(f"%{name} is defined twice")
        parameters[name] = self.array(name, dtype, shape)
        env[name] = Value(name, TensorType(dtype, shape))

    def array(self, name: str, dtype: str, shape: tuple[int, ...]) -> Array:
        if self.kind == "digest":
            expected = self.advance().removeprefix("sha256:")
            array = self.given.get(expected, self.given.get(name))
            if array is None:
                raise self.error(f"parameter %{name} is given as a digest, its array is missing")
            if digest(array) != expected:
                raise self.error(f"the array of parameter %{name} does not match its digest")
            return array
        return self.elements(dtype, shape)

    def elements(self, dtype: str, shape: tuple[int, ...]) -> Array:
        count = math.prod(shape)
        kind = numpy_dtype(dtype)
        if self.kind == "hex":
            data = bytes.fromhex(self.advance()[2:])
            if len(data) != count * kind.itemsize:
                raise self.error(f"expected {count * kind.itemsize} bytes, found {len(data)}")
            return np.frombuffer(data, kind).reshape(shape)
        items = self.literal()
        if not isinstance(items, tuple) or len(items) != count:
            raise self.error(f"expected {count} elements")
        array = np.empty(count, kind)
        array[:] = items
        return array.reshape(shape)

    def node(self, env: dict[str, Value]) -> Node:
        at = self.start
        fresh: dict[str, Value] = dict(env)
        outputs = self.declarations(fresh, "=") if self.kind == "value" else []
        if outputs:
            self.expect("=")
        if self.kind != "word":
            raise self.error(f"expected an op, found {self.token or 'end of text'!r}")
        name = self.token
        try:
            kind = op_named(name)
        except OpError as error:
            raise self.error(str(error)) from None
        self.advance()
        self.expect("(")
        inputs = self.uses(env)
        self.expect(")")
        attributes = self.attributes()
        try:
            op = kind(**attributes)
        except (TypeError, ValueError, OpError) as error:
            self.start = at
            raise self.error(f"op {name!r} refuses its attributes ({error})") from None
        env.update((v.name, v) for v in outputs)
        return Node(op, tuple(inputs), tuple(outputs))

    def uses(self, env: dict[str, Value]) -> list[Value]:
        values: list[Value] = []
        while self.kind == "value":
            at = self.start
            name = self.name("value")
            if name not in env:
                self.start = at
                raise self.error(f"%{name} is used before its definition")
            values.append(env[name])
            if not self.accept(","):
                break
        return values

    def attributes(self) -> dict[str, Any]:
        attributes: dict[str, Any] = {}
        if not self.accept("{"):
            return attributes
        while self.token != "}":
            if self.kind != "word":
                raise self.error(f"expected an attribute's name, found {self.token!r}")
            name = self.advance()
            self.expect("=")
            attributes[name] = self.literal()
            if not self.accept(","):
                break
        self.expect("}")
        return attributes

    def literal(self) -> Any:
        if self.kind == "string":
            return self.unquote(self.advance())
        if self.kind == "number":
            text = self.advance()
            return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
        if self.token == "graph":
            return self.graph()
        if self.accept("array"):
            dtype = self.dtype()
            shape = tuple(d for d in self.shape() if isinstance(d, int))
            return ArrayAttribute(self.elements(dtype, shape))
        if self.token in ("True", "False", "None"):
            return {"True": True, "False": False, "None": None}[self.advance()]
        return self.tuple()

    def tuple(self) -> tuple[Any, ...]:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.error(f"tuples nested deeper than {_MAX_DEPTH}")
        self.expect("(")
        items: list[Any] = []
        while self.token != ")":
            items.append(self.literal())
            if not self.accept(","):
                break
        self.expect(")")
        self.depth -= 1
        return tuple(items)
