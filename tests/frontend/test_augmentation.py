# SPDX-License-Identifier: MIT
"""Augmentations: the same for any batch, compiled as evaluated, nothing at zero strength."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from agreement import Compiled, assert_agree
from augmented import (
    BLANK,
    KEYS,
    ONES,
    RANDOM,
    ZERO,
    changed_image,
    images,
    keys_of,
    part,
    run,
)
from ranvier.errors import LayerError
from ranvier.frontend import builder as nn
from ranvier.frontend.builder import augmentation as aug
from ranvier.frontend.builder.augmentation import Augmentation, Interpolation
from ranvier.ir import Array

# name: random, at zero strength (if there is such a thing), channels
AUGMENTATIONS: dict[str, tuple[Augmentation, Augmentation | None, int]] = {
    "flip": (aug.flip(), aug.flip(probability=0), 1),
    "flip-top": (aug.flip(-2, 0.3), aug.flip(-2, 0), 2),
    "transpose": (aug.transpose(), aug.transpose(0), 1),
    "quarter_turns": (aug.quarter_turns(), None, 2),
    "random_crop": (aug.random_crop(5), aug.random_crop(8), 1),
    "resized_crop": (aug.resized_crop(6), aug.resized_crop(8, ONES, ONES), 2),
    "centre_crop": (aug.centre_crop(5), aug.centre_crop(8), 2),
    "resized": (aug.resized((5, 9)), aug.resized(8), 1),
    "pad_by": (aug.pad_by(2, 1, value=0.5), aug.pad_by(0), 1),
    "affine": (
        aug.affine(rotation=(-30, 30), scale=(0.7, 1.3), shear=(-9, 9), translation=(-0.2, 0.2)),
        aug.affine(),
        2,
    ),
    "affine-cubic": (
        aug.affine(rotation=(-30, 30), interpolation=Interpolation("cubic", "reflection")),
        aug.affine(interpolation=Interpolation("cubic", "reflection")),
        1,
    ),
    "elastic": (aug.elastic((0.5, 1.5), 4), aug.elastic(ZERO, 4), 1),
    "cutout": (aug.cutout(), aug.cutout(ZERO), 2),
    "coarse_dropout": (aug.coarse_dropout((0.2, 0.6), 3), aug.coarse_dropout(ZERO, 3), 2),
    "brightness": (aug.brightness(), aug.brightness(ZERO), 1),
    "contrast": (aug.contrast(), aug.contrast(ONES), 2),
    "gamma": (aug.gamma(), aug.gamma(ONES), 1),
    "gaussian_noise": (aug.gaussian_noise(), aug.gaussian_noise(ZERO), 1),
    "laplace_noise": (aug.laplace_noise(), aug.laplace_noise(ZERO), 1),
    "poisson_noise": (aug.poisson_noise(), aug.poisson_noise(ZERO), 1),
    "salt_and_pepper": (aug.salt_and_pepper((0.1, 0.5)), aug.salt_and_pepper(ZERO), 2),
    "gaussian_blur": (aug.gaussian_blur(), aug.gaussian_blur(ZERO), 1),
    "colour_jitter": (aug.colour_jitter(), aug.colour_jitter(ONES, ONES, ONES, ZERO), 3),
    "greyscale": (aug.greyscale(0.5), aug.greyscale(0), 3),
    "normalize": (aug.normalize(0.5, 0.25), aug.normalize(0, 1), 2),
    "to_float": (aug.to_float(), aug.to_float(1.0), 1),
    "maybe": (aug.maybe(aug.brightness()), aug.maybe(aug.brightness(), 0), 1),
    "one_of": (aug.one_of(aug.flip(), aug.brightness(), aug.gamma()), None, 1),
    "sequence": (aug.sequence(aug.flip(), aug.brightness(), aug.random_crop(4)), None, 1),
}


@pytest.fixture(params=AUGMENTATIONS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_compiled_is_what_it_means(name: str, compiled: Compiled) -> None:
    augmentation, _, channels = AUGMENTATIONS[name]
    fields, keys = images(4, 8, 8, channels=channels), keys_of(3, 0, 9, 7)
    expected = run(augmentation, fields, keys)
    actual = run(augmentation, fields, keys, compiled)
    for field in fields:
        # Sines and exponentials of points and weights differ by units in the last place.
        assert_agree(actual[field], expected[field], rtol=1e-4, atol=1e-5)


def test_an_image_is_the_same_in_any_batch(name: str) -> None:
    augmentation, _, channels = AUGMENTATIONS[name]
    fields, keys = images(5, 8, 8, channels=channels), keys_of(3, 0, 9, 7, 4)
    whole = run(augmentation, fields, keys)
    for rows in ([0, 1, 2], [3, 4], [4, 0], [2]):
        alone = run(augmentation, part(fields, rows), keys[rows])
        for field in fields:
            np.testing.assert_array_equal(alone[field], whole[field][rows])


def test_keys_change_images(name: str) -> None:
    if name in ("centre_crop", "resized", "pad_by", "normalize", "to_float"):
        return
    augmentation, _, channels = AUGMENTATIONS[name]
    one = images(1, 8, 8, channels=channels)
    fields = {k: np.repeat(a, 16, 0) for k, a in one.items()}
    found = run(augmentation, fields, keys_of(*range(16)))["image"]
    assert len(np.unique(found.reshape(16, -1), axis=0)) > 1
    again = run(augmentation, fields, keys_of(*range(16), epoch=1))["image"]
    assert (found != again).any()


def test_nothing_happens_at_zero_strength(name: str) -> None:
    _, weakest, channels = AUGMENTATIONS[name]
    if weakest is None:
        return
    fields = images(3, 8, 8, channels=channels)
    found = run(weakest, fields, keys_of(5, 6, 7))
    # The sum of shares of one number is that number up to rounding.
    inexact = name in ("contrast", "colour_jitter", "resized_crop")
    np.testing.assert_allclose(found["image"], fields["image"], 0, 3e-7 if inexact else 0)
    np.testing.assert_array_equal(found["mask"], fields["mask"])


def test_without_keys_nothing_is_random(name: str) -> None:
    augmentation, _, channels = AUGMENTATIONS[name]
    fields = images(2, 8, 8, channels=channels)
    plain = run(augmentation, fields, None)
    shapes = {k: a.shape for k, a in run(augmentation, fields, keys_of(1, 2)).items()}
    assert {k: a.shape for k, a in plain.items()} == shapes
    if shapes["image"] == fields["image"].shape and name not in ("normalize", "to_float"):
        np.testing.assert_array_equal(plain["image"], fields["image"])
        np.testing.assert_array_equal(plain["mask"], fields["mask"])


def test_a_whole_pipeline_compiled_is_the_same_on_any_number_of_ranks(compiled: Compiled) -> None:
    augmentation = aug.sequence(
        aug.flip(),
        aug.affine(rotation=(-15, 15), scale=(0.9, 1.1), translation=(-0.1, 0.1)),
        aug.maybe(aug.elastic((0.5, 1.5), 8), 0.5),
        aug.one_of(aug.gaussian_noise(), aug.gaussian_blur(), aug.gamma()),
        aug.normalize(0.5, 0.25),
    )
    fields, keys = images(4, 16, 16), keys_of(8, 2, 5, 1)
    whole = run(augmentation, fields, keys, compiled)
    for world in (2, 4):
        ranks = [
            run(augmentation, part(fields, rows), keys[rows], compiled)
            for rows in np.split(np.arange(4), world)
        ]
        for field in fields:
            joined = np.concatenate([rank[field] for rank in ranks])
            np.testing.assert_array_equal(joined, whole[field])


VOLUMES: dict[str, Augmentation] = {
    "flip": aug.flip(-3),
    "quarter_turns": aug.quarter_turns(),
    "affine": aug.affine(rotation=(-30, 30), tilt=(-9, 9), scale=(0.8, 1.2)),
    "elastic": aug.elastic((0.5, 1.0), 3),
    "random_crop": aug.random_crop((3, 4, 5)),
    "resized_crop": aug.resized_crop((3, 4, 5)),
    "pad_by": aug.pad_by((1, 0, 2)),
    "cutout": aug.cutout(),
    "coarse_dropout": aug.coarse_dropout(cell=(2, 3, 3)),
    "gaussian_noise": aug.gaussian_noise(),
    "gaussian_blur": aug.gaussian_blur(),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes_compiled_are_what_they_mean(name: str, compiled: Compiled) -> None:
    fields, keys = images(2, 5, 6, 6), keys_of(3, 1)
    expected = run(VOLUMES[name], fields, keys)
    actual = run(VOLUMES[name], fields, keys, compiled)
    for field in fields:
        assert_agree(actual[field], expected[field], rtol=1e-4, atol=1e-5)


# Image and mask

MOVING = {
    "flip": aug.flip(),
    "transpose": aug.transpose(),
    "quarter_turns": aug.quarter_turns(),
    "random_crop": aug.random_crop(6),
    "resized_crop": aug.resized_crop(9, interpolation=Interpolation("nearest", "border")),
    "affine": aug.affine(
        rotation=(-90, 90), shear=(-20, 20), interpolation=Interpolation("nearest", "zeros")
    ),
    "elastic": aug.elastic((1, 3), 4, Interpolation("nearest", "reflection")),
    "pad_by": aug.pad_by(1),
}


@pytest.mark.parametrize("name", MOVING)
@pytest.mark.parametrize("channels", [True, False])
def test_mask_and_image_move_alike(name: str, channels: bool) -> None:
    mask = RANDOM.integers(0, 5, (6, 1, 8, 8))
    shown = mask if channels else mask[:, 0]
    fields: dict[str, Array] = {"image": mask.astype(np.float32), "mask": shown}
    found = run(MOVING[name], fields, keys_of(*range(6)))
    moved = found["mask"] if channels else found["mask"][:, None]
    np.testing.assert_array_equal(moved, found["image"])
    assert moved.dtype == np.int64


def test_masks_have_no_values_in_between() -> None:
    mask = np.where(RANDOM.random((6, 12, 12)) < 0.5, 0, 200).astype(np.uint8)
    fields = {"image": images(6, 12, 12)["image"], "mask": mask}
    augmentation = aug.sequence(aug.affine(rotation=(-40, 40)), aug.elastic((1, 2), 6))
    assert set(np.unique(run(augmentation, fields, keys_of(*range(6)))["mask"])) <= {0, 200}


# Combinators


def test_an_augmentation_more_changes_nothing_before_it() -> None:
    fields, keys = images(3, 8, 8), keys_of(0, 1, 2)
    first = (aug.flip(), aug.brightness())
    one = run(aug.sequence(*first), fields, keys)["image"]
    two = run(aug.sequence(*first, aug.brightness((1, 1))), fields, keys)["image"]
    np.testing.assert_allclose(two, one + 1, atol=1e-6)


def test_two_augmentations_of_a_kind_draw_apart() -> None:
    twice = aug.sequence(aug.brightness((0, 1)), aug.brightness((0, 1)))
    found = changed_image(twice, BLANK, KEYS)[:, 0, 0, 0]
    assert abs(found.var() - 1 / 6) < 0.02  # 1/3 if both drew the same
    nested = aug.sequence(aug.sequence(aug.brightness((0, 1))), aug.brightness((0, 1)))
    assert abs(changed_image(nested, BLANK, KEYS)[:, 0, 0, 0].var() - 1 / 6) < 0.02


@pytest.mark.parametrize("each", [False, True])
def test_one_graph_with_a_switch(each: bool, compiled: Compiled) -> None:
    fields, keys = images(3, 8, 8), keys_of(0, 1, 2)
    augmentation = aug.sequence(aug.random_crop(5), aug.brightness((1, 2)))
    image, key = nn.input("image", (3, 1, 8, 8)), nn.input("key", (3, 4), "uint32")
    active = nn.input("active", (3,) if each else (), "bool")
    made = aug.switched(augmentation, active)({"image": image}, key)["image"]
    graph = nn.graph("g", [image, key, active], {"y": made})
    on = run(augmentation, {"image": fields["image"]}, keys)["image"]
    off = run(augmentation, {"image": fields["image"]}, None)["image"]
    for chosen in ([True, False, True], [False] * 3) if each else (True, False):
        flags = np.array(chosen)
        (found,) = compiled(graph, [fields["image"], keys, flags])
        np.testing.assert_array_equal(found, np.where(flags.reshape(-1, 1, 1, 1), on, off))


def test_fields_that_nobody_names_pass() -> None:
    label = nn.input("label", (2,), "int64")
    fields = {"image": nn.input("image", (2, 1, 8, 8)), "label": label}
    key = nn.input("key", (2, 4), "uint32")
    for augmentation, _, channels in AUGMENTATIONS.values():
        if channels == 1:
            assert augmentation(fields, key)["label"] is label
            assert augmentation(fields, None)["label"] is label


# What goes wrong


def applied(
    augmentation: Augmentation, *shape: int, mask: tuple[int, ...] = (), dtype: str = "float32"
) -> object:
    fields = {"image": nn.input("image", shape or (2, 1, 8, 8), dtype)}
    if mask:
        fields["mask"] = nn.input("mask", mask)
    return augmentation(fields, nn.input("key", (fields["image"].shape[0], 4), "uint32"))


MISTAKES: list[tuple[Callable[[], object], str]] = [
    (lambda: aug.flip(probability=1.5), "flip: probability=(1.5, 1.5) must be"),
    (lambda: aug.brightness((1, 0)), "brightness: amount=(1, 0) must be two numbers, the lower"),
    (lambda: aug.gamma((0, 1)), "gamma: exponent=(0, 1) must be two numbers"),
    (lambda: aug.gamma(low=1, high=1), "gamma: low=1 must be below high=1"),
    (lambda: aug.normalize(0, 0), "normalize: deviation=0 must be positive"),
    (lambda: aug.affine(scale=(0, 1)), "affine: scale=(0, 1) must be two numbers"),
    (lambda: aug.elastic(spacing=0), "elastic: spacing=0 must be positive"),
    (
        lambda: aug.cutout((0, 2)),
        "cutout: share=(0, 2) must be two numbers, the lower one first fr",
    ),
    (lambda: aug.salt_and_pepper(salt=2), "salt_and_pepper: salt=2 must be from 0 to 1"),
    (lambda: aug.poisson_noise((0, 1000)), "poisson_noise: rate=(0, 1000) must be"),
    (lambda: aug.mixup(0), "mixup: alpha=0 must be from 0.05 to 100"),
    (lambda: aug.one_of(), "one_of: needs augmentations to choose from"),
    (
        lambda: applied(aug.flip(-3)),
        "flip 'flip': axis=-3 must be a spatial one of float32[2, 1, 8",
    ),
    (
        lambda: applied(aug.flip(), dtype="uint8"),
        "'image' must be floats (batch, channels, spatial",
    ),
    (lambda: applied(aug.flip(), 2, 8), "'image' must be floats (batch, channels, spatial...)"),
    (lambda: applied(aug.flip(), mask=(2, 8, 7)), "'mask' float32[2, 8, 7] does not lie on"),
    (lambda: applied(aug.flip(), mask=(2, 1, 1, 8, 8)), "must have the axes of"),
    (lambda: applied(aug.transpose(), 2, 1, 8, 7), "the last two axes must be of one size, found"),
    (lambda: applied(aug.random_crop(9)), "random_crop 'random_crop': size=[9, 9] is larger than"),
    (lambda: applied(aug.affine(tilt=(0, 1))), "cannot turn and tilt sizes [8, 8]"),
    (lambda: applied(aug.affine(), 2, 1, 8), "cannot turn sizes [8]"),
    (lambda: applied(aug.coarse_dropout(cell=0)), "cell=[0, 0] must be positive"),
    (lambda: applied(aug.normalize((1, 2), 1)), "2 numbers do not fit the channels of"),
    (lambda: applied(aug.greyscale()), "needs the three channels of colours, found float32[2, 1"),
    (lambda: applied(aug.mixup()), "found no field 'label' among ['image']"),
    (lambda: applied(aug.mixup(names=["image"]), dtype="int64"), "only floats can be mixed"),
    (lambda: applied(aug.maybe(aug.random_crop(4))), "chooses between float32[2, 1, 4, 4] and"),
    (lambda: aug.flip()({}, nn.input("key", (1, 4), "uint32")), "no field 'image' among []; see"),
    (
        lambda: aug.renamed(aug.flip(), image="ct")({}, nn.input("key", (1, 4), "uint32")),
        "renamed: found no field 'ct' among []",
    ),
    (
        lambda: aug.switched(aug.flip(), nn.input("on", (1,))),
        "active must be bool () or (N,), found float32[1]",
    ),
    (
        lambda: aug.flip()(
            {"image": nn.input("image", (2, 1, 4, 4))}, nn.input("key", (4,), "uint32")
        ),
        "keys must be uint32[N, 4], found uint32[4]",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES, ids=[m[:40] for _, m in MISTAKES])
def test_mistakes_are_explained(mistake: Callable[[], object], message: str) -> None:
    with pytest.raises(LayerError) as caught:
        mistake()
    assert message in str(caught.value)
