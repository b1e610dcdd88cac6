# SPDX-License-Identifier: MIT
"""What training is timed on: networks with their first weights and a batch in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.errors import InputError

from .cases import Case

if TYPE_CHECKING:
    from ranvier.frontend.builder import Network

LEARNING_RATE, MOMENTUM = 1e-3, 0.9
"""Of stochastic gradient descent, the optimizer of every case; slow, as a batch is soon learned."""

COMPARED_STEPS = 3
"""Steps from the first weights on whose losses are compared."""


@dataclass(frozen=True)
class TrainingCase:
    """A network that learns classes by cross entropy.

    Attributes:
        network: from the shape of a batch of images.
        shape: of the batch.
        classes: how many there are.
        dense: whether every pixel has a class, not the image as a whole.
    """

    network: Callable[[Sequence[int]], Network]
    shape: Sequence[int]
    classes: int
    dense: bool = False

    def batch(self, seed: int) -> dict[str, Any]:
        """Return images (normal) and classes (uniform)."""
        random = np.random.default_rng(seed)
        shape = (self.shape[0], *(self.shape[2:] if self.dense else ()))
        return {
            "image": random.standard_normal(tuple(self.shape)).astype(np.float32),
            "label": random.integers(0, self.classes, shape),
        }


def _resnet(name: str, classes: int) -> Callable[[Sequence[int]], Network]:
    def make(shape: Sequence[int]) -> Network:
        from ranvier.frontend import zoo

        samples, channels, size, _ = shape
        return zoo.network(name, batch=samples, channels=channels, size=size, classes=classes)

    return make


def _unet(shape: Sequence[int]) -> Network:
    from .networks import residual_unet

    return residual_unet(shape)


TRAINING_CASES: Mapping[str, TrainingCase] = {
    "resnet8": TrainingCase(_resnet("resnet8", 2), (32, 1, 28, 28), 2),
    "resnet18": TrainingCase(_resnet("resnet18", 10), (16, 3, 64, 64), 10),
    "unet2d": TrainingCase(_unet, (4, 1, 128, 128), 2, dense=True),
    "unet3d": TrainingCase(_unet, (1, 1, 64, 64, 64), 2, dense=True),
}
"""Every case by name; ``ranvier demo`` trains the smallest, the U-Nets are MONAI's."""


def training_case(name: str) -> TrainingCase:
    """Return a case.

    Raises:
        InputError: there is none of this name.
    """
    if name not in TRAINING_CASES:
        raise InputError(f"no case {name!r} of training; there are: {', '.join(TRAINING_CASES)}")
    return TRAINING_CASES[name]


def write_case(name: str, folder: Path, seed: int = 0) -> Case:
    """Write the first weights and a batch to ``folder``, for every engine the same.

    The case's model is the file of the weights, named and shaped as ranvier's.

    Raises:
        InputError: there is no such case.
    """
    from safetensors.numpy import save_file

    from ranvier.cli.arrays import save_arrays

    chosen = training_case(name)
    weights, batch = folder / f"{name}.safetensors", folder / f"{name}-batch.npz"
    save_file(chosen.network(chosen.shape).initial(seed, "training"), str(weights))
    save_arrays(batch, chosen.batch(seed))
    return Case(name, weights, batch)
