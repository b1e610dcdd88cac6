# SPDX-License-Identifier: MIT
"""Augmentations draw what they say: probabilities, ranges, moments; mixing of samples."""

from __future__ import annotations

import numpy as np
import pytest

from agreement import Compiled, assert_agree
from augmented import (
    BLANK,
    KEYS,
    MANY,
    RANDOM,
    changed_image,
    keys_of,
    run,
)
from ranvier.frontend.builder import augmentation as aug
from ranvier.frontend.builder.augmentation import Augmentation
from ranvier.frontend.builder.augmentation.mixing import beta_quantiles


def test_probabilities_are_shares() -> None:
    image = BLANK.copy()
    image[..., 0] = 1
    for p in (0.1, 0.5, 0.9):
        found = changed_image(aug.flip(probability=p), image, KEYS)
        assert abs(np.mean(found[:, 0, 0, 1]) - p) < 0.03
        found = changed_image(aug.maybe(aug.brightness((2, 2)), p), image, KEYS)
        assert abs(np.mean(found[:, 0, 0, 0] == 3) - p) < 0.03
    three = aug.one_of(*(aug.brightness((k, k)) for k in (1.0, 2.0, 3.0)))
    counts = np.bincount(changed_image(three, BLANK, KEYS)[:, 0, 0, 0].astype(int), minlength=4)
    np.testing.assert_allclose(counts / MANY, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.03)


def test_parameters_fill_their_range() -> None:
    found = changed_image(aug.brightness((-1, 3)), BLANK, KEYS)[:, 0, 0, 0]
    counts, _ = np.histogram(found, 10, (-1, 3))
    np.testing.assert_allclose(counts, MANY / 10, rtol=0.25)


def test_every_crop_is_equally_likely() -> None:
    image = np.broadcast_to(np.arange(12.0, dtype=np.float32).reshape(3, 4), (MANY, 1, 3, 4))
    corner = changed_image(aug.random_crop(2), image, KEYS)[:, 0, 0, 0].astype(int)
    counts = np.bincount(corner, minlength=12).reshape(3, 4)
    assert counts[2:].sum() == counts[:, 3:].sum() == 0
    np.testing.assert_allclose(counts[:2, :3], MANY / 6, rtol=0.15)


@pytest.mark.parametrize(
    ("augmentation", "variance", "kurtosis"),
    [
        (aug.gaussian_noise((0.5, 0.5)), 0.25, 3),
        (aug.laplace_noise((0.5, 0.5)), 0.25, 6),
        (aug.poisson_noise((4, 4), 0.1), 0.04, 3.25),
        (aug.poisson_noise((40, 40), 0.1), 0.4, 3.025),
    ],
)
def test_moments_of_noise(augmentation: Augmentation, variance: float, kurtosis: float) -> None:
    noise = changed_image(augmentation, BLANK, KEYS).astype(np.float64)
    mean = variance / 0.1 if variance in (0.04, 0.4) else 0
    assert abs(noise.mean() - mean) < 4 * np.sqrt(variance / noise.size)
    z = (noise - mean) / np.sqrt(variance)
    assert abs(np.mean(z**2) - 1) < 0.06
    assert abs(np.mean(z**4) - kurtosis) < 0.15 * kurtosis
    flat = noise.reshape(MANY, 4)
    assert np.abs(np.corrcoef(flat.T) - np.eye(4)).max() < 0.06


def test_shares_of_salt_and_pepper() -> None:
    image = np.full((MANY, 2, 2, 2), 0.5, np.float32)
    grain = aug.salt_and_pepper((0.4, 0.4), salt=0.75, low=-1, high=2, per_channel=True)
    found = changed_image(grain, image, KEYS)
    shares = [np.mean(found == value) for value in (-1, 0.5, 2)]
    np.testing.assert_allclose(shares, [0.1, 0.6, 0.3], atol=0.02)
    assert abs(np.mean((found[:, 0] == 0.5) & (found[:, 1] == 0.5)) - 0.36) < 0.02
    together = changed_image(aug.salt_and_pepper((0.4, 0.4)), image, KEYS)
    np.testing.assert_array_equal(together[:, 0], together[:, 1])


