# SPDX-License-Identifier: MIT
"""Optimizers, schedules and augmentations by name, as configurations and the command line ask."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from ..errors import InputError
from ..frontend.builder import augmentation as aug
from ..frontend.builder.augmentation import Augmentation
from . import optimizers, schedules
from .optimizers import Optimizer
from .schedules import Schedule

T = TypeVar("T")

OPTIMIZERS: Mapping[str, type[Optimizer]] = MappingProxyType(
    {
        "sgd": optimizers.SGD,
        "adam": optimizers.Adam,
        "adamw": optimizers.AdamW,
        "amsgrad": optimizers.AMSGrad,
        "nadam": optimizers.NAdam,
        "adamax": optimizers.Adamax,
        "rmsprop": optimizers.RMSprop,
        "adagrad": optimizers.Adagrad,
        "adadelta": optimizers.Adadelta,
        "lars": optimizers.LARS,
        "lamb": optimizers.LAMB,
    }
)
"""Every optimizer by its name."""

SCHEDULES: Mapping[str, type[Schedule]] = MappingProxyType(
    {
        "constant": schedules.Constant,
        "step": schedules.StepDecay,
        "multi_step": schedules.MultiStep,
        "exponential": schedules.Exponential,
        "polynomial": schedules.Polynomial,
        "cosine": schedules.Cosine,
        "one_cycle": schedules.OneCycle,
        "plateau": schedules.ReduceOnPlateau,
    }
)
"""Every schedule whose options are numbers, by its name."""


def _affine(
    rotation: aug.Range = (-10.0, 10.0),
    scale: aug.Range = (0.9, 1.1),
    shear: aug.Range = (0.0, 0.0),
    translation: aug.Range = (-0.1, 0.1),
    tilt: aug.Range = (0.0, 0.0),
) -> Augmentation:
    return aug.affine(
        rotation=rotation, scale=scale, shear=shear, translation=translation, tilt=tilt
    )


AUGMENTATIONS: Mapping[str, Callable[..., Augmentation]] = MappingProxyType(
    {
        "flip": aug.flip,
        "transpose": aug.transpose,
        "quarter_turns": aug.quarter_turns,
        "affine": _affine,
        "elastic": aug.elastic,
        "blur": aug.gaussian_blur,
        "noise": aug.gaussian_noise,
        "poisson_noise": aug.poisson_noise,
        "salt_and_pepper": aug.salt_and_pepper,
        "brightness": aug.brightness,
        "contrast": aug.contrast,
        "gamma": aug.gamma,
        "colour_jitter": aug.colour_jitter,
        "cutout": aug.cutout,
        "coarse_dropout": aug.coarse_dropout,
    }
)
"""Augmentations that keep the size of images and have defaults for all their options."""


def optimizer_named(name: str, **options: object) -> Optimizer:
    """Return an optimizer by its name.

    Args:
        name: one of :data:`OPTIMIZERS`.
        options: its fields, such as ``learning_rate``.

    Raises:
        InputError: there is no such optimizer or option, or it is out of range.

    >>> optimizer_named("sgd", momentum=0.9)
    SGD(learning_rate=0.01, weight_decay=0.0, decoupled=False, momentum=0.9, dampening=0.0, \
nesterov=False)
    """
    return _made("optimizer", OPTIMIZERS, name, options)


def schedule_named(name: str, steps: int, **options: object) -> Schedule:
    """Return a schedule by its name.

    Args:
        name: one of :data:`SCHEDULES`.
        steps: updates of the whole run, for schedules that have an end.
        options: its further options.

    Raises:
        InputError: there is no such schedule or option, or it is out of range.

    >>> schedule_named("cosine", 100, warm_up=10)
    Cosine(steps=100, final=0.0, warm_up=10, start=0.0)
    """
    if name in SCHEDULES and "steps" in inspect.signature(SCHEDULES[name]).parameters:
        options = {"steps": steps, **options}
    return _made("schedule", SCHEDULES, name, options)


def augmentation_named(name: str, **options: object) -> Augmentation:
    """Return an augmentation by its name.

    Args:
        name: one of :data:`AUGMENTATIONS`.
        options: its arguments.

    Raises:
        InputError: there is no such augmentation or option.
        LayerError: an option is out of range.
    """
    return _made("augmentation", AUGMENTATIONS, name, options)


def _made(
    what: str, table: Mapping[str, Callable[..., T]], name: str, options: Mapping[str, Any]
) -> T:
    if name not in table:
        raise InputError(f"there is no {what} '{name}'; there are: {', '.join(sorted(table))}")
    known = inspect.signature(table[name]).parameters
    for option in options:
        if option not in known:
            listed = ", ".join(known) or "none"
            raise InputError(f"{what} '{name}' has no option '{option}'; it has: {listed}")
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in options:
            raise InputError(f"{what} '{name}' needs its option '{option}'")
    try:
        return table[name](**options)
    except (TypeError, ValueError) as error:  # of another type than the option has
        given = ", ".join(f"{k}={v!r}" for k, v in options.items())
        raise InputError(f"{what} '{name}' cannot take {given}: {error}") from error


__all__ = [
    "AUGMENTATIONS",
    "OPTIMIZERS",
    "SCHEDULES",
    "augmentation_named",
    "optimizer_named",
    "schedule_named",
]
