# SPDX-License-Identifier: MIT
"""What is learned from real images: the data, the network, the schedule, and what to reach."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.errors import InputError

from .engines import Unavailable

if TYPE_CHECKING:
    from ranvier.frontend.builder import Network
    from ranvier.training.data import ArrayDataset, DataLoader
    from ranvier.training.metrics import Metric

CORPUS_VARIABLE = "RANVIER_CORPUS"
"""Names the folder whose ``data`` has the images that do not come with ranvier."""

Loaders = tuple["DataLoader", "DataLoader"]


@dataclass(frozen=True)
class Recipe:
    """How a task is learned: AdamW, one cycle of the learning rate, cross entropy.

    Attributes:
        epochs: how often everything is seen.
        rate: the largest learning rate.
        decay: of weights.
        smoothing: of labels.
    """

    epochs: int
    rate: float = 3e-3
    decay: float = 0.05
    smoothing: float = 0.0


@dataclass(frozen=True)
class LearningTask:
    """A network, its data and what it must reach on images that it has not seen.

    Attributes:
        recipe: how it is learned.
        network: from a number of samples.
        loaders: from a seed to the batches of training and of validation; the target is the
            only other field than ``image``.
        metrics: counted over validation.
        goals: what they must reach.
        augmentation: makes what changes images within the graph, if any.
        peer: the figure in which torch must not be better, if it takes part.
    """

    recipe: Recipe
    network: Callable[[int], Network]
    loaders: Callable[[int], Loaders]
    metrics: Callable[[], Mapping[str, Metric[Any]]]
    goals: Mapping[str, float]
    augmentation: Callable[[], Any] | None = None
    peer: str = ""


def task_named(name: str) -> LearningTask:
    """Return a task.

    Raises:
        InputError: there is none of this name.
    """
    if name not in TASKS:
        raise InputError(f"no task {name!r}; there are: {', '.join(TASKS)}")
    return TASKS[name]


def data_folder(name: str) -> Path:
    """Return a folder of images.

    Raises:
        Unavailable: it is not there.
    """
    default = Path(__file__).absolute().parents[1].parent / "shared"
    folder = Path(os.environ.get(CORPUS_VARIABLE, default)) / "data" / name
    if not folder.is_dir():
        raise Unavailable(f"no images at {folder}; set {CORPUS_VARIABLE}")
    return folder


# Chest X-rays


def _pneumonia(seed: int) -> Loaders:
    from ranvier.training.data import DataLoader, samples

    learning, checking = samples.pneumonia()
    train = DataLoader(learning, 32, shuffle=True, seed=seed, drop_last=True)
    return train, DataLoader(checking, len(checking))


def _small_resnet(size: int, channels: int, classes: int) -> Callable[[int], Network]:
    def make(samples: int) -> Network:
        from ranvier.frontend import zoo

        return zoo.network("resnet8", batch=samples, size=size, channels=channels, classes=classes)

    return make


def _pneumonia_metrics() -> Mapping[str, Metric[Any]]:
    from ranvier.training import metrics

    return {"accuracy": metrics.Accuracy(), "auc": metrics.AUC()}


def _turned_a_little() -> Any:
    from ranvier.frontend.builder import augmentation

    return augmentation.affine(rotation=(-8, 8), scale=(0.95, 1.05), translation=(-0.05, 0.05))


# Blood cells

CELLS = ("RBC", "WBC", "Platelets")
_CELLS_OF_A_CLASS = 320


def _blood(seed: int) -> Loaders:
    """Return crops of smears; no smear is in both parts, and classes are equally frequent."""
    from ranvier.training.data import (
        ArrayDataset,
        ClassBalanced,
        DataLoader,
        ImageFolder,
        Subset,
        stratified_split,
    )

    folder = ImageFolder(data_folder("blood_cells"), CELLS)
    smears = [path.stem.rpartition("_")[0] for path in folder.paths]
    learning, checking = stratified_split(folder.labels, (0.8, 0.2), groups=smears)
    images = ArrayDataset.of(folder)
    sampler = ClassBalanced(folder.labels[learning], _CELLS_OF_A_CLASS)
    train = DataLoader(Subset(images, learning), 32, sampler=sampler, seed=seed, drop_last=True)
    return train, DataLoader(Subset(images, checking), 64)


def _blood_metrics() -> Mapping[str, Metric[Any]]:
    from ranvier.training import metrics

    return {"balanced_accuracy": metrics.BalancedAccuracy(), "accuracy": metrics.Accuracy()}


def _any_way_round() -> Any:
    from ranvier.frontend.builder import augmentation

    return augmentation.sequence(augmentation.quarter_turns(), augmentation.flip())


# Membranes of cells

TILE = 128
_CHECKED_IMAGES = 4


def _membranes(seed: int) -> Loaders:
    """Return tiles, to learn from in four directions; the last images are for validation."""
    from ranvier.training.data import DataLoader, ImagesWithMasks

    folder = data_folder("segmentation_em_membrane")
    # Membranes are black.
    pairs = ImagesWithMasks(folder / "image", folder / "label", levels=(255, 0))
    numbers = range(len(pairs))
    learning = tiles([pairs[k] for k in numbers[:-_CHECKED_IMAGES]], turns=4)
    checking = tiles([pairs[k] for k in numbers[-_CHECKED_IMAGES:]], turns=1)
    train = DataLoader(learning, 8, shuffle=True, seed=seed, drop_last=True)
    return train, DataLoader(checking, 16)


def tiles(pairs: Sequence[Mapping[str, Any]], turns: int) -> ArrayDataset:
    """Return all tiles of images and masks, turned by 0 to ``turns - 1`` quarters."""
    from ranvier.training.data import ArrayDataset

    def cut(field: str) -> Any:
        whole = np.stack([pair[field] for pair in pairs])
        count, channels, height, width = whole.shape
        rows, columns = height // TILE, width // TILE
        grid = whole.reshape(count, channels, rows, TILE, columns, TILE)
        parts = grid.transpose(0, 2, 4, 1, 3, 5).reshape(-1, channels, TILE, TILE)
        return np.concatenate([np.rot90(parts, k, (2, 3)) for k in range(turns)])

    return ArrayDataset(image=cut("image"), mask=cut("mask"))


MEMBRANE_UNET = {"channels": 1, "classes": 2, "width": 8, "depth": 3}


def _small_unet(samples: int) -> Network:
    from ranvier.frontend import zoo

    return zoo.network("unet2d", batch=samples, size=TILE, **MEMBRANE_UNET)


def _membrane_metrics() -> Mapping[str, Metric[Any]]:
    from ranvier.training import metrics

    return {"dice": metrics.Dice(background=False, average="pooled")}


TASKS: Mapping[str, LearningTask] = {
    "pneumonia": LearningTask(
        Recipe(epochs=6, smoothing=0.05),
        _small_resnet(28, 1, 2),
        _pneumonia,
        _pneumonia_metrics,
        {"accuracy": 0.95, "auc": 0.985},
        _turned_a_little,
    ),
    "blood": LearningTask(
        Recipe(epochs=6, smoothing=0.05),
        _small_resnet(64, 3, len(CELLS)),
        _blood,
        _blood_metrics,
        {"balanced_accuracy": 0.95},
        _any_way_round,
    ),
    "membranes": LearningTask(
        Recipe(epochs=3), _small_unet, _membranes, _membrane_metrics, {}, peer="dice"
    ),
}
"""Every task by name."""
