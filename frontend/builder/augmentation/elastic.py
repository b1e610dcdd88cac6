# SPDX-License-Identifier: MIT
"""Smooth random deformations."""

from __future__ import annotations

from ....errors import LayerError
from ....ir import ops
from ..resampling import resize
from ..tensor import Layer, Tensor
from .drawing import Draws, Range, checked, column
from .fields import Augmentation, Fields, image_of, moved
from .points import Interpolation, positions, reading, sampled


def elastic(
    deviation: Range = (1.0, 3.0),
    spacing: int = 16,
    interpolation: Interpolation | None = None,
) -> Augmentation:
    """Deform image and mask by displacements that vary smoothly.

    Displacements at the points of a coarse grid are normal, and between them interpolated by
    cubic polynomials. With one grid point per ``spacing`` elements, deviations above a third
    of it fold the image.

    Units: deviation and spacing in elements of the image.

    Args:
        deviation: of the displacements; one is drawn for each sample.
        spacing: about so far apart are the points of the grid.
        interpolation: of the image; linear and mirrored at the border if left out.

    Raises:
        LayerError: a range is none or the spacing not positive.

    References:
        Simard et al., Best practices for convolutional neural networks, ICDAR 2003. Ronneberger
        et al., U-Net, MICCAI 2015, for the coarse grid.
    """
    checked("elastic: deviation", deviation, 0)
    if spacing < 1:
        raise LayerError(f"elastic: spacing={spacing} must be positive")
    how = interpolation or Interpolation(padding="reflection")

    def augment(fields: Fields, keys: Tensor | None) -> dict[str, Tensor]:
        if keys is None:
            return dict(fields)
        layer = Layer.begin("elastic")
        image = image_of(layer, fields)
        size = image.shape[2:]
        draws = Draws(layer, keys)
        coarse = tuple(max(2, round((n - 1) / spacing) + 1) for n in size)
        grid = draws.normal(0, len(size), *coarse)
        grid = grid * column(draws.uniform(1, deviation), grid.rank)
        field = resize(grid, size, "cubic", align_corners=True)
        points = []
        for k, n in enumerate(size):
            starts, stops = [0] * field.rank, list(field.shape)
            starts[1], stops[1] = k, k + 1
            cut = ops.Slice(tuple(starts), tuple(stops), (1,) * field.rank)
            along = layer.apply(ops.Reshape((image.shape[0], *size)), layer.apply(cut, field))
            points.append(along + positions(n, k, len(size)))
        return moved(
            layer, fields, lambda x, mask: sampled(layer, x, points, size, reading(how, mask))
        )

    return augment


__all__ = ["elastic"]
