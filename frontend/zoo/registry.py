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
from . import (
    bert,
    deeplab,
    densenet,
    dynunet,
    efficientnet,
    mobilenet,
    recurrent,
    resnet,
    segresnet,
    unet,
    unetplusplus,
    unetr,
    vgg,
    vit,
)


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
_VGG = "Simonyan and Zisserman, ICLR 2015"

MODELS: Mapping[str, Model] = {
    "resnet8": Model(resnet.resnet8, _RESNET),
    "resnet20": Model(resnet.resnet20, _RESNET),
    "resnet18": Model(resnet.resnet18, _RESNET),
    "resnet34": Model(resnet.resnet34, _RESNET),
    "resnet50": Model(resnet.resnet50, _RESNET),
    "resnet101": Model(resnet.resnet101, _RESNET),
    "resnet152": Model(resnet.resnet152, _RESNET),
    "vgg16": Model(vgg.vgg16, _VGG),
    "vgg19": Model(vgg.vgg19, _VGG),
    "vgg16_bn": Model(vgg.vgg16_bn, _VGG),
    "vgg19_bn": Model(vgg.vgg19_bn, _VGG),
    "densenet121": Model(densenet.densenet121, "Huang et al., CVPR 2017"),
    "mobilenet_v2": Model(mobilenet.mobilenet_v2, "Sandler et al., CVPR 2018"),
    "efficientnet_b0": Model(efficientnet.efficientnet_b0, "Tan and Le, ICML 2019"),
    "vit_b16": Model(vit.vit_b16, "Dosovitskiy et al., ICLR 2021"),
    "unet2d": Model(unet.unet2d, "Ronneberger et al., MICCAI 2015"),
    "unet3d": Model(unet.unet3d, "Çiçek et al., MICCAI 2016"),
    "unet_plus_plus": Model(unetplusplus.unet_plus_plus, "Zhou et al., DLMIA 2018"),
    "segresnet3d": Model(segresnet.segresnet3d, "Myronenko, BrainLes 2018"),
    "dynunet3d": Model(dynunet.dynunet3d, "Isensee et al., Nature Methods 2021"),
    "unetr3d": Model(unetr.unetr3d, "Hatamizadeh et al., WACV 2022"),
    "deeplabv3_plus": Model(deeplab.deeplabv3_plus, "Chen et al., ECCV 2018"),
    "bert_base": Model(bert.bert_base, "Devlin et al., NAACL 2019"),
    "lstm_classifier": Model(recurrent.lstm_classifier, "Graves and Schmidhuber, 2005"),
    "gru_classifier": Model(recurrent.gru_classifier, "Cho et al., EMNLP 2014"),
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
