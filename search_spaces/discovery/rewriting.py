"""A traced network with its merges as modules: exact, with every weight, ready to receive other fusions."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from search_spaces.discovery.merges import Merge
from search_spaces.discovery.tracing import Traced, set_modes
from search_spaces.fusions.concatenation import Concatenation
from search_spaces.fusions.linear import Add


class Propagation(fx.Interpreter):
    """Runs a graph once and leaves each node's value in `meta["value"]`, tensors as shape and type only."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        n.meta["value"] = value.detach().to("meta") if isinstance(value, torch.Tensor) else value
        return value


def propagate(traced: Traced, example: torch.Tensor) -> None:
    """Leave in every node's `meta["value"]` what it computes for `example` in evaluation."""
    network = assemble(traced, copy.deepcopy(traced.root))
    with torch.no_grad():
        Propagation(network.eval(), graph=traced.graph).run(example.clone())


def assemble(traced: Traced, root: nn.Module, graph: fx.Graph | None = None) -> fx.GraphModule:
    """The graph as a network that owns all of `root`'s parameters and buffers under their names, used or not."""
    network = fx.GraphModule(root, traced.graph if graph is None else graph, type(root).__name__)
    saved = root.state_dict(keep_vars=True)
    for name, tensor in saved.items():
        if isinstance(tensor, torch.Tensor) and name not in network.state_dict():
            _graft(network, name, tensor)
    for path, module in network.named_modules():
        for name in module._buffers:
            if f"{path}.{name}".lstrip(".") not in saved:  # a constant that tracing found: no part of the weights
                module._non_persistent_buffers_set.add(name)
    set_modes(network, {path: module.training for path, module in traced.root.named_modules()})
    return network


def _graft(network: nn.Module, name: str, tensor: torch.Tensor) -> None:
    *owners, leaf = name.split(".")
    owner = network
    for part in owners:
        if not isinstance(getattr(owner, part, None), nn.Module):
            owner.add_module(part, nn.Module())
        owner = getattr(owner, part)
    if isinstance(tensor, nn.Parameter):
        owner.register_parameter(leaf, tensor)
    else:
        owner.register_buffer(leaf, tensor)


def with_fusions(traced: Traced, merges: Iterable[Merge]) -> fx.GraphModule:
    """The network in which each merge is a module of the merge's name, `add` for a sum, concatenation for a cat.

    `x += y` becomes out-of-place: whoever reads x afterwards reads the module's result.
    """
    root = copy.deepcopy(traced.root)
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    result = graph.graph_copy(traced.graph, copied)
    graph.output(result)
    graph.set_codegen(copy.deepcopy(traced.graph._codegen))
    order = {node: index for index, node in enumerate(graph.nodes)}
    fusions: dict[str, nn.Module] = {}
    for merge in merges:
        name, old = merge.shape.name, copied[merge.node]
        inputs = len(merge.maps)
        plain = merge.shape.merge == "sum"
        fusions[name] = Add(merge.shape.channels, inputs=inputs) if plain else Concatenation(merge.shape.inputs)
        owner, _, leaf = name.rpartition(".")
        # A merge directly in a container's forward: the container becomes a plain module of the graph.
        root.get_submodule(owner).add_module(leaf, fusions[name])
        with graph.inserting_before(old):
            new = graph.call_module(name, tuple(copied[source] for source in merge.maps))
        order[new] = order[old]
        if merge.mutated is not None:
            mutated = copied[merge.mutated]
            for user in list(mutated.users):
                if order[user] > order[old]:
                    user.replace_input_with(mutated, new)
        old.replace_all_uses_with(new)
        for source, target in copied.items():
            if target is old:
                copied[source] = new
        graph.erase_node(old)
    network = assemble(traced, root, graph)
    for name in fusions:
        owner, _, _ = name.rpartition(".")
        network.get_submodule(name).training = network.get_submodule(owner).training
    return network


class _Changes(fx.Interpreter):
    """Runs a network once; `changed()` names the maps that a fusion was given and a later step wrote into."""

    def __init__(self, network: fx.GraphModule, fusions: set[str]) -> None:
        super().__init__(network)
        self._fusions = fusions
        self._given: list[tuple[fx.Node, int, torch.Tensor, int]] = []

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_module" and str(n.target) in self._fusions:
            given, _ = self.fetch_args_kwargs_from_env(n)
            self._given += [(n, index, given[index], given[index]._version) for index in range(len(given))]
        return super().run_node(n)

    def changed(self) -> list[tuple[str, int]]:
        return [(n.name, index) for n, index, tensor, version in self._given if tensor._version != version]


def copy_what_changes(network: fx.GraphModule, fusions: Iterable[str], example: torch.Tensor) -> list[str]:
    """Let a fusion have a copy of each map that is written into afterwards, as by an in-place activation.

    A sum needs its maps no more; an operator's gradients do. Returns the names of these fusions.
    """
    places: dict[tuple[str, int], None] = {}
    for training in (False, True):
        copied = copy.deepcopy(network).train(training)
        run = _Changes(copied, set(fusions))
        with torch.no_grad(), torch.random.fork_rng(devices=[]), suppress(Exception):  # some do not train on one image
            run.run(example.clone())
        places.update(dict.fromkeys(run.changed()))
    nodes = {node.name: node for node in network.graph.nodes}
    for name, index in places:
        node = nodes[name]
        with network.graph.inserting_before(node):
            clone = network.graph.call_method("clone", (node.args[index],))
        node.update_arg(index, clone)
    if places:
        network.recompile()
    return list(dict.fromkeys(str(nodes[name].target) for name, _ in places))


def largest_difference(
    first: nn.Module, second: nn.Module, inputs: torch.Tensor, *, training: bool = False, relative: bool = False
) -> float:
    """The largest |difference| of two networks' outputs on [B, C, H, W], from the same random numbers.

    `relative` divides it, tensor by tensor, by the largest magnitude in the first network's output: the outputs of
    an untrained network can be so small that any two look alike.

    Both are copied, so that neither a mode nor a running statistic of theirs changes. NaN where both have it is
    no difference; outputs of other structure or shape are infinitely different.
    """
    outputs: list[Sequence[Any]] = []
    with torch.random.fork_rng(devices=[] if inputs.device.type == "cpu" else [inputs.device]), torch.no_grad():
        for network in (first, second):
            torch.manual_seed(0)
            outputs.append(pytree.tree_leaves(copy.deepcopy(network).train(training)(inputs.clone())))
    if [_kind(value) for value in outputs[0]] != [_kind(value) for value in outputs[1]]:
        return float("inf")
    worst = 0.0
    for one, other in zip(*outputs, strict=True):
        if isinstance(one, torch.Tensor) and one.numel() and not torch.equal(one, other):
            different = (one.double() - other.double()).abs()
            different[one.isnan() & other.isnan()] = 0
            largest = float(different.nan_to_num(nan=float("inf")).max())
            scale = float(one.double().abs().nan_to_num(posinf=0).max()) if relative else 1.0
            worst = max(worst, largest / scale if scale else float("inf"))
    return worst


def _kind(value: Any) -> object:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else value
