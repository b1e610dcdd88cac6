# SPDX-License-Identifier: MIT
"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path

import click

Shapes = dict[str, tuple[int, ...]]

_FILE = click.Path(path_type=Path)


def parse_shapes(text: str) -> Shapes:
    """Return sizes by input name.

    >>> parse_shapes("image=1x3x8x8,scale=")
    {'image': (1, 3, 8, 8), 'scale': ()}

    Raises:
        click.BadParameter: the text does not look like that.
    """
    shapes: Shapes = {}
    for part in text.split(","):
        name, _, sizes = part.rpartition("=")
        dims = sizes.split("x") if sizes else []
        if not name or not all(d.isascii() and d.isdigit() for d in dims):
            raise click.BadParameter(f"{part!r} must look like image=1x3x224x224")
        shapes[name] = tuple(map(int, dims))
    return shapes


def _one(ctx: click.Context, param: click.Parameter, value: str | None) -> Shapes | None:
    return None if value is None else parse_shapes(value)


def _several(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> tuple[Shapes, ...]:
    return tuple(map(parse_shapes, value))


model_argument = click.argument("model", type=_FILE)
"""An ONNX model; commands check themselves that it exists, to say it in their own words."""

target_option = click.option(
    "--target",
    default="cpu",
    show_default=True,
    metavar="TARGET",
    help="What to compile for: cpu, cpu{march=x86-64-v3}, cuda{arch=sm_90}; "
    "several as in cpu{march=x86-64-v3+x86-64-v4}.",
)

shapes_option = click.option(
    "--shapes",
    callback=_one,
    metavar="NAME=SIZES,…",
    help="Sizes of inputs with symbolic dimensions, such as image=1x3x224x224.",
)

shape_sets_option = click.option(
    "--shapes",
    multiple=True,
    callback=_several,
    metavar="NAME=SIZES,…",
    help="Sizes of the inputs, such as image=1x3x224x224; repeat it for several sets.",
)

inputs_option = click.option(
    "--inputs",
    type=_FILE,
    metavar="FILE.npz",
    help="Arrays by input name; members of a sequence are called name.0, name.1, …",
)

seed_option = click.option(
    "--seed", default=0, show_default=True, help="Of the random inputs where none are given."
)
