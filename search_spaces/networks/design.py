"""What every searchable network offers: its fusion points, and itself with given fusions in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from torch import nn

#: Called with a point's name and channels, returns the module that fuses there.
FusionFactory = Callable[[str, int], nn.Module]


@dataclass(frozen=True)
class InputSpec:
    """What a network is built for: images of `channels` × `size` × `size`, `classes` classes."""

    channels: int
    size: int
    classes: int

    def to_json(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class PointShape:
    """Where two maps are merged: x the identity, y the residual, both [B, channels, height, width].

    `in_channels` and `stride` describe the block the point closes; a projection has already brought
    x to y's shape.
    """

    name: str
    kind: str
    in_channels: int
    channels: int
    height: int
    width: int
    stride: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class NetworkDesign(Protocol):
    """A family member of which the catalogue makes a space. Implementations are frozen dataclasses."""

    @property
    def summary(self) -> str:
        """One line for `nas spaces`."""

    @property
    def default_input(self) -> InputSpec:
        """The input the network was designed for."""

    def points(self, spec: InputSpec) -> tuple[PointShape, ...]:
        """The fusion points, in forward order. Raises SpaceError when the input is too small."""

    def build(self, spec: InputSpec, fuse: FusionFactory) -> nn.Module:
        """The network, its trunk initialised before any fusion is made.

        That order keeps the trunk's initial weights the same for every architecture under one seed.
        """
