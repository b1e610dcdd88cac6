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

from .registry import MODELS, Model, build, network
from .resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from .unet import unet2d, unet3d

__all__ = [
    "MODELS",
    "Model",
    "build",
    "network",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "unet2d",
    "unet3d",
]
