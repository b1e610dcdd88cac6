# SPDX-License-Identifier: MIT
"""Random numbers: known answers, independence of streams, distributions."""

from __future__ import annotations

import numpy as np
import pytest

from ranvier.errors import OpError
from ranvier.ir import Array, ops
from ranvier.ir.ops.random import philox

MANY = (200, 100)


def bits(key: Array, *shape: int) -> Array:
    """Return random bits."""
    (result,) = ops.RandomBits(shape).evaluate(key)
    return np.asarray(result)


@pytest.mark.parametrize(
    ("key", "block", "words"),
    [
        ((0, 0, 0, 0), 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, 2**64 - 1, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0xA4093822, 0x299F31D0, 0x13198A2E, 0x03707344),
            0x85A308D3243F6A88,
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(
    key: tuple[int, ...], block: int, words: str
) -> None:
    found = philox(np.array(key, np.uint32), np.array([block], np.uint64))[0]
    assert " ".join(f"{w:08x}" for w in found.tolist()) == words


def test_a_part_is_what_the_whole_begins_with() -> None:
    key = ops.key_of(5)
    np.testing.assert_array_equal(bits(key, 7), bits(key, 3, 4).ravel()[:7])


@pytest.mark.parametrize("other", [ops.key_of(6), ops.key_of(5, 1), ops.key_of(5, 0, 1)])
def test_seed_stream_and_step_change_everything(other: Array) -> None:
    assert np.mean(bits(ops.key_of(5), 1000) == bits(other, 1000)) < 0.01


def test_streams_are_uncorrelated() -> None:
    columns = [bits(ops.key_of(5, stream), 4000) / 2.0**32 for stream in range(8)]
    correlation = np.corrcoef(columns) - np.eye(8)
    assert np.abs(correlation).max() < 0.08


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_numbers_are_uniform(dtype: str) -> None:
    (x,) = ops.RandomUniform(MANY, -1.0, 3.0, dtype).evaluate(ops.key_of(1))
    assert x.min() >= -1
    assert x.max() < 3
    counts, _ = np.histogram(x, 20, (-1, 3))
    np.testing.assert_allclose(counts, 1000, atol=150)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers_are_normal(dtype: str) -> None:
    (x,) = ops.RandomNormal(MANY, 2.0, 3.0, dtype).evaluate(ops.key_of(1))
    z = (x.astype(np.float64) - 2) / 3
    moments = [np.mean(z**k) for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.12)
    assert np.isfinite(z).all()


def test_classes_are_drawn_by_their_probabilities() -> None:
    logits = np.log(np.array([[0.1, 0.6, 0.3], [0.5, 0.0, 0.5]], np.float32) + 1e-30)
    (drawn,) = ops.Multinomial(4000).evaluate(logits, ops.key_of(3))
    shares = [[np.mean(row == k) for k in range(3)] for row in drawn]
    np.testing.assert_allclose(shares, [[0.1, 0.6, 0.3], [0.5, 0.0, 0.5]], atol=0.03)


def test_keys_without_seed_differ_from_run_to_run() -> None:
    (first,), (second,) = ops.RandomKey().evaluate(), ops.RandomKey().evaluate()
    assert (first != second).any()


def test_random_integers_are_refused() -> None:
    with pytest.raises(OpError, match="random numbers must be floats, found 'int8'"):
        ops.RandomUniform((2,), dtype="int8").evaluate(ops.key_of(1))
