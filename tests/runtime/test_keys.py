# SPDX-License-Identifier: MIT
"""Keys of specialisations, and element types by name."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from ranvier.errors import ArtifactError
from ranvier.ir.types import DTYPES, dtype_name, numpy_dtype
from ranvier.runtime import key_of
from ranvier.runtime.dtypes import DTYPE_NAMES, dtype_named, name_of_dtype
from ranvier.runtime.keys import digest_of, type_text


def test_element_types_are_those_of_the_ir() -> None:
    assert DTYPE_NAMES == DTYPES
    for name in DTYPES:
        assert dtype_named(name) == numpy_dtype(name)
        assert name_of_dtype(numpy_dtype(name)) == dtype_name(numpy_dtype(name)) == name


def test_other_types_keep_their_own_name() -> None:
    assert name_of_dtype(np.dtype(">f4")) == "float32"
    assert name_of_dtype(np.dtype("<U3")) == name_of_dtype(np.dtype("S3")) == "string"
    assert name_of_dtype(np.dtype("datetime64[s]")) == "datetime64[s]"
    with pytest.raises(ArtifactError, match="unknown element type 'float31'"):
        dtype_named("float31")


def test_keys_tell_types_values_and_stages_apart() -> None:
    a = np.zeros((2, 3), np.float32)
    keys = [
        key_of([a]),
        key_of([a.reshape(3, 2)]),
        key_of([a.astype(ml_dtypes.bfloat16)]),
        key_of([a], {0}),
        key_of([a + 1], {0}),
        key_of([a], stage="s"),
        key_of([[a]]),
        key_of([[a, a]]),
        key_of([None]),
    ]
    assert len(set(keys)) == len(keys)
    assert key_of([a + 1]) == key_of([a])


def test_keys_read_well() -> None:
    a = np.zeros((2, 3), np.float32)
    assert str(key_of([a, [a, None]])) == "(float32[2, 3], sequence<float32[2, 3], none>)"
    assert str(key_of([a], {0})).startswith("(float32[2, 3] = ")
    assert str(key_of([a], stage="0123456789")).startswith("stage 01234567: ")


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(0),
        np.array("text", object),
        [np.zeros(1), [np.zeros(2)]],
        None,
        np.zeros((4, 4))[::2, ::2],
    ],
    ids=["empty", "string", "nested", "none", "strided"],
)
def test_every_value_has_a_digest(value: object) -> None:
    assert len(digest_of(value)) == 64
    assert type_text(value)


def test_digests_see_contents_at_any_depth() -> None:
    a, b = np.zeros(2), np.ones(2)
    values = [a, b, [a], [b], [[a]], [[b]], np.array(["a"], object), np.array(["b"], object)]
    assert len({digest_of(v) for v in values}) == len(values)
