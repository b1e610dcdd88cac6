# SPDX-License-Identifier: MIT
"""Operators on strings."""

from __future__ import annotations

from ...ir import Value, ops
from ..convert import Conversion, converter


@converter("StringConcat")
def string_concat(c: Conversion) -> Value:
    """Concatenate element by element."""
    return c.emit(ops.StringConcat(), c.operand(0), c.operand(1))


@converter("StringSplit")
def string_split(c: Conversion) -> tuple[Value, ...]:
    """Split at a delimiter."""
    op = ops.StringSplit(c.attr("delimiter", ""), c.attr("maxsplit", -1))
    return c.emit.multi(op, c.operand(0))


@converter("StringNormalizer")
def string_normalizer(c: Conversion) -> Value:
    """Leave out stop words and change case; the locale makes no difference."""
    op = ops.StringNormalizer(
        stopwords=c.attr("stopwords", ()),
        case=c.attr("case_change_action", "NONE").lower(),
        case_sensitive=bool(c.attr("is_case_sensitive", 0)),
    )
    return c.emit(op, c.operand(0))


@converter("RegexFullMatch")
def regex_full_match(c: Conversion) -> Value:
    """Match whole strings."""
    return c.emit(ops.RegexFullMatch(c.attr("pattern", "")), c.operand(0))


@converter("TfIdfVectorizer")
def tfidf_vectorizer(c: Conversion) -> Value:
    """Count n-grams."""
    op = ops.TfIdfVectorizer(
        pool=c.attr("pool_strings", ()) or c.attr("pool_int64s", ()),
        starts=c.attr("ngram_counts"),
        indexes=c.attr("ngram_indexes"),
        weights=c.attr("weights", ()),
        mode=c.attr("mode"),
        min_length=c.attr("min_gram_length"),
        max_length=c.attr("max_gram_length"),
        max_skip=c.attr("max_skip_count"),
    )
    return c.emit(op, c.operand(0))
