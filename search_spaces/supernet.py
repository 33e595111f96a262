"""A supernet: one trunk with every choice at every fusion point, of which each forward takes one path."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from search_spaces.architecture import Architecture
from search_spaces.errors import SpaceError
from search_spaces.inheritance import fusion_paths, owner_of
from search_spaces.space import SearchSpace, fusion_at, fusion_modules


class SinglePath(nn.Module):
    """All choices of a fusion point, by their texts (`aff/4`); `chosen` is the one that fuses.

    Shapes: those of the choices. The choices share no weight: two reduction ratios are two modules.
    """

    def __init__(self, choices: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.choices = nn.ModuleDict(dict(choices))
        self.chosen = next(iter(choices))

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        fused: torch.Tensor = self.choices[self.chosen](*maps)
        return fused


def build_supernet(space: SearchSpace) -> nn.Module:
    """The space's network with all its choices at each point: [B, channels, size, size] -> logits [B, classes].

    Its trunk starts as that of every architecture under the same of torch's seeds.
    """
    design = space.design  # in a worker, this is what runs a user's file and registers her operators
    points = {point.name: point for point in space.points}

    def fuse(name: str, channels: int) -> nn.Module:
        point = points[name]
        fusion = SinglePath({str(choice): fusion_at(point.shape, choice, space.settings) for choice in point.choices})
        fusion.fusion_point = name  # type: ignore[assignment]
        return fusion

    return design.build(space.input, fuse)


def choose_path(supernet: nn.Module, architecture: Architecture) -> None:
    """From now on each forward goes through the choices of `architecture`."""
    labels = architecture.labels()
    for name, fusion in fusion_modules(supernet).items():
        assert isinstance(fusion, SinglePath)
        fusion.chosen = labels[name]


def build_path(space: SearchSpace, architecture: Architecture, weights: Mapping[str, torch.Tensor]) -> nn.Module:
    """The network of one architecture with its part of a supernet's weights and running statistics.

    Raises:
        SpaceError: the weights are not a supernet's of this space: the first that is missing or of another shape.
    """
    network = space.build(architecture)
    labels = architecture.labels()
    places = {path: labels[point] for path, point in fusion_paths(network).items()}
    state = {}
    for name, tensor in network.state_dict().items():
        path = owner_of(name, places)
        there = name if path is None else f"{path}.choices.{places[path]}{name.removeprefix(path)}"
        if there not in weights:
            raise SpaceError(f"the supernet lacks the weight {there!r}: it is of another space than {space.name}")
        if weights[there].shape != tensor.shape:
            given, wanted = list(weights[there].shape), list(tensor.shape)
            raise SpaceError(f"the supernet's {there!r} has shape {given}, but {space.name} has {wanted}")
        state[name] = weights[there]
    network.load_state_dict(state)
    return network
