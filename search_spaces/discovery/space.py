"""Discovery: a user's own network becomes a search space."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from search_spaces.architecture import Architecture
from search_spaces.discovery.merges import Merge, NotVaried, find_merges
from search_spaces.discovery.rewriting import largest_difference, propagate, with_fusions
from search_spaces.discovery.tracing import Traced, trace
from search_spaces.errors import SpaceError
from search_spaces.fusions import operator
from search_spaces.networks import FusionFactory, InputSpec, NetworkDesign, PointShape
from search_spaces.space import DEFAULT_OPERATORS, DEFAULT_REDUCTIONS, FusionPoint, SearchSpace, offer

#: How far the all-add network may be from the original, in parts of its largest output.
EXACT = 1e-6


@dataclass(frozen=True, eq=False)
class DiscoveredDesign:
    """A `NetworkDesign` around a traced network. `template` has `add` or a concatenation at every point.

    `input_shape` is the channels, height and width of the example; `default_input` has its longer side.
    """

    title: str
    template: fx.GraphModule
    shapes: tuple[PointShape, ...]
    default_input: InputSpec
    input_shape: tuple[int, int, int]

    def __deepcopy__(self, memo: dict[int, Any]) -> DiscoveredDesign:
        return self  # nothing changes it, and a network that knows its space is copied often

    @property
    def summary(self) -> str:
        return f"{self.title}, discovered: {len(self.shapes)} fusion points"

    def points(self, spec: InputSpec) -> tuple[PointShape, ...]:
        """The points as traced. Raises SpaceError for another input than the example's."""
        if spec != self.default_input:
            raise SpaceError(f"{self.title} was discovered for {self.default_input}, not {spec}: discover it again")
        return self.shapes

    def build(self, spec: InputSpec, fuse: FusionFactory) -> nn.Module:
        """A copy of the original with its weights and modes, and `fuse(name, channels)` at each point."""
        self.points(spec)
        network = copy.deepcopy(self.template)
        tensors = [*self.template.parameters(), *self.template.buffers()]
        like = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.empty(0))
        for shape in self.shapes:
            owner, _, leaf = shape.name.rpartition(".")
            module = fuse(shape.name, shape.channels).to(device=like.device, dtype=like.dtype)
            network.get_submodule(owner).add_module(leaf, module.train(network.get_submodule(shape.name).training))
        return network


