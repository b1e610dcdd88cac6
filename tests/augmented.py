# SPDX-License-Identifier: MIT
"""Augmentations applied to arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ranvier.frontend import builder as nn
from ranvier.frontend.builder.augmentation import Augmentation
from ranvier.ir import Array, Graph, interpret, ops, type_of, verify

RANDOM = np.random.default_rng(0)
Arrays = dict[str, Array]


def keys_of(*indices: int, epoch: int = 0) -> Array:
    return np.stack([ops.key_of(11, stream=index, step=epoch) for index in indices])


def images(n: int, *size: int, channels: int = 1) -> Arrays:
    image = RANDOM.random((n, channels, *size)).astype(np.float32)
    return {"image": image, "mask": (image[:, :1] > 0.5).astype(np.int64)}


def graph_of(
    augmentation: Augmentation, fields: Arrays, names: Sequence[str], random: bool = True
) -> Graph:
    tensors = {
        k: nn.input(k, a.shape, str(type_of(a)).partition("[")[0]) for k, a in fields.items()
    }
    key = nn.input("key", (len(fields["image"]), 4), "uint32")
    made = augmentation(tensors, key if random else None)
    outputs = {f"augmented.{k}": made[k] for k in names}
    graph = nn.network("g", [*tensors.values(), key], outputs).graph()
    verify(graph)
    return graph


def run(
    augmentation: Augmentation,
    fields: Arrays,
    keys: Array | None,
    how: Callable[[Graph, Sequence[Any]], list[Any]] = interpret,
) -> Arrays:
    """Return the augmented fields."""
    graph = graph_of(augmentation, fields, list(fields), keys is not None)
    given = keys_of(*range(len(fields["image"]))) if keys is None else keys
    return dict(zip(fields, how(graph, [*fields.values(), given]), strict=True))


def changed_image(augmentation: Augmentation, image: Array, keys: Array) -> Array:
    return run(augmentation, {"image": image}, keys)["image"]


def part(fields: Arrays, rows: Sequence[int] | Array) -> Arrays:
    return {name: array[np.asarray(rows)] for name, array in fields.items()}


MANY = 3000
BLANK = np.zeros((MANY, 1, 2, 2), np.float32)
KEYS = np.stack([ops.key_of(5, stream=index) for index in range(MANY)])
ONES = (1.0, 1.0)
ZERO = (0.0, 0.0)
