# SPDX-License-Identifier: MIT
"""Rotation, scale, shear and shift of image and mask, in one reading of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from ....ir import ops
from ..tensor import Layer, Tensor
from .drawing import Draws, Range, checked, column
from .fields import Augmentation, Fields, image_of, moved
from .points import Interpolation, positions, reading, sampled

Entry: TypeAlias = "Tensor | float"
"""An entry of the matrices of all samples: (N,), or the same number for all."""
Matrix: TypeAlias = list[list[Entry]]


def affine(
    *,
    rotation: Range = (0.0, 0.0),
    scale: Range = (1.0, 1.0),
    shear: Range = (0.0, 0.0),
    translation: Range = (0.0, 0.0),
    tilt: Range = (0.0, 0.0),
    interpolation: Interpolation | None = None,
) -> Augmentation:
    """Move the content of image and mask about the middle: sheared, scaled, turned, shifted.

    Element ``o`` of the result is read at ``c + (R S H)^-1 (o - c - t)``, where ``c`` is the
    middle. All parameters are drawn per sample, each from its range.

    Units: rotation, shear and tilt in degrees; translation in shares of the image's size, one
        for each axis.

    Args:
        rotation: in the plane of the last two axes, counter-clockwise as images are shown.
        scale: of the content; 2 shows it twice as large.
        shear: of the last axis along the one before.
        translation: towards higher positions.
        tilt: of volumes: rotations after that one, in the plane of the first two axes and then
            in that of the first and the last.
        interpolation: of the image; linear if left out, zeros outside.

    Raises:
        LayerError: a range is none; when applied, the image has one spatial axis, or more than
            three, or is no volume although ``tilt`` is given.
    """
    checked("affine: scale", scale, 1e-6)
    checked("affine: shear", shear, -89, 89)
    for what, range in (("rotation", rotation), ("translation", translation), ("tilt", tilt)):
        checked(f"affine: {what}", range)
    how = interpolation or Interpolation()

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        if keys is None:
            return dict(fields)
        layer = Layer.begin("affine")
        size = image_of(layer, fields).shape[2:]
        if len(size) not in (2, 3) or (len(size) == 2 and tilt != (0.0, 0.0)):
            raise layer.error(f"cannot turn{' and tilt' * (len(size) == 2)} sizes {list(size)}")
        draws = Draws(layer, keys)
        matrix = _unsheared(draws, shear, len(size))
        matrix = _product(matrix, _unscaled(draws, scale, len(size)))
        planes = [(-2, -1, rotation)]
        if len(size) == 3 and tilt != (0.0, 0.0):
            planes += [(0, 1, tilt), (0, 2, tilt)]
        for number, (first, second, range) in enumerate(planes):
            matrix = _product(
                matrix, _unturned(draws, 2 + number, range, (first, second), len(size))
            )
        shifts = [draws.uniform(5 + k, translation) * n for k, n in enumerate(size)]
        points = _points(matrix, shifts, size)
        return moved(
            layer, fields, lambda x, mask: sampled(layer, x, points, size, reading(how, mask))
        )

    return augment


def rotate(degrees: Range, interpolation: Interpolation | None = None) -> Augmentation:
    """Turn image and mask about the middle; see :func:`affine`."""
    return affine(rotation=degrees, interpolation=interpolation)


def scale(factor: Range, interpolation: Interpolation | None = None) -> Augmentation:
    """Enlarge or shrink the content of image and mask; see :func:`affine`."""
    return affine(scale=factor, interpolation=interpolation)


def shift(share: Range, interpolation: Interpolation | None = None) -> Augmentation:
    """Shift the content of image and mask along every axis; see :func:`affine`."""
    return affine(translation=share, interpolation=interpolation)


def _unit(rank: int) -> Matrix:
    return [[1.0 if i == j else 0.0 for j in range(rank)] for i in range(rank)]


def _unsheared(draws: Draws, range: Range, rank: int) -> Matrix:
    matrix = _unit(rank)
    if range != (0.0, 0.0):
        angle = draws.uniform(0, range) * (math.pi / 180)
        matrix[-1][-2] = draws.layer.apply(ops.Tan(), angle) * -1.0
    return matrix


def _unscaled(draws: Draws, range: Range, rank: int) -> Matrix:
    if range == (1.0, 1.0):
        return _unit(rank)
    factor = draws.layer.apply(ops.Reciprocal(), draws.uniform(1, range))
    return [[factor if entry else 0.0 for entry in row] for row in _unit(rank)]


def _unturned(draws: Draws, stream: int, range: Range, plane: tuple[int, int], rank: int) -> Matrix:
    matrix = _unit(rank)
    if range == (0.0, 0.0):
        return matrix
    first, second = plane
    angle = draws.uniform(stream, range) * (math.pi / 180)
    cosine, sine = (draws.layer.apply(op, angle) for op in (ops.Cos(), ops.Sin()))
    matrix[first][first] = matrix[second][second] = cosine
    matrix[first][second], matrix[second][first] = sine, sine * -1.0
    return matrix


def _product(a: Matrix, b: Matrix) -> Matrix:
    """Return the matrices' product; numbers 0 and 1 cost nothing."""
    return [[_dot(row, column) for column in zip(*b, strict=True)] for row in a]


def _dot(row: Sequence[Entry], other: Sequence[Entry]) -> Entry:
    total: Entry = 0.0
    for x, y in zip(row, other, strict=True):
        total = _sum(total, _times(x, y))
    return total


def _times(x: Entry, y: Entry) -> Entry:
    for a, b in ((x, y), (y, x)):
        if not isinstance(a, Tensor):
            return 0.0 if a == 0 else b if a == 1 else b * a
    return x * y


def _sum(x: Entry, y: Entry) -> Entry:
    for a, b in ((x, y), (y, x)):
        if not isinstance(a, Tensor) and a == 0:
            return b
    return x + y


def _points(matrix: Matrix, shifts: Sequence[Tensor], size: Sequence[int]) -> list[Tensor]:
    """Return the coordinates along every axis, (N, size...)."""
    rank = len(size)
    away = [
        positions(n, k, rank, (n - 1) / 2) - column(shifts[k], rank + 1) for k, n in enumerate(size)
    ]
    points = []
    for row, n in zip(matrix, size, strict=True):
        entries = [column(a, rank + 1) if isinstance(a, Tensor) else a for a in row]
        total = _dot(entries, away)
        assert isinstance(total, Tensor)
        points.append(total + (n - 1) / 2)
    return points


__all__ = ["affine", "rotate", "scale", "shift"]
