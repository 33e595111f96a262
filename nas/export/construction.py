"""How a network is put together: the call that builds it, and the call that builds each fusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from nas.export.baking import baked
from nas.export.errors import ExportError
from nas.export.graph import homes_of
from search_spaces import Architecture, FusionChoice, PointShape, SearchSpace
from search_spaces.fusions import FusionSettings, operator
from search_spaces.networks import ConstructedDesign
from search_spaces.space import fusion_at


@dataclass(frozen=True)
class FusionCall:
    """One fusion point: its operator's class, called with its channels and, where it takes one, a reduction."""

    shape: PointShape
    choice: FusionChoice
    settings: FusionSettings

    @property
    def point(self) -> str:
        return self.shape.name

    @property
    def module(self) -> type[nn.Module]:
        found = operator(self.choice.op)
        return found.cat if self.shape.merge == "cat" and found.cat is not None else found.module


@dataclass(frozen=True)
class Construction:
    """A network's class, the arguments of its call beside `fuse`, and the fusions in the order they are made.

    A network that was traced has no class: it stands here itself.
    """

    network: type[nn.Module] | fx.GraphModule
    arguments: dict[str, Any]
    fusions: tuple[FusionCall, ...]

    @property
    def homes(self) -> set[str]:
        """The packages in which operators and a traced network's parts are defined: an export carries their source."""
        operators = {call.module.__module__.partition(".")[0] for call in self.fusions} - {"torch"}
        return operators | homes_of(self.network) if isinstance(self.network, fx.GraphModule) else operators


def construction(space: SearchSpace, architecture: Architecture) -> Construction:
    """How the space builds an architecture: by its design's `construction`, or as a traced network.

    Raises:
        ExportError: a design of the user's own that has no `construction`.
    """
    choices = space.architecture(architecture.choices).choices
    shapes = {point.name: point.shape for point in space.points}
    calls: list[FusionCall] = []

    def fuse(name: str, channels: int) -> nn.Module:
        calls.append(FusionCall(shapes[name], choices[name], space.settings))
        return fusion_at(shapes[name], choices[name], space.settings)

    design = space.design
    with torch.random.fork_rng(devices=[]):
        network = design.build(space.input, fuse)
    if isinstance(network, fx.GraphModule):
        return Construction(baked(network), {}, tuple(calls))
    if not isinstance(design, ConstructedDesign):
        raise ExportError(
            f"{space.name} has a design that does not say how it builds its network: derive {type(design).__name__} "
            "from search_spaces.networks.ConstructedDesign and give it construction(spec) in place of build"
        )
    return Construction(*design.construction(space.input), tuple(calls))
