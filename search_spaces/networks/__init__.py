"""The networks whose fusion points can be searched."""

from search_spaces.networks.design import FusionFactory, InputSpec, NetworkDesign, PointShape
from search_spaces.networks.resnet import ResNetDesign, cifar_resnet, imagenet_resnet, resnext50

__all__ = [
    "FusionFactory",
    "InputSpec",
    "NetworkDesign",
    "PointShape",
    "ResNetDesign",
    "cifar_resnet",
    "imagenet_resnet",
    "resnext50",
]