def test_boxes_are_as_large_as_asked() -> None:
    image = np.ones((400, 1, 40, 40), np.float32)
    keys = KEYS[:400]
    hidden = changed_image(aug.cutout((0.25, 0.25)), image, keys)[:, 0] == 0
    for mask in hidden:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask[np.ix_(rows, columns)].all()
        assert len(rows) <= 11
        assert len(columns) <= 11
    # Boxes that lie inside are 10 x 10.
    inside = [m.sum() for m in hidden if not (m[0] | m[-1] | m[:, 0] | m[:, -1]).any()]
    assert set(inside) <= {81, 90, 99, 100, 110, 121}
    dropped = changed_image(aug.coarse_dropout((0.3, 0.3), 7), image, keys)[:, 0] == 0
    assert abs(dropped.mean() - 0.3) < 0.02
    cell = dropped[:, 7:14, 14:21]
    np.testing.assert_array_equal(cell.all((1, 2)), cell.any((1, 2)))


def test_resized_crops_have_the_share_and_ratio() -> None:
    # Two ramps tell where a part begins and ends.
    ramps = np.indices((64, 64)).astype(np.float32)
    image = np.broadcast_to(ramps, (500, 2, 64, 64))
    crop = aug.resized_crop(8, (0.2, 0.4), (0.5, 2.0))
    found = changed_image(crop, image, KEYS[:500]).astype(np.float64)
    height = (found[:, 0, -2, 0] - found[:, 0, 1, 0]) / 5 * 8 / 64
    width = (found[:, 1, 0, -2] - found[:, 1, 0, 1]) / 5 * 8 / 64
    shares, ratios = height * width, width / height
    assert 0.19 < shares.min() < 0.21
    assert 0.39 < shares.max() < 0.41
    assert abs(shares.mean() - 0.3) < 0.01
    assert 0.49 < ratios.min() < 0.52
    assert 1.95 < ratios.max() < 2.01
    assert abs(np.log(ratios).mean()) < 0.06


def test_displacements_have_their_deviation() -> None:
    ramp = np.broadcast_to(np.arange(65, dtype=np.float32)[:, None], (200, 1, 65, 65))
    found = changed_image(aug.elastic((1.0, 1.0), 16), ramp, KEYS[:200])
    moved = found[:, 0, 32, 32] - 32  # a point of the grid, far from the border
    assert abs(moved.mean()) < 0.25
    assert abs(moved.std() - 1) < 0.15


# Mixing


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.0, 8.0])
def test_quantiles_of_beta(alpha: float) -> None:
    table = beta_quantiles(alpha, 1024)
    drawn = np.sort(np.random.default_rng(0).beta(alpha, alpha, 400_000))
    np.testing.assert_allclose(
        table[1:-1:64], np.quantile(drawn, np.arange(1, 1024, 64) / 1024), atol=4e-3
    )
    assert (np.diff(table) >= 0).all()
    np.testing.assert_allclose(table + table[::-1], 1, atol=1e-6)


def test_mixup_mixes_image_and_label_alike(compiled: Compiled) -> None:
    fields = {
        "image": RANDOM.random((4, 1, 3, 3)).astype(np.float32),
        "label": np.eye(4, dtype=np.float32),
    }
    augmentation = aug.mixup(1.0)
    found = run(augmentation, fields, keys_of(0, 1, 2, 3))
    share = np.diag(found["label"])
    assert len(set(share.tolist())) == 4
    np.testing.assert_allclose(found["label"].sum(1), 1, atol=1e-6)
    expected = np.tensordot(found["label"], fields["image"], 1)
    np.testing.assert_allclose(found["image"], expected, atol=1e-6)
    for field, array in run(augmentation, fields, keys_of(0, 1, 2, 3), compiled).items():
        assert_agree(array, found[field])


def test_shares_of_mixup() -> None:
    fields = {"image": BLANK, "label": np.tile(np.eye(2, dtype=np.float32), (MANY // 2, 1))}
    share = run(aug.mixup(0.5), fields, KEYS)["label"][::2, 0].astype(np.float64)
    assert abs(share.mean() - 0.5) < 0.03
    assert abs(share.var() - 1 / 8) < 0.01  # 1 / (4 (2 alpha + 1))
