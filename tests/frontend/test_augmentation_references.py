# SPDX-License-Identifier: MIT
"""Augmentations against formulas in float64, and against torch where it is installed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from augmented import (
    ONES,
    RANDOM,
    ZERO,
    changed_image,
    keys_of,
    run,
)
from ranvier.frontend import builder as nn
from ranvier.frontend.builder import augmentation as aug
from ranvier.frontend.builder.augmentation import Interpolation
from ranvier.ir import Array, interpret


def bilinear(x: Array, row: float, column: float) -> float:
    """Return an image at a point, zeros outside."""
    top, left = int(np.floor(row)), int(np.floor(column))
    total = 0.0
    for i in (top, top + 1):
        for j in (left, left + 1):
            if 0 <= i < x.shape[0] and 0 <= j < x.shape[1]:
                total += float(x[i, j]) * (1 - abs(row - i)) * (1 - abs(column - j))
    return total


def inverse_map(
    rotation: float, scale: float, shear: float, shift: tuple[float, float], size: tuple[int, int]
) -> Callable[[int, int], tuple[float, float]]:
    """Return where an element of the result is read, with matrices of (row, column)."""
    a, s = np.deg2rad(rotation), np.tan(np.deg2rad(shear))
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    matrix = turn @ (scale * np.eye(2)) @ np.array([[1, 0], [s, 1]])
    middle = (np.array(size) - 1) / 2
    inverse = np.linalg.inv(matrix)

    def at(i: int, j: int) -> tuple[float, float]:
        row, column = inverse @ (np.array([i, j]) - middle - np.array(shift)) + middle
        return float(row), float(column)

    return at


@pytest.mark.parametrize(
    ("rotation", "scale", "shear", "shift"),
    [(30, 1, 0, 0), (0, 1.5, 0, 0), (0, 1, 20, 0), (0, 1, 0, 0.25), (-70, 0.6, 10, -0.1)],
)
def test_affine_is_the_map_that_it_says(
    rotation: float, scale: float, shear: float, shift: float
) -> None:
    image = RANDOM.random((1, 1, 7, 10)).astype(np.float32)
    found = changed_image(
        aug.affine(
            rotation=(rotation, rotation),
            scale=(scale, scale),
            shear=(shear, shear),
            translation=(shift, shift),
        ),
        image,
        keys_of(4),
    )
    at = inverse_map(rotation, scale, shear, (7 * shift, 10 * shift), (7, 10))
    expected = [[bilinear(image[0, 0], *at(i, j)) for j in range(10)] for i in range(7)]
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_affine_is_torchs(mode: str, padding: str) -> None:
    torch = pytest.importorskip("torch")
    image = RANDOM.random((2, 3, 7, 10)).astype(np.float32)
    how = Interpolation(mode, padding)
    augmentation = aug.affine(rotation=(33, 33), scale=(0.8, 0.8), interpolation=how)
    found = changed_image(augmentation, image, keys_of(4, 5))
    at = inverse_map(33, 0.8, 0, (0, 0), (7, 10))
    points = np.array([[at(i, j)[::-1] for j in range(10)] for i in range(7)])
    grid = np.stack([(points + 0.5) * 2 / np.array([10, 7]) - 1] * 2)
    modes = {"linear": "bilinear", "cubic": "bicubic"}
    expected = torch.nn.functional.grid_sample(
        torch.from_numpy(image.astype(np.float64)),
        torch.from_numpy(grid),
        modes.get(mode, mode),
        padding,
        align_corners=False,
    )
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-5)


def test_rotation_is_counter_clockwise() -> None:
    image = np.zeros((1, 1, 5, 5), np.float32)
    image[0, 0, 2, 4] = 1  # right of the middle
    found = changed_image(aug.rotate((90, 90)), image, keys_of(0))
    assert np.unravel_index(found[0, 0].argmax(), (5, 5)) == (0, 2)
    np.testing.assert_allclose(found[0, 0], np.rot90(image[0, 0]), atol=1e-6)


def test_volumes_are_tilted_about_both_other_axes() -> None:
    def quarter(first: int, second: int) -> Array:
        matrix = np.eye(3, dtype=int)
        matrix[[first, second], [first, second]] = 0
        matrix[first, second], matrix[second, first] = 1, -1
        return matrix

    image = RANDOM.random((1, 1, 5, 5, 5)).astype(np.float32)
    found = changed_image(aug.affine(tilt=(90, 90)), image, keys_of(0))[0, 0]
    expected = np.empty_like(found)
    for at in np.ndindex(5, 5, 5):
        # The last rotation is undone first.
        source = quarter(0, 1) @ quarter(0, 2) @ (np.array(at) - 2) + 2
        expected[at] = image[0, 0][tuple(source)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_quarter_turns_are_all_four() -> None:
    image = np.repeat(RANDOM.random((1, 1, 4, 4)).astype(np.float32), 200, 0)
    found = changed_image(aug.quarter_turns(), image, keys_of(*range(200)))
    times = [sum(np.array_equal(x[0], np.rot90(image[0, 0], k)) for x in found) for k in range(4)]
    assert sum(times) == 200
    assert min(times) > 30


def test_whole_image_is_resized_without_keys() -> None:
    fields = {"image": RANDOM.random((2, 3, 6, 9)).astype(np.float32)}
    found = run(aug.resized_crop((12, 5)), fields, None)["image"]
    x = nn.input("x", (2, 3, 6, 9))
    graph = nn.graph("g", [x], [nn.resize(x, (12, 5), "linear")])
    (expected,) = interpret(graph, [fields["image"]])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_middle_is_cut_out() -> None:
    image = RANDOM.random((2, 1, 7, 6)).astype(np.float32)
    found = changed_image(aug.centre_crop((3, 4)), image, keys_of(0, 1))
    np.testing.assert_array_equal(found, image[:, :, 2:5, 1:5])


def test_blur_is_a_gaussian() -> None:
    image = np.zeros((1, 1, 21, 21), np.float32)
    image[0, 0, 10, 10] = 1
    found = changed_image(aug.gaussian_blur((1.5, 1.5)), image, keys_of(0))[0, 0]
    distance = np.hypot(*np.mgrid[-10:11, -10:11])
    expected = np.exp(-(distance**2) / (2 * 1.5**2))
    expected *= np.all(np.abs(np.mgrid[-10:11, -10:11]) <= 5, axis=0)
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-6)


def test_a_third_of_a_turn_exchanges_colours() -> None:
    image = RANDOM.random((1, 3, 2, 2)).astype(np.float32)
    turn = aug.colour_jitter(ONES, ONES, ONES, (120.0, 120.0))
    found = changed_image(turn, image, keys_of(0))
    np.testing.assert_allclose(found, np.roll(image, 1, 1), atol=1e-6)


def test_colours_in_numbers() -> None:
    image = RANDOM.random((2, 3, 4, 4)).astype(np.float32)
    weights = np.array([0.299, 0.587, 0.114])[:, None, None]
    x = image.astype(np.float64) * 1.2
    x = x * 0.7 + 0.3 * (x * weights).sum(1).mean((1, 2))[:, None, None, None]
    x = x * 1.5 - 0.5 * (x * weights).sum(1, keepdims=True)
    jitter = aug.colour_jitter((1.2, 1.2), (0.7, 0.7), (1.5, 1.5), ZERO)
    found = changed_image(jitter, image, keys_of(0, 1))
    np.testing.assert_allclose(found, x, atol=1e-6)


def test_intensities_in_numbers() -> None:
    image = (RANDOM.random((2, 2, 4, 4)) * 3 - 1).astype(np.float32)
    keys = keys_of(0, 1)
    cases = {
        aug.brightness((0.25, 0.25)): image + 0.25,
        aug.contrast((0.5, 0.5)): image / 2 + image.mean((1, 2, 3), keepdims=True) / 2,
        aug.gamma((2, 2), -1, 3): np.clip((image + 1) / 4, 0, 1) ** 2 * 4 - 1,
        aug.normalize((1, 2), (0.5, 4)): (image - np.array([[[1]], [[2]]]))
        / np.array([[[0.5]], [[4]]]),
        aug.to_float(0.5): image * 0.5,
    }
    for augmentation, expected in cases.items():
        np.testing.assert_allclose(changed_image(augmentation, image, keys), expected, atol=1e-5)
