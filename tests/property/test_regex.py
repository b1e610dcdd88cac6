# SPDX-License-Identifier: MIT
"""The linear-time matcher agrees with Python's on patterns that both understand."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.errors import OpError
from ranvier.ir.ops.regex import Regex

ATOMS = ("a", "b", ".", "[ab]", "[^a]", r"\d", r"\W", r"\.", "[a-c1]", "a?", "b*?", "")
QUANTIFIERS = ("*", "+", "?", "{1,2}", "{2}", "{0,1}", "{1,}", "+?")


def grouped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(QUANTIFIERS)).map(lambda t: f"(?:{t[0]}){t[1]}"),
        inner.map(lambda part: f"(?i:{part})"),
    )


patterns = st.recursive(st.sampled_from(ATOMS), grouped, max_leaves=8)
texts = st.lists(st.text("abAB1. \n", max_size=7), min_size=1, max_size=8)


@given(patterns, texts)
def test_agrees_with_python(pattern: str, words: list[str]) -> None:
    expected = re.compile(pattern, re.ASCII)
    found = Regex(pattern)
    for word in words:
        assert found.matches(word) == (expected.fullmatch(word) is not None), (pattern, word)


def test_time_is_linear() -> None:
    start = time.process_time()
    assert not Regex("(a*)*(a|a)*b").matches("a" * 20_000)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"(?i)abc\.[[:digit:]]+\pL", "AbC.12é", True),
        (r"[^[:alpha:]\s]", "a", False),
        (r"\Qa.b\E+", "a.bb", True),
        (r"^\bfoo\b$", "foo", True),
        (r"foo\B", "foo", False),
        ("a{,2}", "a{,2}", True),
        (r"\x41\x{1F600}", "A\U0001f600", True),
        ("(?s).(?-s:.)", "\n\n", False),
        ("(?P<name>a)(?:b)", "ab", True),
        ("[]a]+", "]a]", True),
        ("(?m)a$\n^b", "a\nb", True),
        (r"\p{Lu}\P{Lu}", "Aa", True),
    ],
)
def test_syntax_of_re2(pattern: str, text: str, expected: bool) -> None:
    assert Regex(pattern).matches(text) is expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "position 1: a closing parenthesis is missing"),
        (")", "position 0: a closing parenthesis too many"),
        ("*a", "nothing to repeat"),
        ("a**", "two repetition operators in a row"),
        ("[b-a]", "a malformed range of characters"),
        ("[a", "ends too early"),
        ("(?=a)", r"\(\?= is not supported"),
        (r"(a)\1", r"\\1 is not supported"),
        ("a{1001}", "a repetition of"),
        ("((a{1000}){1000})", "is too large"),
        ("(" * 200, "groups are nested too deeply"),
        ("[[:x:]]", "the character class .* is unknown"),
        (r"\p{Greek}", "the character property 'Greek' is not supported"),
    ],
)
def test_what_it_refuses(pattern: str, message: str) -> None:
    with pytest.raises(OpError, match=message):
        Regex(pattern)
