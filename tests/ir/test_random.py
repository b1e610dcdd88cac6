# SPDX-License-Identifier: MIT
"""Random numbers: known answers, independence of streams, distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ranvier.errors import OpError
from ranvier.ir import Array, Emitter, Op, TensorType, interpret, ops, type_of
from ranvier.ir.ops.random import philox
from ranvier.ir.ops.random_rows import normal_quantile
from ranvier.ir.ops.terms import Term

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


# One key per row

KEYS = np.stack([ops.key_of(9, stream=index, step=4) for index in (3, 0, 2**32 - 1, 12, 3)])


def row_bits(keys: Array, *shape: int, stream: int = 0) -> Array:
    """Return random bits of each key."""
    (result,) = ops.RowBits(shape, stream).evaluate(keys)
    return np.asarray(result)


def test_a_row_is_what_its_key_gives_alone() -> None:
    rows = row_bits(KEYS, 3, 5)
    for row, key in zip(rows, KEYS, strict=True):
        np.testing.assert_array_equal(row, bits(key, 3, 5))


def test_a_row_does_not_depend_on_the_batch() -> None:
    for stream in (0, 6):
        whole = row_bits(KEYS, 7, stream=stream)
        np.testing.assert_array_equal(whole[0], whole[4])
        np.testing.assert_array_equal(whole[[3, 1]], row_bits(KEYS[[3, 1]], 7, stream=stream))


@pytest.mark.parametrize("stream", [0, 1, 2**32 - 1])
def test_row_bits_are_philox_with_the_stream_in_the_counter(stream: int) -> None:
    # The generator's own definition, in Python's integers.
    def reference(key: Array, block: int) -> list[int]:
        x, y, z, w = block, stream, int(key[2]), int(key[3])
        left, right = int(key[0]), int(key[1])
        for _ in range(10):
            first, second = 0xD2511F53 * x, 0xCD9E8D57 * z
            x, y, z, w = (second >> 32) ^ y ^ left, second, (first >> 32) ^ w ^ right, first
            x, y, z, w = (n & 0xFFFFFFFF for n in (x, y, z, w))
            left, right = left + 0x9E3779B9 & 0xFFFFFFFF, right + 0xBB67AE85 & 0xFFFFFFFF
        return [x, y, z, w]

    for key, row in zip(KEYS, row_bits(KEYS, 2, 4, stream=stream), strict=True):
        assert row.tolist() == [reference(key, 0), reference(key, 1)]


def test_streams_of_one_key_are_uncorrelated() -> None:
    columns = [row_bits(KEYS[:1], 4000, stream=k)[0] / 2.0**32 for k in range(8)]
    correlation = np.corrcoef(columns) - np.eye(8)
    assert np.abs(correlation).max() < 0.08


def test_first_numbers_of_many_keys_are_uniform() -> None:
    # One number per sample, as parameters of augmentations are drawn.
    keys = np.stack([ops.key_of(1, stream=index) for index in range(20_000)])
    (x,) = ops.RowUniform(()).evaluate(keys)
    counts, _ = np.histogram(x, 20, (0, 1))
    np.testing.assert_allclose(counts, 1000, atol=150)
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 0.03
    (normal,) = ops.RowNormal((3,), stream=1).evaluate(keys)
    np.testing.assert_allclose([normal.mean(0), normal.std(0)], [[0] * 3, [1] * 3], atol=0.02)
    assert np.abs(np.corrcoef(normal.T) - np.eye(3)).max() < 0.03
    assert abs(np.corrcoef(normal[:, 0] ** 2, normal[:, 2] ** 2)[0, 1]) < 0.03
    (true,) = ops.RowBernoulli((), stream=2).evaluate(keys, np.array(0.3))
    assert abs(true.mean() - 0.3) < 0.01


def test_normal_numbers_of_rows_have_the_normal_distribution() -> None:
    steps = np.arange(0, 2**24, 2**24 // 4001)
    steps = np.unique(np.concatenate([steps, np.arange(40), 2**24 - 1 - np.arange(40)]))
    emit = Emitter()
    unit = emit.argument(TensorType("float32", steps.shape), "u")
    graph = emit.graph("g", [unit], [normal_quantile(Term(emit, unit)).value])
    (found,) = interpret(graph, [(steps / 2**24).astype(np.float32)])
    expected = (steps + 0.5) / 2**24
    below = np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in found.tolist()])
    # Single precision of the number, carried over by the density.
    density = np.exp(-(found.astype(np.float64) ** 2) / 2) / math.sqrt(2 * math.pi)
    assert (np.abs(below - expected) <= 1e-6 * (1 + np.abs(found)) * density + 1e-9).all()
    np.testing.assert_allclose(found[:40], -found[:-41:-1], rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "operands", "message"),
    [
        (ops.RowBits((2,)), (KEYS[0],), r"keys must be uint32\[N, 4\], found uint32\[4\]"),
        (ops.RowBits((2,), -1), (KEYS,), "stream=-1 must be from 0 to below"),
        (ops.RowBits((2**34,)), (KEYS,), "negative or too large"),
        (ops.RowNormal((2,), dtype="int8"), (KEYS,), "random numbers must be floats"),
        (ops.RowBernoulli((2,)), (KEYS, np.zeros(3)), "shapes|do not fit"),
    ],
)
def test_rows_that_cannot_be(op: Op, operands: tuple[Array, ...], message: str) -> None:
    with pytest.raises(OpError, match=message):
        op.infer(*map(type_of, operands))
