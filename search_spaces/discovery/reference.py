"""A design by reference: `torchvision:NAME` or `FILE.py:OBJECT`, traced anew for each input it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from search_spaces.discovery.design import DiscoveredDesign, find_design
from search_spaces.discovery.exactness import untrainable
from search_spaces.discovery.loading import load_model
from search_spaces.discovery.merges import NotVaried
from search_spaces.errors import SpaceError
from search_spaces.networks import FusionFactory, InputSpec, PointShape


@dataclass(frozen=True)
class ReferencedDesign:
    """A `NetworkDesign` that finds its points in the network that `reference` names. See `load_model`.

    A callable is called for every network, so that torch's seed initialises it; the weights of an `nn.Module` are
    taken as they are. It travels as its reference: whoever builds from it loads and traces the network itself.
    """

    reference: str

    @property
    def summary(self) -> str:
        return f"{self.reference}, an ordinary network"

    @property
    def default_input(self) -> None:
        """None: an ordinary network does not say what it was designed for."""

    def points(self, spec: InputSpec) -> tuple[PointShape, ...]:
        """The fusion points for such inputs. Raises SpaceError when it cannot be traced or gives other classes."""
        return found(self.reference, spec).shapes

    def not_varied(self, spec: InputSpec) -> tuple[NotVaried, ...]:
        """Every other merge, with the reason why it is no point."""
        return found(self.reference, spec).not_varied

    def notes(self, spec: InputSpec) -> tuple[str, ...]:
        """What the traced network takes for granted."""
        return found(self.reference, spec).notes

    def build(self, spec: InputSpec, fuse: FusionFactory) -> nn.Module:
        """The network with newly made weights (an `nn.Module`'s own), and `fuse(name, channels)` at each point."""
        traced = found(self.reference, spec)
        weights = load_model(self.reference, spec.classes).state_dict()
        network = traced.build(spec, fuse)
        ours = network.state_dict()
        points = tuple(f"{shape.name}." for shape in traced.shapes)
        different = [name for name in weights if name not in ours or ours[name].shape != weights[name].shape]
        different += [name for name in ours if name not in weights and not name.startswith(points)]
        if different:
            raise SpaceError(
                f"{self.reference} gives another network each time it is called ({different[0]} differs): let it "
                "always return the same one"
            )
        network.load_state_dict(weights, strict=False)
        return network


@cache
def found(reference: str, spec: InputSpec) -> DiscoveredDesign:
    """What was found in the network for such inputs, once a process. Raises SpaceError as `discover` does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = load_model(reference, spec.classes)
        images = torch.randn(2, spec.channels, spec.size, spec.size)
    design = find_design(model, images, reference, lambda shape: None)
    if why := untrainable(model, images):
        raise SpaceError(f"{reference} runs on images of {spec.size} pixels, but does not train on them: {why}")
    if design.default_input.classes != spec.classes:
        gives = f"{design.default_input.classes} classes" if design.default_input.classes else "no [B, classes] tensor"
        raise SpaceError(
            f"{reference} gives {gives}, but there are {spec.classes}: name a callable that takes num_classes and "
            "returns the network"
        )
    return design
