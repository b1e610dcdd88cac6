# SPDX-License-Identifier: MIT
"""The models of the zoo by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import LayerError
from ...ir import Graph
from ..builder import Network
from . import resnet, unet


@dataclass(frozen=True)
class Model:
    """An entry of the zoo.

    Attributes:
        function: makes the network; its keyword arguments are the options.
        paper: where the architecture was published.
    """

    function: Callable[..., Network]
    paper: str

    @property
    def options(self) -> Mapping[str, Any]:
        """Names and defaults of the options."""
        return {k: p.default for k, p in inspect.signature(self.function).parameters.items()}


_RESNET = "He et al., CVPR 2016"

MODELS: Mapping[str, Model] = {
    "resnet18": Model(resnet.resnet18, _RESNET),
    "resnet34": Model(resnet.resnet34, _RESNET),
    "resnet50": Model(resnet.resnet50, _RESNET),
    "resnet101": Model(resnet.resnet101, _RESNET),
    "resnet152": Model(resnet.resnet152, _RESNET),
    "unet2d": Model(unet.unet2d, "Ronneberger et al., MICCAI 2015"),
    "unet3d": Model(unet.unet3d, "Çiçek et al., MICCAI 2016"),
}
"""Every model; the default options are those of the paper or the reference implementation."""


def network(name: str, **options: Any) -> Network:
    """Return a model without weights, which costs nothing whatever its size.

    Args:
        name: one of :data:`MODELS`.
        options: what the model's function takes, such as ``size`` or ``classes``.

    Raises:
        LayerError: there is no such model or option, or sizes do not fit.
    """
    if name not in MODELS:
        raise LayerError(f"no model '{name}' in the zoo; there are: {', '.join(MODELS)}")
    model = MODELS[name]
    unknown = sorted(options.keys() - model.options.keys())
    if unknown:
        raise LayerError(
            f"{name}: has no option '{unknown[0]}'; there are: {', '.join(model.options)}"
        )
    return model.function(**options)


def build(name: str, *, seed: int = 0, **options: Any) -> Graph:
    """Return a model as a canonical graph with seeded weights; see :func:`network`."""
    return network(name, **options).graph(seed)
