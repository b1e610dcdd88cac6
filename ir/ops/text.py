# SPDX-License-Identifier: MIT
"""Ops on strings; the executor runs them with NumPy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..op import Arrays, Types
from ..types import INTEGERS, Array, TensorType, Type
from .broadcasting import broadcast_types
from .host import HostOp
from .regex import regex


class TextOp(HostOp):
    """Base of ops on string tensors."""

    def strings(self, inputs: Types, count: int) -> tuple[TensorType, ...]:
        """Return the operand types after checking that they are tensors of strings."""
        tensors = self.tensors(inputs, count)
        for k, t in enumerate(tensors):
            if t.dtype != "string":
                raise self.error(f"operand {k} must hold strings, found {t}")
        return tensors


@dataclass(frozen=True)
class StringConcat(TextOp):
    """``x`` followed by ``y``, element by element, broadcast as in NumPy.

    No gradient. ONNX: StringConcat-20.
    """

    name: ClassVar[str] = "string_concat"

    def infer(self, *inputs: Type) -> Types:
        """Return strings of the broadcast shape."""
        return (broadcast_types(self, *self.strings(inputs, 2)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Concatenate."""
        x, y = (np.asarray(a, object) for a in inputs)
        return (np.asarray(x + y, object),)


@dataclass(frozen=True)
class StringSplit(TextOp):
    """The parts of each string between delimiters, and how many there are.

    Shapes:
        ``x`` of shape ``S`` gives strings of shape ``S + [n0]``, filled up with empty ones to
        the largest number of parts, and int64 counts of shape ``S``.

    No gradient. ONNX: StringSplit-20.

    Attributes:
        delimiter: what to cut at; if empty, any run of white space, ignored at both ends.
        maxsplit: how often to cut at most; negative for no limit.
    """

    name: ClassVar[str] = "string_split"
    delimiter: str = ""
    maxsplit: int = -1

    def infer(self, *inputs: Type) -> Types:
        """Return parts and counts."""
        (x,) = self.strings(inputs, 1)
        return TensorType("string", (*x.shape, "n0")), TensorType("int64", x.shape)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Split each string and fill up."""
        x = np.asarray(inputs[0], object)
        rows = [text.split(self.delimiter or None, self.maxsplit) for text in x.ravel()]
        parts = np.full((len(rows), max(map(len, rows), default=0)), "", object)
        for row, found in zip(parts, rows, strict=True):
            row[: len(found)] = found
        counts = np.array([len(row) for row in rows], np.int64)
        return parts.reshape(*x.shape, parts.shape[1]), counts.reshape(x.shape)


@dataclass(frozen=True)
class StringNormalizer(TextOp):
    """The strings without stop words, in lower or upper case.

    Case follows Unicode, whatever the locale; ONNX leaves the locale to the implementation.

    Shapes:
        ``[C]`` gives ``[n0]``, ``[1, C]`` gives ``[1, n0]``; if every word is a stop word,
        the result holds one empty string.

    No gradient. ONNX: StringNormalizer-10.

    Attributes:
        stopwords: words that are left out.
        case: ``none``, ``lower`` or ``upper``.
        case_sensitive: whether a stop word must agree in case.
    """

    name: ClassVar[str] = "string_normalizer"
    stopwords: tuple[str, ...] = ()
    case: str = "none"
    case_sensitive: bool = False

    def infer(self, *inputs: Type) -> Types:
        """Return strings of unknown number, or of the operand's shape without stop words."""
        (x,) = self.strings(inputs, 1)
        if self.case not in {"none", "lower", "upper"}:
            raise self.error(f"case is {self.case!r}, expected none, lower or upper")
        if x.rank not in {1, 2} or (x.rank == 2 and x.shape[0] != 1):
            raise self.error(f"expected strings of shape [C] or [1, C], found {x}")
        return (TensorType("string", (*x.shape[:-1], "n0")),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Leave out, then change case."""
        x = np.asarray(inputs[0], object)

        def key(word: str) -> str:
            return word if self.case_sensitive else word.lower()

        stop = {key(word) for word in self.stopwords}
        words = [word for word in x.ravel() if key(word) not in stop] or [""]
        if self.case != "none":
            words = [getattr(word, self.case)() for word in words]
        return (np.array(words, object).reshape(*x.shape[:-1], len(words)),)


@dataclass(frozen=True)
class RegexFullMatch(TextOp):
    """Whether each string matches ``pattern`` (RE2 syntax) from beginning to end.

    Time is linear in the text for every pattern. No gradient. ONNX: RegexFullMatch-20.
    """

    name: ClassVar[str] = "regex_full_match"
    pattern: str

    def infer(self, *inputs: Type) -> Types:
        """Return a bool for each string."""
        (x,) = self.strings(inputs, 1)
        regex(self.pattern)
        return (TensorType("bool", x.shape),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Match each string."""
        x, compiled = inputs[0], regex(self.pattern)
        found = [compiled.matches(text) for text in np.asarray(x, object).ravel()]
        return (np.array(found, np.bool_).reshape(x.shape),)


@dataclass(frozen=True)
class TfIdfVectorizer(HostOp):
    """How often each n-gram of a pool occurs in ``x``, possibly weighted.

    An n-gram is a run of n items, or n items with ``s`` items skipped between neighbours, for
    every ``s`` up to ``max_skip``.

    Shapes:
        ``[C]`` gives float32 ``[D]``, ``[N, C]`` gives ``[N, D]``, where ``D - 1`` is the
        largest of ``indexes``.

    No gradient. ONNX: TfIdfVectorizer-9.

    Attributes:
        pool: items of all n-grams, one after another: first 1-grams, then 2-grams, ...
        starts: where in the pool the n-grams of each length start (``ngram_counts``).
        indexes: position in the result of each n-gram (``ngram_indexes``).
        weights: weight of each n-gram; empty for ones.
        mode: ``TF`` (counts), ``IDF`` (weight if it occurs) or ``TFIDF`` (count times weight).
        min_length: shortest n-gram counted.
        max_length: longest n-gram counted.
        max_skip: most items skipped between neighbours.
    """

    name: ClassVar[str] = "tfidf_vectorizer"
    pool: tuple[int | str, ...]
    starts: tuple[int, ...]
    indexes: tuple[int, ...]
    weights: tuple[float, ...] = ()
    mode: str = "TF"
    min_length: int = 1
    max_length: int = 1
    max_skip: int = 0

    def infer(self, *inputs: Type) -> Types:
        """Return one number per position of the result."""
        (x,) = self.tensors(inputs, 1)
        kind = "string" if any(isinstance(p, str) for p in self.pool) else "integer"
        if x.rank not in {1, 2} or (x.dtype == "string") != (kind == "string"):
            raise self.error(f"expected a vector or matrix of {kind} items, found {x}")
        if x.dtype not in INTEGERS | {"string"} or self.mode not in {"TF", "IDF", "TFIDF"}:
            raise self.error(f"cannot take {x} in mode {self.mode!r}")
        grams = list(self._grams())
        if len(grams) != len(self.indexes) or min(self.indexes, default=-1) < 0:
            raise self.error(
                f"the pool holds {len(grams)} n-grams, there are {len(self.indexes)} indexes"
            )
        if self.weights and len(self.weights) != len(grams):
            raise self.error(f"{len(self.weights)} weights for {len(grams)} n-grams")
        return (TensorType("float32", (*x.shape[:-1], max(self.indexes) + 1)),)

    def _grams(self) -> Iterator[tuple[int | str, ...]]:
        """The n-grams of the pool in order."""
        ends = (*self.starts[1:], len(self.pool))
        if any(not 0 <= a <= b for a, b in zip(self.starts, ends, strict=True)):
            raise self.error(f"starts {list(self.starts)} do not cut the pool of {ends[-1]} items")
        for k, (start, end) in enumerate(zip(self.starts, ends, strict=True)):
            for at in range(start, end - k, k + 1):
                yield self.pool[at : at + k + 1]

    def evaluate(self, *inputs: Any) -> Arrays:
        """Count the n-grams of each row."""
        x = np.asarray(inputs[0])
        known = {gram: k for k, gram in enumerate(self._grams())}
        weights = np.array(self.weights or (1.0,) * len(known), np.float32)
        y = np.zeros((*x.shape[:-1], max(self.indexes) + 1), np.float32)
        for row, out in zip(x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1]), strict=True):
            for gram, count in Counter(self._found(row)).items():
                if gram in known:
                    k = known[gram]
                    times = 1 if self.mode == "IDF" else count
                    out[self.indexes[k]] += times * (1 if self.mode == "TF" else weights[k])
        return (y,)

    def _found(self, row: Array) -> Iterator[tuple[int | str, ...]]:
        items = row.tolist()
        for length in range(self.min_length, self.max_length + 1):
            # Skips make no difference between the items of a 1-gram.
            for step in range(1, (self.max_skip if length > 1 else 0) + 2):
                for at in range(len(items) - (length - 1) * step):
                    yield tuple(items[at : at + (length - 1) * step + 1 : step])


__all__ = ["RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer"]
