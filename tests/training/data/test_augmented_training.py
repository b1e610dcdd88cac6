# SPDX-License-Identifier: MIT
"""Loader, augmentation and trainer together, on images that come with the package."""

from __future__ import annotations

import numpy as np

from ranvier.frontend import builder as nn
from ranvier.frontend.builder import Network
from ranvier.frontend.builder import augmentation as aug
from ranvier.training.data import DataLoader, Subset, samples
from ranvier.training.losses import CrossEntropy
from ranvier.training.optimizers import SGD
from ranvier.training.trainer import Options, Trainer

AUGMENTATION = aug.sequence(
    aug.flip(),
    aug.affine(rotation=(-10, 10), scale=(0.9, 1.1), translation=(-0.1, 0.1)),
    aug.maybe(aug.gaussian_noise((0, 0.05)), 0.5),
)


def small(count: int) -> Network:
    """Two convolutions and a linear layer."""
    x = nn.input("image", (count, 1, 28, 28))
    y = nn.relu(nn.conv(x, 8, 3, stride=2, padding=1, name="conv1"))
    y = nn.relu(nn.conv(y, 16, 3, stride=2, padding=1, name="conv2"))
    return nn.network("small", [x], {"scores": nn.linear(nn.flatten(y), 2, name="fc")})


def losses(threads: int, augmented: bool = True) -> list[float]:
    """Return the loss of every step of two epochs."""
    train, _ = samples.pneumonia()
    data = Subset(train, np.arange(0, len(train), 10))
    loader = DataLoader(data, 32, shuffle=True, drop_last=True, seed=3, threads=threads)
    trainer = Trainer(
        small,
        CrossEntropy(),
        SGD(0.05, momentum=0.9),
        augmentation=AUGMENTATION if augmented else None,
        options=Options(threads=1),
    )
    return [
        trainer.train_step(batch)["loss"] for epoch in range(3) for batch in loader.epoch(epoch)
    ]


def test_augmented_training_learns_and_is_repeated_bit_for_bit() -> None:
    found = losses(0)
    assert found == losses(2)
    assert np.mean(found[-7:]) < 0.8 * np.mean(found[:3])
    assert found != losses(0, augmented=False)
