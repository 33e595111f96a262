"""What every searchable network offers: its fusion points, and itself with given fusions in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from torch import nn

from search_spaces.errors import SpaceError

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
    """Where maps are merged into one of [B, channels, height, width].

    `kind` is `short skip` (x the identity, y the residual), `long skip` (the lateral map first, the resized one last)
    or `same layer` (branches side by side). `inputs` are the channels of the maps merged: for a `sum` each has
    `channels` (a projection has already brought x to y's shape), for a `cat` they add up to `channels`.
    `in_channels` and `stride` describe the block that the point closes.
    """

    name: str
    kind: str
    in_channels: int
    channels: int
    height: int
    width: int
    stride: int
    merge: Literal["sum", "cat"] = "sum"
    inputs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.inputs:
            object.__setattr__(self, "inputs", (self.channels, self.channels))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class NetworkDesign(Protocol):
    """A family member of which the catalogue makes a space. Implementations are frozen dataclasses."""

    @property
    def summary(self) -> str:
        """One line for `nas spaces`."""

    @property
    def default_input(self) -> InputSpec | None:
        """The input the network was designed for; None where it takes whatever its user has."""

    def points(self, spec: InputSpec) -> tuple[PointShape, ...]:
        """The fusion points, in forward order. Raises SpaceError when the input is too small."""

    def build(self, spec: InputSpec, fuse: FusionFactory) -> nn.Module:
        """The network, its trunk initialised before any fusion is made.

        That order keeps the trunk's initial weights the same for every architecture under one seed.
        """


class ConstructedDesign(ABC):
    """A design whose networks are made by one call of a class, which an export can write down."""

    @abstractmethod
    def construction(self, spec: InputSpec) -> tuple[type[nn.Module], dict[str, Any]]:
        """The network's class and the keyword arguments of its call; to these comes `fuse`, a `FusionFactory`."""

    def build(self, spec: InputSpec, fuse: FusionFactory) -> nn.Module:
        """See `NetworkDesign.build`."""
        network, arguments = self.construction(spec)
        return network(**arguments, fuse=fuse)


def check_size(network: str, spec: InputSpec, smallest: int) -> None:
    """Raises SpaceError when images are smaller than a network can take."""
    if spec.size < smallest:
        raise SpaceError(
            f"{network} takes images of {smallest} pixels or more, not {spec.size}: choose data with larger images, "
            f"or resize those of a folder (image_size = {smallest})"
        )
