"""Discovery: a user's own network becomes a search space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from search_spaces.architecture import Architecture
from search_spaces.discovery.design import DiscoveredDesign, find_design
from search_spaces.discovery.merges import NotVaried
from search_spaces.errors import SpaceError
from search_spaces.fusions import FusionSettings, operator
from search_spaces.fusions.settings import DEFAULT
from search_spaces.networks import NetworkDesign, PointShape
from search_spaces.space import DEFAULT_OPERATORS, DEFAULT_REDUCTIONS, SearchSpace, Tie, offer


@dataclass(frozen=True)
class DiscoveredSpace(SearchSpace):
    """A search space over the fusion points found in an ordinary network.

    It is a `SearchSpace` in all respects (`size`, `sample`, `neighbours`, `architecture`, `build`, …). `build`
    returns the original with its weights and another fusion at each point; with `add` everywhere it computes what
    the original computes, and every other fusion starts as the sum (or the concatenation).

    It was found in an object in memory, so it cannot be made anew from its JSON. For that, and for `nas search`,
    name the network: `SearchSpace.named("net.py:MODEL", InputSpec(3, 64, 10))`.
    """

    network: DiscoveredDesign = field(kw_only=True)

    @property
    def design(self) -> NetworkDesign:
        return self.network

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self.network.input_shape

    @property
    def not_varied(self) -> tuple[NotVaried, ...]:
        """Every other merge, with the reason why it is no point."""
        return self.network.not_varied

    @property
    def notes(self) -> tuple[str, ...]:
        """What the traced network takes for granted, such as a branch that was decided for the example's shape."""
        return self.network.notes

    def build(self, architecture: Architecture) -> nn.Module:
        """The original network with its weights, and the architecture's fusions. Raises what SearchSpace.build does."""
        network = super().build(architecture)
        assert isinstance(network, fx.GraphModule)
        network.meta["fusion_space"] = self
        return network

    def to_json(self) -> dict[str, Any]:
        return {
            **super().to_json(),
            "points": [point.to_json() for point in self.points],
            "not_varied": [place.to_json() for place in self.not_varied],
            "notes": list(self.notes),
        }


def discover(
    model: nn.Module,
    example_input: torch.Tensor,
    operators: Sequence[str] = DEFAULT_OPERATORS,
    reductions: Sequence[int] = DEFAULT_REDUCTIONS,
    *,
    vary: Sequence[str] = (),
    tie: Tie = "none",
    settings: FusionSettings = DEFAULT,
    name: str | None = None,
) -> DiscoveredSpace:
    """The fusion points of an ordinary network: its sums and concatenations of feature maps.

    Args:
        model: takes one tensor. It is copied, weights and modes, and left as it is.
        example_input: [B, C, H, W], of the size that the network is meant for.
        operators, reductions, vary, tie, settings: as of every `SearchSpace`; `offer` says what stands at a point.
        name: of the space, the class of the model unless given.

    A merge is `+`, `+=`, `torch.add`, `Tensor.add_`, `torch.cat` or one of its synonyms. It is a fusion point when
    it merges feature maps [B, C, H, W] of one shape (for a concatenation: of channels); every other one stands in
    `not_varied` with the reason. At a sum, x is the map behind which fewer steps lie since the network's input
    (the identity of a residual block, the lateral map of a pyramid), y the other; equals keep the order in which
    they are written, and a concatenation always does. Products (gates) are no merges.

    A point is a long skip when one of its maps was enlarged after they parted (a pyramid's top-down map), else a
    sum is a short skip and a concatenation the same layer.

    Raises:
        SpaceError: the network does not run on the example, cannot be traced, or has nothing to vary: why.
    """
    space = examine(model, example_input, operators, reductions, vary=vary, tie=tie, settings=settings, name=name)
    if not space.points:
        reasons = "; ".join(f"{place.location}: {place.reason}" for place in space.not_varied[:3])
        more = f" and {len(space.not_varied) - 3} more" if len(space.not_varied) > 3 else ""
        raise SpaceError(f"{space.name} has no merge that can be varied: {reasons or 'it has none at all'}{more}")
    return space


def examine(
    model: nn.Module,
    example_input: torch.Tensor,
    operators: Sequence[str] = DEFAULT_OPERATORS,
    reductions: Sequence[int] = DEFAULT_REDUCTIONS,
    *,
    vary: Sequence[str] = (),
    tie: Tie = "none",
    settings: FusionSettings = DEFAULT,
    name: str | None = None,
) -> DiscoveredSpace:
    """`discover`, but a network in which nothing can be varied is a space without points."""
    for op in operators:
        operator(op)

    def unvaried(shape: PointShape) -> str | None:
        if len(offer(shape, operators, reductions).choices) > 1:
            return None
        many = "two" if len(shape.inputs) == 2 else "more than two"
        does = f"merges {many} maps" if shape.merge == "sum" else "can stand at a concatenation"
        return f"of the operators on offer only add {does}"

    design = find_design(model, example_input, name or type(model).__name__, unvaried)
    given = (tuple(operators), tuple(reductions), tuple(vary), tie, settings)
    return DiscoveredSpace(design.title, design.default_input, *given, network=design)
