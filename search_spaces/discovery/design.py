"""A traced network as a design: its merges are fusion points, its weights are kept."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from search_spaces.discovery.exactness import difference, unsteady
from search_spaces.discovery.merges import Merge, NotVaried, find_merges
from search_spaces.discovery.plain import copied, plain
from search_spaces.discovery.rewriting import copy_what_changes, propagate, with_fusions
from search_spaces.discovery.tracing import Traced, trace
from search_spaces.errors import SpaceError
from search_spaces.networks import FusionFactory, InputSpec, PointShape


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
    not_varied: tuple[NotVaried, ...]
    notes: tuple[str, ...]

    def __deepcopy__(self, memo: dict[int, Any]) -> DiscoveredDesign:
        return self  # nothing changes it, and a network that knows its space is copied often

    @property
    def summary(self) -> str:
        return f"{self.title}, discovered: {len(self.shapes)} fusion points"

    def at(self, spec: InputSpec) -> DiscoveredDesign:
        """Itself. Raises SpaceError for another input than the example's."""
        if spec != self.default_input:
            raise SpaceError(f"{self.title} was discovered for {self.default_input}, not {spec}: discover it again")
        return self

    def points(self, spec: InputSpec) -> tuple[PointShape, ...]:
        """The points as traced. Raises SpaceError for another input than the example's."""
        return self.at(spec).shapes

    def build(self, spec: InputSpec, fuse: FusionFactory) -> nn.Module:
        """A copy of the original with its weights and modes, and `fuse(name, channels)` at each point."""
        network = copy.deepcopy(self.at(spec).template)
        tensors = [*self.template.parameters(), *self.template.buffers()]
        like = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.empty(0))
        for shape in self.shapes:
            owner, _, leaf = shape.name.rpartition(".")
            module = fuse(shape.name, shape.channels).to(device=like.device, dtype=like.dtype)
            network.get_submodule(owner).add_module(leaf, module.train(network.get_submodule(shape.name).training))
        return network


def find_design(
    model: nn.Module, example_input: torch.Tensor, title: str, unvaried: Callable[[PointShape], str | None]
) -> DiscoveredDesign:
    """Trace a network and make modules of its merges, but for those that `unvaried` gives a reason against.

    Raises SpaceError as `discover` does.
    """
    if not isinstance(model, nn.Module):
        raise SpaceError(f"a model is a torch.nn.Module, not {type(model).__name__}")
    if not isinstance(example_input, torch.Tensor) or example_input.dim() != 4:
        given = tuple(example_input.shape) if isinstance(example_input, torch.Tensor) else type(example_input).__name__
        raise SpaceError(f"the example input is a tensor [B, C, H, W], not {given}")
    dtype = torch.float64 if example_input.dtype is torch.float64 else torch.float32
    model = copied(title, plain(title, model, dtype))
    classes = _classes(model, example_input)
    traced = trace(model, example_input)
    if unsteady(model, example_input):
        where = "; ".join(f"{path}: {reason}" for path, reason in list(traced.whole.items())[:3])
        raise SpaceError(
            f"{title} cannot be searched: in evaluation it gives other outputs each time for the same images"
            f"{f' ({where})' if where else ''}: let it draw or count only where self.training"
        )
    try:
        propagate(traced, example_input)
    except Exception as error:
        raise SpaceError(f"{title} cannot be searched: its traced form does not run: {_first_line(error)}") from error
    found, refused = find_merges(traced)
    reasons = [unvaried(merge.shape) for merge in found]
    merges = [merge for merge, reason in zip(found, reasons, strict=True) if reason is None]
    refused += [NotVaried(m.shape.name, why) for m, why in zip(found, reasons, strict=True) if why is not None]
    template, merges, unsafe = _exact_template(model, traced, merges, example_input, title)
    doubled = copy_what_changes(template, [merge.shape.name for merge in merges], example_input)
    _, channels, height, width = example_input.shape
    return DiscoveredDesign(
        title,
        template,
        tuple(merge.shape for merge in merges),
        InputSpec(channels, max(height, width), classes),
        (channels, height, width),
        (*refused, *unsafe),
        (
            *traced.decided,
            *_own_train_methods(traced),
            *(f"{name}: it is given a copy of a map that is changed in place afterwards" for name in doubled),
            *_never_called(traced),
        ),
    )


def _exact_template(
    model: nn.Module, traced: Traced, merges: list[Merge], example: torch.Tensor, title: str
) -> tuple[fx.GraphModule, list[Merge], list[NotVaried]]:
    """The network with its points, proven to be the original; in-place sums give way if they must."""
    template = with_fusions(traced, merges)
    wrong = difference(model, template, example)
    if not wrong:
        return template, merges, []
    safe = [merge for merge in merges if merge.mutated is None]
    if len(safe) < len(merges):
        template = with_fusions(traced, safe)
        if not difference(model, template, example):
            reason = "an in-place sum whose map is read elsewhere under another name"
            return template, safe, [NotVaried(m.shape.name, reason) for m in merges if m.mutated is not None]
    raise SpaceError(
        f"{title} cannot be searched: {wrong} (hint: a forward that is random in evaluation, or writes into tensors "
        "in place, cannot be traced)"
    )


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


def _never_called(traced: Traced) -> list[str]:
    """Modules with weights that forward does not use: they stay as they are, and cost their parameters."""
    used = {str(node.target) for node in traced.graph.nodes if node.op in ("call_module", "get_attr")}
    entered = {node.meta["frame"][0] for node in traced.graph.nodes}
    tensors = {id(t) for name in used for t in _tensors_at(traced.root, name)}
    idle = [
        path
        for path, module in traced.root.named_modules()
        if path
        and path not in entered
        and (own := list(module.parameters()))
        and not any(id(t) in tensors for t in own)
    ]
    outermost = [path for path in idle if path.rpartition(".")[0] not in idle]
    return [f"{path}: forward never calls it; its weights stay as they are" for path in outermost]


def _tensors_at(root: nn.Module, name: str) -> list[torch.Tensor]:
    """The parameters of the module, or the parameter, of that name."""
    try:
        found = operator.attrgetter(name)(root)
    except AttributeError:
        return []
    return list(found.parameters()) if isinstance(found, nn.Module) else [found]


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
