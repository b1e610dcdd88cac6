# SPDX-License-Identifier: MIT
"""Real images that come with the package, small enough to train on in a minute."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....ir import Array
from ..archive import read_npz
from ..dataset import ArrayDataset

CLASSES = ("normal", "pneumonia")
"""What the labels of :func:`pneumonia` mean."""


def pneumonia() -> tuple[ArrayDataset, ArrayDataset]:
    """Return chest X-rays of children for training (2428) and validation (270).

    A part of PneumoniaMNIST (CC BY 4.0, see ``pneumonia.LICENSE.txt``) in which normal and
    pneumonia are equally frequent.

    Fields: ``image`` float32 (1, 28, 28) from 0 to 1, ``label`` int64 (), see :data:`CLASSES`.

    References:
        Kermany et al., Identifying medical diagnoses and treatable diseases by image-based deep
        learning, Cell 2018. Yang et al., MedMNIST v2, Scientific Data 2023.

    >>> train, validation = pneumonia()
    >>> len(train), len(validation), train[0]["image"].shape
    (2428, 270, (1, 28, 28))
    """
    arrays = read_npz(Path(__file__).with_name("pneumonia.npz"))
    train, validation = (_part(arrays, part) for part in ("train", "validation"))
    return train, validation


def _part(arrays: dict[str, Array], part: str) -> ArrayDataset:
    images = arrays[f"{part}_images"][:, None].astype(np.float32) / np.float32(255)
    return ArrayDataset(image=images, label=arrays[f"{part}_labels"].astype(np.int64))


__all__ = ["CLASSES", "pneumonia"]
