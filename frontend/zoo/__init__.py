# SPDX-License-Identifier: MIT
"""The model zoo: known architectures as functions of their sizes, with seeded weights.

>>> from ranvier.frontend import zoo
>>> network = zoo.resnet18(size=64)
>>> network.parameter_count
11689512
>>> graph = zoo.build("resnet18", size=32, width=8, seed=1)
>>> [str(v) for v in graph.outputs]
['%scores: float32[1, 1000]']
"""

from .bert import bert_base
from .deeplab import deeplabv3_plus
from .densenet import densenet121
from .dynunet import dynunet3d
from .efficientnet import efficientnet_b0
from .mobilenet import mobilenet_v2
from .recurrent import gru_classifier, lstm_classifier
from .registry import MODELS, Model, build, network
from .resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from .segresnet import segresnet3d
from .unet import unet2d, unet3d
from .unetplusplus import unet_plus_plus
from .unetr import unetr3d
from .vgg import vgg16, vgg16_bn, vgg19, vgg19_bn
from .vit import vit_b16

__all__ = [
    "MODELS",
    "Model",
    "bert_base",
    "build",
    "deeplabv3_plus",
    "densenet121",
    "dynunet3d",
    "efficientnet_b0",
    "gru_classifier",
    "lstm_classifier",
    "mobilenet_v2",
    "network",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "segresnet3d",
    "unet2d",
    "unet3d",
    "unet_plus_plus",
    "unetr3d",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "vit_b16",
]
