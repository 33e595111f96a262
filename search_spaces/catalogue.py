"""The named networks. To add one: a design in `networks/`, a line here."""

from __future__ import annotations

from search_spaces.errors import unknown
from search_spaces.networks import NetworkDesign, cifar_resnet, imagenet_resnet, resnext50

_DESIGNS: dict[str, NetworkDesign] = {
    **{f"resnet{depth}": cifar_resnet(depth) for depth in (8, 14, 20, 32, 56)},
    **{f"resnet{depth}": imagenet_resnet(depth) for depth in (18, 34, 50, 101)},
    "resnext50": resnext50(),
}


def design(name: str) -> NetworkDesign:
    """The network design of that name. Raises SpaceError with the nearest known one."""
    if name not in _DESIGNS:
        raise unknown("space", name, _DESIGNS)
    return _DESIGNS[name]


def names() -> tuple[str, ...]:
    """All named spaces, small networks first."""
    return tuple(_DESIGNS)
