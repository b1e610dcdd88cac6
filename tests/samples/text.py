# SPDX-License-Identifier: MIT
"""Samples of the ops on strings."""

from __future__ import annotations

import numpy as np

from ranvier.ir import Array, ops
from samples import Sample


def text(*words: object) -> Array:
    return np.array(words, object)


WORDS = text("Monday", "tuesday", "", "WEDNESDAY")
TITLES = text(["a,b,,c", "d"], ["", ","])
ITEMS = np.array([[1, 1, 3, 3, 3, 7], [8, 6, 7, 5, 6, 8]], np.int64)
POOL = (2, 3, 5, 4, 5, 6, 7, 8, 6, 7)

SAMPLES = [
    Sample(ops.StringConcat(), (text(["a"], ["b"]), text("x", "y", "")), gradient=False),
    Sample(ops.StringSplit(","), (TITLES,), gradient=False),
    Sample(ops.StringSplit(), (text("  two  words ", ""),), "white", gradient=False),
    Sample(ops.StringSplit(",", 1), (TITLES,), "once", gradient=False),
    Sample(ops.StringSplit(), (np.zeros((2, 0), object),), "empty", gradient=False),
    Sample(ops.StringNormalizer(("monday",), "upper"), (WORDS,), gradient=False),
    Sample(
        ops.StringNormalizer(("monday", "tuesday"), "lower", True),
        (WORDS.reshape(1, -1),),
        "sensitive",
        gradient=False,
    ),
    Sample(ops.StringNormalizer(("x",)), (text("X", "x"),), "all-stopped", gradient=False),
    Sample(
        ops.RegexFullMatch(r"[\w.]+@(?i:x|Y)\.[a-z]{2,3}"), (text("a.b@X.de", "@"),), gradient=False
    ),
    Sample(
        ops.TfIdfVectorizer(POOL, (0, 4), tuple(range(7)), max_length=2, max_skip=1),
        (ITEMS,),
        gradient=False,
    ),
    Sample(
        ops.TfIdfVectorizer(("a", "b", "a", "b"), (0, 2), (2, 0, 1), (0.5, 2.0, 3.0), "IDF", 1, 2),
        (text("a", "a", "b"),),
        "idf",
        gradient=False,
    ),
    Sample(
        ops.TfIdfVectorizer(("a", "b"), (0,), (0, 1), (0.5, 2.0), "TFIDF"),
        (text("a", "a", "c"),),
        "tfidf",
        gradient=False,
    ),
]
