# SPDX-License-Identifier: MIT
"""Folders of images: values, classes, masks, and files that are not what they should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ranvier.errors import DataError
from ranvier.ir import Array
from ranvier.training.data import ImageFolder, ImagesWithMasks

Image = pytest.importorskip("PIL.Image")

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (5, 4, 3), np.uint8)
GREY = RANDOM.integers(0, 256, (6, 4), np.uint8)
MASK = np.where(RANDOM.random((6, 4)) < 0.5, 0, 255).astype(np.uint8)


def save(path: Path, pixels: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, count in (("b", 2), ("a", 1), ("other", 1)):
        for k in range(count):
            save(tmp_path / name / f"{k}.png", COLOURS)
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    return tmp_path


def test_folders_are_classes(root: Path) -> None:
    data = ImageFolder(root)
    assert data.classes == ("a", "b", "other")
    assert data.labels.tolist() == [0, 1, 1, 2]
    chosen = ImageFolder(root, ("b", "a"))
    assert [int(chosen[k]["label"]) for k in range(len(chosen))] == [0, 0, 1]


def test_pixels_are_from_0_to_1(root: Path) -> None:
    image = ImageFolder(root)[0]["image"]
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, COLOURS.transpose(2, 0, 1) / 255, rtol=1e-6)
    grey = ImageFolder(root, channels=1)[0]["image"]
    weights = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey[0], COLOURS @ weights / 255, atol=1 / 255)
    assert ImageFolder(root, size=(7, 9))[0]["image"].shape == (3, 7, 9)


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    deep = RANDOM.integers(0, 2**16, (3, 5)).astype(np.uint16)
    save(tmp_path / "a" / "0.png", deep)
    for channels in (1, 3):
        image = ImageFolder(tmp_path, channels=channels)[0]["image"]
        np.testing.assert_allclose(image, np.stack([deep / 65535] * channels), rtol=1e-6)


def pairs(folder: Path, mask: Array = MASK) -> tuple[Path, Path]:
    for name in ("10", "9"):
        save(folder / "image" / f"{name}.png", GREY)
        save(folder / "label" / f"{name}.tif", mask)
    return folder / "image", folder / "label"


def test_masks_are_numbers_of_classes(tmp_path: Path) -> None:
    data = ImagesWithMasks(*pairs(tmp_path))
    assert [path.stem for path, _ in data.paths] == ["9", "10"]
    sample = data[1]
    assert sample["image"].shape == (1, 6, 4)
    assert sample["mask"].dtype == np.int64
    np.testing.assert_array_equal(sample["mask"][0], MASK == 255)
    turned = ImagesWithMasks(*pairs(tmp_path), levels=(255, 0))[1]["mask"]
    np.testing.assert_array_equal(turned[0], MASK == 0)


def without_mask(folder: Path) -> None:
    images, masks = pairs(folder)
    (masks / "9.tif").unlink()
    ImagesWithMasks(images, masks)


def damaged(folder: Path) -> None:
    save(folder / "a" / "0.png", COLOURS)
    path = folder / "a" / "0.png"
    path.write_bytes(path.read_bytes()[:60])
    ImageFolder(folder)[0]


def no_image(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "0.png").write_text("hello")
    ImageFolder(folder)[0]


def empty_class(folder: Path) -> None:
    (folder / "a").mkdir()
    ImageFolder(folder)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda folder: ImageFolder(folder / "absent"), "absent' is no folder"),
        (ImageFolder, "has no folders; expected one per class"),
        (empty_class, "has no images (.png"),
        (lambda folder: ImageFolder(folder, channels=2), "channels=2 must be 1 (grey) or 3"),
        (damaged, "0.png' cannot be read"),
        (no_image, "0.png' cannot be read"),
        (without_mask, "alone; every image needs a mask"),
        (
            lambda folder: ImagesWithMasks(*pairs(folder, MASK[:3]))[0],
            "9.tif' is [3, 4], image",
        ),
        (
            lambda folder: ImagesWithMasks(*pairs(folder, MASK // 2))[0],
            "has the grey level 127, expected one of levels=[0, 255]",
        ),
        (
            lambda folder: ImagesWithMasks(*pairs(folder), levels=(0, 0)),
            "levels=[0, 0] must be distinct",
        ),
    ],
)
def test_mistakes_are_named(
    mistake: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        mistake(tmp_path)
    assert message in str(caught.value)
