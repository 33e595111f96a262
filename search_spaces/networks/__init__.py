"""The networks whose fusion points can be searched."""

from search_spaces.networks.design import ConstructedDesign, FusionFactory, InputSpec, NetworkDesign, PointShape
from search_spaces.networks.googlenet import GoogLeNetDesign
from search_spaces.networks.inception import InceptionDesign
from search_spaces.networks.pyramid import PyramidDesign, cifar_pyramid, imagenet_pyramid
from search_spaces.networks.resnet import ResNetDesign, cifar_resnet, imagenet_resnet, resnext50

__all__ = [
    "ConstructedDesign",
    "FusionFactory",
    "GoogLeNetDesign",
    "InceptionDesign",
    "InputSpec",
    "NetworkDesign",
    "PointShape",
    "PyramidDesign",
    "ResNetDesign",
    "cifar_pyramid",
    "cifar_resnet",
    "imagenet_pyramid",
    "imagenet_resnet",
    "resnext50",
]
