# SPDX-License-Identifier: MIT
"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

Shapes = dict[str, tuple[int, ...]]

_FILE = click.Path(path_type=Path)


class ShapesType(click.ParamType):
    """Sizes of inputs: ``image=1x3x224x224,mask=1x224``."""

    name = "shapes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return sizes by input name."""
        if isinstance(value, dict):
            return value
        shapes: Shapes = {}
        for part in str(value).split(","):
            name, equals, sizes = part.rpartition("=")
            dims = sizes.split("x") if sizes else []
            if not equals or not name or not all(d.isascii() and d.isdigit() for d in dims):
                self.fail(f"{part!r} must look like image=1x3x224x224", param, ctx)
            shapes[name] = tuple(map(int, dims))
        return shapes


model_argument = click.argument("model", type=_FILE)
"""An ONNX model; commands check themselves that it exists, to say it in their own words."""

target_option = click.option(
    "--target",
    default="cpu",
    show_default=True,
    metavar="TARGET",
    help="What to compile for: cpu, cpu{march=x86-64-v3}, cuda{arch=sm_90}.",
)

shapes_option = click.option(
    "--shapes",
    type=ShapesType(),
    metavar="NAME=SIZES,…",
    help="Sizes of inputs with symbolic dimensions, such as image=1x3x224x224.",
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
