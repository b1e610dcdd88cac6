# SPDX-License-Identifier: MIT
"""Frozen dataclasses to JSON and back; whatever does not fit the annotations is refused."""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

from ..errors import ArtifactError

T = TypeVar("T")
Decoder = Callable[[Any, str], Any]

TAG = "@"
"""Key under which an object names its class; no field can be called so."""

_MAX_DEPTH = 200
"""Deeper documents are refused before they are walked; Python's own limit is near 1000."""


def encode(value: Any) -> Any:
    """Return ``value`` as JSON types; a dataclass becomes an object tagged with its class.

    >>> from ranvier.runtime.program import BufferRef
    >>> encode(BufferRef("arena", 0, 64))
    {'@': 'BufferRef', 'space': 'arena', 'index': 0, 'offset': 64, 'strides': []}
    """
    if is_dataclass(value) and not isinstance(value, type):
        body = {f.name: encode(getattr(value, f.name)) for f in fields(value)}
        return {TAG: type(value).__name__, **body}
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"{value!r} has no place in a manifest")


def decode(cls: type[T], data: Any, where: str) -> T:
    """Return the ``cls`` that ``data`` describes.

    Args:
        cls: a dataclass whose annotations are ``int``, ``str``, ``bool``, ``None``,
            dataclasses, unions and ``tuple[X, ...]`` of them.
        data: what ``json.loads`` gave.
        where: what the data belongs to, for messages.

    Raises:
        ArtifactError: a key is missing or unknown, or a value has the wrong type.
    """
    return typing.cast(T, _object_decoder(typing.cast(Any, cls))(data, where))


def parse_object(text: str | bytes, where: str) -> dict[str, Any]:
    """Return the JSON object in ``text``.

    Raises:
        ArtifactError: the text is not JSON, not an object, repeats a key or nests too deep.
    """
    try:
        data = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: not valid JSON ({error})") from None
    if not isinstance(data, dict):
        raise ArtifactError(f"{where}: expected a JSON object, found {_name(data)}")
    _limit_depth(data, where)
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return result


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _limit_depth(data: Any, where: str) -> None:
    level = [data]
    for _ in range(_MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    raise ArtifactError(f"{where}: nested deeper than {_MAX_DEPTH}")


def _children(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return list(item.values())
    return item if isinstance(item, list) else []


@functools.cache
def _object_decoder(cls: Any) -> Decoder:
    hints = typing.get_type_hints(cls)
    # Looked up at first use: a step holds steps, so the decoders are mutually recursive.
    names = {f.name: (hints[f.name], f.default is MISSING) for f in fields(cls)}

    def read(data: Any, where: str) -> Any:
        if not isinstance(data, dict) or data.get(TAG) != cls.__name__:
            raise _mismatch(where, f"an object of kind {cls.__name__}", data)
        unknown = sorted(str(k) for k in data.keys() - names.keys() - {TAG})
        if unknown:
            raise ArtifactError(f"{where}: unknown key {unknown[0]!r}")
        values: dict[str, Any] = {}
        for name, (hint, required) in names.items():
            if name in data:
                values[name] = _decoder(hint)(data[name], f"{where}.{name}")
            elif required:
                raise ArtifactError(f"{where}: key {name!r} is missing")
        try:
            return cls(**values)
        except ArtifactError as error:
            raise ArtifactError(f"{where}: {error}") from None

    return read


@functools.cache
def _decoder(hint: Any) -> Decoder:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _union_decoder(typing.get_args(hint))
    if origin is typing.Literal:
        return _literal_decoder(typing.get_args(hint))
    if origin is tuple:
        return _tuple_decoder(typing.get_args(hint))
    if is_dataclass(hint) and isinstance(hint, type):
        return _object_decoder(hint)
    return _scalar_decoder(hint)


def _scalar_decoder(expected: type[Any]) -> Decoder:
    def read(data: Any, where: str) -> Any:
        # `type is` keeps true out of integers.
        if type(data) is not expected:
            raise _mismatch(where, expected.__name__, data)
        return data

    return read


def _literal_decoder(choices: tuple[Any, ...]) -> Decoder:
    def read(data: Any, where: str) -> Any:
        if not isinstance(data, str) or data not in choices:
            raise _mismatch(where, f"one of {', '.join(map(str, choices))}", data)
        return data

    return read


def _tuple_decoder(arguments: tuple[Any, ...]) -> Decoder:
    element = arguments[0]

    def read(data: Any, where: str) -> Any:
        if not isinstance(data, list):
            raise _mismatch(where, "a list", data)
        item = _decoder(element)
        return tuple(item(value, f"{where}[{k}]") for k, value in enumerate(data))

    return read


def _union_decoder(choices: tuple[Any, ...]) -> Decoder:
    classes = {c.__name__: c for c in choices if is_dataclass(c) and isinstance(c, type)}
    scalars = tuple(c for c in choices if not is_dataclass(c))
    expected = ", ".join(
        [*classes, *("None" if c is types.NoneType else c.__name__ for c in scalars)]
    )

    def read(data: Any, where: str) -> Any:
        kind = data.get(TAG) if isinstance(data, dict) else None
        if isinstance(kind, str) and kind in classes:
            return _object_decoder(classes[kind])(data, where)
        if type(data) in scalars:
            return data
        raise _mismatch(where, f"one of {expected}", data)

    return read


def _mismatch(where: str, expected: str, data: Any) -> ArtifactError:
    return ArtifactError(f"{where}: expected {expected}, found {_name(data)}")


def _name(data: Any) -> str:
    if isinstance(data, dict):
        kind = data.get(TAG)
        return f"an object of kind {kind!r}"[:80] if kind is not None else "an object"
    return "a list" if isinstance(data, list) else repr(data)[:80]
