# SPDX-License-Identifier: MIT
"""Checks what a caller passes to ``run`` against what the model declares."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from .dtypes import Array, name_of_dtype
from .program import OptionalSpec, SequenceSpec, TensorSpec, UnknownSpec, ValueSpec

Sizes = dict[str, tuple[int, str]]
"""Per symbolic dimension its size and the input that gave it."""


def check_feed(specs: Sequence[ValueSpec], feed: Mapping[str, Any]) -> list[Any]:
    """Return the inputs in the model's order, after checking them.

    Nothing is cast: an array of another element type is an error that says how to cast.

    Raises:
        InputError: an input is missing, unknown, not an array, or of the wrong type or shape.
    """
    if not isinstance(feed, Mapping):
        raise InputError(f"inputs must be a dict of names and arrays, found {_kind(feed)}")
    names = [spec.name for spec in specs]
    unexpected = [str(name) for name in feed if name not in names]
    if unexpected:
        raise InputError(f"unexpected input {unexpected[0]!r}{closest(unexpected[0], names)}")
    missing = [spec for spec in specs if spec.name not in feed]
    if missing:
        listed = ", ".join(f"{spec.name!r} ({spec})" for spec in missing)
        raise InputError(f"missing input{'s' if len(missing) > 1 else ''} {listed}")
    sizes: Sizes = {}
    return [_checked(spec, feed[spec.name], f"input {spec.name!r}", sizes) for spec in specs]


def closest(name: str, names: Iterable[str]) -> str:
    """Return a hint that ends a message: the nearest name, or all of them."""
    folded = {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold(), folded, 1)
    if near:
        return f"; did you mean {folded[near[0]]!r}?"
    return f"; there are: {', '.join(map(repr, list(folded.values())[:20])) or 'none'}"


def _checked(spec: ValueSpec | None, value: Any, what: str, sizes: Sizes) -> Any:
    if spec is None or isinstance(spec, UnknownSpec):
        return _any(value, what)
    if isinstance(spec, OptionalSpec):
        return None if value is None else _checked(spec.element, value, what, sizes)
    if isinstance(spec, SequenceSpec):
        if not isinstance(value, list | tuple):
            raise InputError(f"{what}: expected a list ({spec}), found {_kind(value)}")
        # Elements of a sequence may differ in size: each has its own symbols.
        return [_checked(spec.element, v, f"{what}, element {k}", {}) for k, v in enumerate(value)]
    return _tensor(spec, value, what, sizes)


def _any(value: Any, what: str) -> Any:
    """Return a value of a type that the model leaves open, arrays checked to be arrays."""
    if value is None or isinstance(value, list | tuple):
        return value if value is None else [_any(v, what) for v in value]
    if not isinstance(value, np.ndarray | np.generic) or isinstance(value, np.ma.MaskedArray):
        raise InputError(f"{what}: expected a NumPy array, found {_kind(value)}")
    array = np.asarray(value)
    return _strings(array, what) if name_of_dtype(array.dtype) == "string" else array


def _tensor(spec: TensorSpec, value: Any, what: str, sizes: Sizes) -> Array:
    array = _array(spec, value, what)
    found = name_of_dtype(array.dtype)
    if found != spec.dtype:
        raise InputError(f"{what}: expected {spec}, found {found}; {_cast_hint(spec, what)}")
    if array.ndim != len(spec.shape):
        raise InputError(
            f"{what}: expected {len(spec.shape)} dimensions ({spec}), found {array.ndim} "
            f"{list(array.shape)}"
        )
    _check_sizes(spec, array.shape, what, sizes)
    return _strings(array, what) if found == "string" else array


def _check_sizes(spec: TensorSpec, shape: Sequence[int], what: str, sizes: Sizes) -> None:
    for axis, (expected, size) in enumerate(zip(spec.shape, shape, strict=True)):
        if isinstance(expected, int):
            if size != expected:
                raise InputError(
                    f"{what}: expected {spec}, found {list(shape)}: dimension {axis} must be "
                    f"{expected}, is {size}"
                )
            continue
        known, where = sizes.setdefault(expected, (size, what))
        if known != size:
            raise InputError(
                f"{what}: dimension {axis} ({expected!r}) is {size}, "
                f"but {where} says {expected!r} is {known}"
            )


def _array(spec: TensorSpec, value: Any, what: str) -> Array:
    if isinstance(value, np.ma.MaskedArray):
        raise InputError(f"{what}: found a masked array, whose mask would be lost; fill it first")
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        raise InputError(
            f"{what}: expected a NumPy array, found {_kind(value)}; pass it to run_dlpack"
        )
    raise InputError(
        f"{what}: expected a NumPy array ({spec}), found {_kind(value)}; "
        f"pass numpy.asarray(value, dtype={spec.dtype!r})"
    )


def _cast_hint(spec: TensorSpec, what: str) -> str:
    if spec.dtype == "string":
        return "pass an array of str"
    module = "" if hasattr(np, spec.numpy_dtype.name) else "ml_dtypes."
    name = f"{module}{spec.dtype}" if module else repr(spec.dtype)
    return f"nothing is cast silently, use array.astype({name})"


def _strings(array: Array, what: str) -> Array:
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8").astype(object)
    result = array.astype(object)
    for item in result.ravel():
        if not isinstance(item, str):
            raise InputError(f"{what}: expected an array of str, found an element {_kind(item)}")
    return result


def _kind(value: Any) -> str:
    module = type(value).__module__
    name = type(value).__qualname__
    return name if module == "builtins" else f"{module}.{name}"
