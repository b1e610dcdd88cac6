# SPDX-License-Identifier: MIT
"""Writes ops on strings and tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir import Node, ops
from ..export import Exporter, Names, exporter, tensor


@exporter(ops.StringConcat, since=20)
def string_concat(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a concatenation of elements."""
    e.node("StringConcat", inputs, outputs)


@exporter(ops.StringSplit, since=20)
def string_split(
    e: Exporter, op: ops.StringSplit, node: Node, inputs: Names, outputs: Names
) -> None:
    """Write a split; ONNX says "no limit" by leaving it out."""
    limit = op.maxsplit if op.maxsplit >= 0 else None
    e.node("StringSplit", inputs, outputs, delimiter=op.delimiter, maxsplit=limit)


@exporter(ops.StringNormalizer)
def string_normalizer(
    e: Exporter, op: ops.StringNormalizer, node: Node, inputs: Names, outputs: Names
) -> None:
    """Write the removal of stop words and the change of case."""
    e.node(
        "StringNormalizer",
        inputs,
        outputs,
        stopwords=list(op.stopwords) or None,
        case_change_action=op.case.upper(),
        is_case_sensitive=int(op.case_sensitive),
    )


@exporter(ops.RegexFullMatch, since=20)
def regex_full_match(
    e: Exporter, op: ops.RegexFullMatch, node: Node, inputs: Names, outputs: Names
) -> None:
    """Write a match of whole strings."""
    e.node("RegexFullMatch", inputs, outputs, pattern=op.pattern)


@exporter(ops.TfIdfVectorizer)
def tfidf_vectorizer(
    e: Exporter, op: ops.TfIdfVectorizer, node: Node, inputs: Names, outputs: Names
) -> None:
    """Write a count of n-grams."""
    strings = any(isinstance(item, str) for item in op.pool)
    e.node(
        "TfIdfVectorizer",
        inputs,
        outputs,
        pool_strings=list(op.pool) if strings else None,
        pool_int64s=None if strings else list(op.pool),
        ngram_counts=list(op.starts),
        ngram_indexes=list(op.indexes),
        weights=list(op.weights) or None,
        mode=op.mode,
        min_gram_length=op.min_length,
        max_gram_length=op.max_length,
        max_skip_count=op.max_skip,
    )


@exporter(ops.LookUp)
def look_up(e: Exporter, op: ops.LookUp, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a LabelEncoder of ai.onnx.ml, whose version 4 takes tables of any type."""
    default = np.asarray(op.default.array).reshape(1)
    e.node(
        "LabelEncoder",
        inputs,
        outputs,
        domain="ai.onnx.ml",
        keys_tensor=tensor(op.keys.array, "keys"),
        values_tensor=tensor(op.values.array, "values"),
        default_tensor=tensor(default, "default"),
    )
