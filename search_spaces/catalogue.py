"""The named networks. To add one: a design in `networks/`, a line here."""

from __future__ import annotations

from search_spaces.errors import unknown
from search_spaces.networks import (
    GoogLeNetDesign,
    InceptionDesign,
    NetworkDesign,
    cifar_pyramid,
    cifar_resnet,
    imagenet_pyramid,
    imagenet_resnet,
    resnext50,
)

_DESIGNS: dict[str, NetworkDesign] = {
    **{f"resnet{depth}": cifar_resnet(depth) for depth in (8, 14, 20, 32, 56)},
    "inception-cifar": InceptionDesign(),
    "resnet20-fpn": cifar_pyramid(20, "fpn"),
    "resnet20-pan": cifar_pyramid(20, "pan"),
    **{f"resnet{depth}": imagenet_resnet(depth) for depth in (18, 34, 50, 101)},
    "resnext50": resnext50(),
    "googlenet": GoogLeNetDesign(),
    **{f"resnet{depth}-fpn": imagenet_pyramid(depth, "fpn") for depth in (18, 34, 50)},
    "resnet18-pan": imagenet_pyramid(18, "pan"),
}


def design(name: str) -> NetworkDesign:
    """The network design of that name. Raises SpaceError with the nearest known one."""
    if name not in _DESIGNS:
        raise unknown("space", name, _DESIGNS)
    return _DESIGNS[name]


def names() -> tuple[str, ...]:
    """All named spaces, small networks first."""
    return tuple(_DESIGNS)
