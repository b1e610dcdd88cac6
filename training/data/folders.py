# SPDX-License-Identifier: MIT
"""Images in folders: by class, or with a mask each. Read with Pillow (extra ``train``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DataError, UnsupportedError
from ...ir import Array
from .dataset import Sample

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class ImageFolder:
    """Images by class: every folder within ``root`` is a class, every image in it a sample.

    Fields: ``image`` float32 (channels, height, width) from 0 to 1, ``label`` int64 (), the
    position of the class in ``classes``.

    Args:
        root: the folder of folders.
        classes: their names, in the order of labels; all folders by name if it is left out.
        channels: 1 for grey, 3 for colours.
        size: (height, width) that images are resized to; else they are as they are.

    Raises:
        DataError: a folder is absent or holds no images.
        UnsupportedError: Pillow is not installed.
    """

    def __init__(
        self,
        root: str | Path,
        classes: Sequence[str] | None = None,
        channels: int = 3,
        size: tuple[int, int] | None = None,
    ) -> None:
        folder = Path(root)
        if not folder.is_dir():
            raise DataError(f"'{folder}' is no folder")
        found = sorted(path.name for path in folder.iterdir() if path.is_dir())
        self.classes = tuple(found if classes is None else classes)
        self.channels = checked_channels(channels)
        self.size = size
        if not self.classes:
            raise DataError(f"'{folder}' has no folders; expected one per class")
        paths = [
            (path, k) for k, name in enumerate(self.classes) for path in images_in(folder / name)
        ]
        self.paths = tuple(path for path, _ in paths)
        self.labels = np.array([label for _, label in paths], np.int64)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Sample:
        """Read an image.

        Raises:
            DataError: the file is damaged.
        """
        image = read_image(self.paths[index], self.channels, self.size)
        return {"image": image, "label": np.asarray(self.labels[index])}


class ImagesWithMasks:
    """Images and masks: two folders whose files have the same names.

    Fields: ``image`` float32 (channels, height, width) from 0 to 1, ``mask`` int64
    (1, height, width), the position of the pixel's grey level in ``levels``.

    Args:
        images: folder of the images.
        masks: folder of the masks; suffixes may differ from those of the images.
        levels: the grey levels of a mask, in the order of classes.
        channels: of the images: 1 for grey, 3 for colours.

    Raises:
        DataError: a folder is absent or empty, or an image has no mask or a mask no image.
        UnsupportedError: Pillow is not installed.
    """

    def __init__(
        self,
        images: str | Path,
        masks: str | Path,
        levels: Sequence[int] = (0, 255),
        channels: int = 1,
    ) -> None:
        self.channels = checked_channels(channels)
        self.levels = tuple(levels)
        if len(set(self.levels)) < len(self.levels) or not all(0 <= n < 256 for n in self.levels):
            raise DataError(f"levels={list(levels)} must be distinct numbers from 0 to 255")
        first, second = ({p.stem: p for p in images_in(Path(f))} for f in (images, masks))
        lonely = sorted(first.keys() ^ second.keys())
        if lonely:
            there = images if lonely[0] in first else masks
            raise DataError(f"'{lonely[0]}' is in '{there}' alone; every image needs a mask")
        self.paths = tuple((path, second[name]) for name, path in first.items())

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Sample:
        """Read an image and its mask.

        Raises:
            DataError: a file is damaged, sizes differ, or a mask has a level that is no class.
        """
        path, mask_path = self.paths[index]
        image = read_image(path, self.channels)
        levels = _pixels(mask_path, 1, None)
        if levels.shape[1:] != image.shape[1:]:
            raise DataError(
                f"mask '{mask_path}' is {list(levels.shape[1:])}, image '{path}' "
                f"{list(image.shape[1:])}"
            )
        table = np.full(256, -1, np.int64)
        table[list(self.levels)] = np.arange(len(self.levels))
        mask = table[np.rint(levels * 255).astype(np.int64)]
        if (mask < 0).any():
            level = int(np.rint(levels[mask < 0][0] * 255))
            raise DataError(
                f"mask '{mask_path}' has the grey level {level}, expected one of levels="
                f"{list(self.levels)}"
            )
        return {"image": image, "mask": mask}


def images_in(folder: Path) -> list[Path]:
    """Return the images of a folder by name, numbers in order of size.

    Raises:
        DataError: it is absent or holds none.
    """
    if not folder.is_dir():
        raise DataError(f"'{folder}' is no folder")
    paths = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()]
    if not paths:
        raise DataError(f"'{folder}' has no images ({', '.join(SUFFIXES)})")
    return sorted(paths, key=lambda path: (len(path.stem), path.name))


def read_image(path: Path, channels: int, size: tuple[int, int] | None = None) -> Array:
    """Return an image as float32 (channels, height, width) from 0 to 1.

    Raises:
        DataError: the file is damaged or no image.
        UnsupportedError: Pillow is not installed.
    """
    return _pixels(path, channels, size)


def checked_channels(channels: int) -> int:
    """Return a number of channels, and make sure that images can be read at all.

    Raises:
        DataError: it is neither 1 nor 3.
        UnsupportedError: Pillow is not installed.
    """
    if channels not in (1, 3):
        raise DataError(f"channels={channels} must be 1 (grey) or 3 (colours)")
    try:
        import PIL.Image  # noqa: F401 - whether it is there
    except ImportError:
        raise UnsupportedError(
            "reading images needs Pillow; install ranvier with the extra 'train'"
        ) from None
    return channels


def _pixels(path: Path, channels: int, size: tuple[int, int] | None) -> Array:
    import PIL.Image

    try:
        with PIL.Image.open(path) as image:
            pixels = _scaled(image, channels, size)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise DataError(f"image '{path}' cannot be read: {error}") from error
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[:channels])


def _scaled(image: Image, channels: int, size: tuple[int, int] | None) -> Array:
    """Return float32 (height, width, channels) from 0 to 1."""
    deep = image.mode.startswith("I")  # 16 bits, which a conversion would cut off at 255
    image = image.convert("F" if deep else "L" if channels == 1 else "RGB")
    if size is not None:
        import PIL.Image

        image = image.resize(size[::-1], PIL.Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.float32) / np.float32(65535 if deep else 255)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return np.repeat(pixels, channels, 2) if pixels.shape[2] < channels else pixels


__all__ = ["ImageFolder", "ImagesWithMasks", "read_image"]
