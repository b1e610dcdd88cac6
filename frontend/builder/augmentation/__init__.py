# SPDX-License-Identifier: MIT
"""Augmentation inside the graph: images changed at random, each by the key of its sample.

>>> from ranvier.frontend import builder as nn
>>> from ranvier.frontend.builder import augmentation as aug
>>> augment = aug.sequence(
...     aug.flip(),
...     aug.affine(rotation=(-15, 15), scale=(0.9, 1.1), translation=(-0.1, 0.1)),
...     aug.maybe(aug.gaussian_noise((0, 0.05)), 0.3),
...     aug.normalize(0.5, 0.25),
... )
>>> image, key = nn.input("image", (8, 1, 28, 28)), nn.input("key", (8, 4), "uint32")
>>> augmented = augment({"image": image}, key)
>>> nn.network("augmentation", [image, key], {"augmented": augmented["image"]}).parameter_count
0
"""

from .affine import affine, rotate, scale, shift
from .blur import gaussian_blur
from .colour import colour_jitter, greyscale
from .combinators import maybe, one_of, sequence, switched
from .crops import centre_crop, pad_by, random_crop, resized, resized_crop
from .drawing import Draws, Range, split
from .elastic import elastic
from .erasing import coarse_dropout, cutout
from .fields import Augmentation, Fields, renamed
from .flips import flip, quarter_turns, transpose
from .intensity import brightness, changed, contrast, gamma, normalize, to_float
from .mixing import mixup
from .noise import gaussian_noise, laplace_noise, poisson_noise, salt_and_pepper
from .points import Interpolation

__all__ = [
    "Augmentation",
    "Draws",
    "Fields",
    "Interpolation",
    "Range",
    "affine",
    "brightness",
    "centre_crop",
    "changed",
    "coarse_dropout",
    "colour_jitter",
    "contrast",
    "cutout",
    "elastic",
    "flip",
    "gamma",
    "gaussian_blur",
    "gaussian_noise",
    "greyscale",
    "laplace_noise",
    "maybe",
    "mixup",
    "normalize",
    "one_of",
    "pad_by",
    "poisson_noise",
    "quarter_turns",
    "random_crop",
    "renamed",
    "resized",
    "resized_crop",
    "rotate",
    "salt_and_pepper",
    "scale",
    "sequence",
    "shift",
    "split",
    "switched",
    "to_float",
    "transpose",
]