@dataclass(frozen=True)
class DiscoveredSpace(SearchSpace):
    """A search space over the fusion points found in an ordinary network.

    It is a `SearchSpace` in all respects (`size`, `sample`, `neighbours`, `architecture`, `build`, …). `build`
    returns the original with its trained weights and another fusion at each point; with `add` everywhere it
    computes what the original computes, and every other fusion starts as the sum (or the concatenation).

    `not_varied` names every other merge with the reason why it is no point, and `notes` what the traced network
    takes for granted, such as a branch that was decided for the example's shape.
    """

    network: DiscoveredDesign = field(kw_only=True)
    not_varied: tuple[NotVaried, ...] = field(default=(), kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def design(self) -> NetworkDesign:
        return self.network

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self.network.input_shape

    @cached_property
    def points(self) -> tuple[FusionPoint, ...]:
        """The fusion points in forward order. A ratio above a point's channels is not on offer there."""
        shapes = self.network.points(self.input)
        return tuple(_offer(shape, self.operators, self.reductions) for shape in shapes)

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
    name: str | None = None,
) -> DiscoveredSpace:
    """The fusion points of an ordinary network: its sums and concatenations of feature maps.

    Args:
        model: takes one tensor. It is copied, weights and modes, and left as it is.
        example_input: [B, C, H, W], of the size that the network is meant for.
        operators, reductions: as of every space; `offer` says which stand at a point.
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
    space = examine(model, example_input, operators, reductions, name=name)
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
    name: str | None = None,
) -> DiscoveredSpace:
    """`discover`, but a network in which nothing can be varied is a space without points."""
    if not isinstance(model, nn.Module):
        raise SpaceError(f"a model is a torch.nn.Module, not {type(model).__name__}")
    if not isinstance(example_input, torch.Tensor) or example_input.dim() != 4:
        given = tuple(example_input.shape) if isinstance(example_input, torch.Tensor) else type(example_input).__name__
        raise SpaceError(f"the example input is a tensor [B, C, H, W], not {given}")
    for op in operators:
        operator(op)
    title = name or type(model).__name__
    classes = _classes(model, example_input)
    traced = trace(model, example_input)
    try:
        propagate(traced, example_input)
    except Exception as error:
        raise SpaceError(f"{title} cannot be searched: its traced form does not run: {_first_line(error)}") from error
    found, refused = find_merges(traced)
    merges: list[Merge] = []
    for merge in found:
        if len(_offer(merge.shape, operators, reductions).choices) > 1:
            merges.append(merge)
        else:
            many = "two" if len(merge.maps) == 2 else "more than two"
            refused.append(NotVaried(merge.shape.name, f"of the operators on offer only add merges {many} maps"))
    template, merges, unsafe = _exact_template(model, traced, merges, example_input, title)
    _, channels, height, width = example_input.shape
    spec = InputSpec(channels, max(height, width), classes)
    design = DiscoveredDesign(title, template, tuple(merge.shape for merge in merges), spec, (channels, height, width))
    return DiscoveredSpace(
        title,
        spec,
        tuple(operators),
        tuple(reductions),
        network=design,
        not_varied=(*refused, *unsafe),
        notes=(*traced.decided, *_own_train_methods(traced)),
    )


def _exact_template(
    model: nn.Module, traced: Traced, merges: list[Merge], example: torch.Tensor, title: str
) -> tuple[fx.GraphModule, list[Merge], list[NotVaried]]:
    """The network with its points, proven to give the original's outputs; in-place sums give way if they must."""
    template = with_fusions(traced, merges)
    difference = largest_difference(model, template, example, relative=True)
    if difference <= EXACT:
        return template, merges, []
    safe = [merge for merge in merges if merge.mutated is None]
    if len(safe) < len(merges):
        template = with_fusions(traced, safe)
        difference = largest_difference(model, template, example, relative=True)
        if difference <= EXACT:
            reason = "an in-place sum whose map is read elsewhere under another name"
            return template, safe, [NotVaried(m.shape.name, reason) for m in merges if m.mutated is not None]
    raise SpaceError(
        f"{title} cannot be searched: traced, it gives outputs that differ from its own by {difference:.1%} "
        "(hint: a forward that is random in evaluation, or writes into tensors in place, cannot be traced)"
    )


def _offer(shape: PointShape, operators: Sequence[str], reductions: Sequence[int]) -> FusionPoint:
    return offer(shape, operators, [ratio for ratio in reductions if ratio <= shape.channels])


def _classes(model: nn.Module, example: torch.Tensor) -> int:
    """The width of a [B, classes] output, 0 where the output is another."""
    try:
        with torch.no_grad():
            output = copy.deepcopy(model).eval()(example.clone())
    except Exception as error:
        shape = list(example.shape)
        raise SpaceError(
            f"{type(model).__name__} does not run on an input of shape {shape}: {_first_line(error)}"
        ) from error
    leaves = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, torch.Tensor)]
    return int(leaves[0].shape[1]) if len(leaves) == 1 and leaves[0].dim() == 2 else 0


def _own_train_methods(traced: Traced) -> list[str]:
    steps = {str(node.target) for node in traced.graph.nodes if node.op == "call_module"}
    return [
        f"{path or 'the network'}: the train() method of {type(module).__name__} is its own and does not run any more"
        for path, module in traced.root.named_modules()
        if type(module).train is not nn.Module.train and path not in steps
    ]


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
