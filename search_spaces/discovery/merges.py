"""Which nodes of a traced network are merges, which of these can be a fusion point, and why the others cannot."""

from __future__ import annotations

import copy
import operator
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import fx

from search_spaces.discovery.layout import LAST, MAP, layouts, moves_dimensions
from search_spaces.discovery.probing import Probe
from search_spaces.discovery.tracing import Traced
from search_spaces.networks import PointShape

Verb = Literal["add", "cat", "stack"]

_FUNCTIONS: dict[Any, Verb] = {
    operator.add: "add",
    operator.iadd: "add",
    torch.add: "add",
    torch.cat: "cat",
    torch.concat: "cat",
    torch.concatenate: "cat",
    torch.stack: "stack",
    torch.hstack: "cat",
    torch.vstack: "stack",
    torch.dstack: "stack",
}
_METHODS: dict[str, Verb] = {"add": "add", "add_": "add", "__iadd__": "add", "__add__": "add"}


@dataclass(frozen=True)
class NotVaried:
    """A place that merges, or may merge, but is no fusion point: where and why."""

    location: str
    reason: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Merge:
    """A node that merges: `maps` in the order in which a fusion receives them, x first."""

    node: fx.Node
    shape: PointShape
    maps: tuple[fx.Node, ...]

    @property
    def mutated(self) -> fx.Node | None:
        """The map that `+=` or `add_` writes into."""
        in_place = self.node.target in (operator.iadd, "add_", "__iadd__")
        first = self.node.args[0] if in_place else None
        return first if isinstance(first, fx.Node) else None


def find_merges(traced: Traced) -> tuple[list[Merge], list[NotVaried]]:
    """The merges of a graph whose nodes carry their `value` (see `propagate`), in forward order."""
    named = _names(traced)
    facts = _Facts(traced)
    merges, refused = [], []
    for node, name in named.items():
        verb = _verb(node)
        reason = facts.shared(node) or (facts.add(node) if verb == "add" else facts.cat(node, verb))
        if reason:
            refused.append(NotVaried(name, reason))
        else:
            merges.append(facts.merge(node, name, verb))
    return merges, refused + list(_kept_whole(traced))


def _verb(node: fx.Node) -> Verb | None:
    if node.op == "call_function":
        return _FUNCTIONS.get(node.target)
    return _METHODS.get(str(node.target)) if node.op == "call_method" else None


def _names(traced: Traced) -> dict[fx.Node, str]:
    """`layer1.0.add`: the module in whose forward the merge stands, and `add1`, `add2`, … where it has several."""
    found = [node for node in traced.graph.nodes if _verb(node) and isinstance(node.meta["value"], torch.Tensor)]
    frames: dict[tuple[Any, Any], list[fx.Node]] = defaultdict(list)
    for node in found:
        frames[node.meta["frame"], _verb(node)].append(node)
    taken = {name for name, _ in traced.root.named_modules()} | set(traced.root.state_dict())
    names: dict[fx.Node, str] = {}
    for ((path, call), verb), nodes in frames.items():
        for number, node in enumerate(nodes, 1):
            name = f"{path}.{verb}".lstrip(".") + (str(number) if len(nodes) > 1 else "")
            while name in taken:
                name += "_fusion"
            names[node] = name if call == 0 else f"{name} (call {call + 1})"
    return {node: names[node] for node in found}


def _kept_whole(traced: Traced) -> Iterator[NotVaried]:
    called = dict.fromkeys(str(node.target) for node in traced.graph.nodes if node.op == "call_module")
    for path in called:
        module = traced.root.get_submodule(path)
        kind = type(module).__name__
        if path in traced.whole:
            yield NotVaried(path, f"module kept whole: {traced.whole[path]}")
        elif any(name != "parametrizations" for name, _ in module.named_children()):
            yield NotVaried(path, f"module kept whole: what torch.nn.{kind} merges inside is not seen")


class _Facts:
    """What is asked about nodes: how deep, how laid out, from where."""

    def __init__(self, traced: Traced) -> None:
        self.dtype = traced.dtype
        self.order: dict[fx.Node, int] = {}
        self.depth: dict[fx.Node, int] = {}
        self.ancestors: dict[fx.Node, set[fx.Node]] = {}
        self.from_input: set[fx.Node] = set()
        self.calls = Counter[str]()
        frames: set[tuple[str, int]] = set()
        for index, node in enumerate(traced.graph.nodes):
            sources = node.all_input_nodes
            self.order[node] = index
            self.depth[node] = 1 + max((self.depth[other] for other in sources), default=-1)
            self.ancestors[node] = {node}.union(*(self.ancestors[other] for other in sources))
            if node.op == "placeholder" or any(other in self.from_input for other in sources):
                self.from_input.add(node)
            if node.meta["frame"] not in frames:
                frames.add(node.meta["frame"])
                self.calls[node.meta["frame"][0]] += 1
        self.layouts = layouts(traced.graph, traced.root, self._elsewhere(traced))

    def _elsewhere(self, traced: Traced) -> list[dict[fx.Node, Any]]:
        """The values for three other inputs, where some merge may be of no maps: shapes tell what a reshape made."""
        merging = [node for node in self.order if _verb(node)]
        if not any(moves_dimensions(other, traced.whole) for node in merging for other in self.ancestors[node]):
            return [{}, {}, {}]
        batch, channels, height, width = traced.input_shape
        inputs = [
            (batch + 1, channels, height, width),
            (batch, channels, 2 * height, width),
            (batch, channels, height, 2 * width),
        ]
        root = copy.deepcopy(traced.root)
        return [Probe(root, given, traced.dtype).as_far_as_it_runs(traced.graph) for given in inputs]

    # ---- why not

    def shared(self, node: fx.Node) -> str:
        path, _ = node.meta["frame"]
        if self.calls[path] > 1:
            return (
                f"{path or 'it'} runs {self.calls[path]} times with the same weights: one fusion would serve them all"
            )
        return ""

    def add(self, node: fx.Node) -> str:
        operands = self._operands(node)
        if len(operands) != 2:
            return "a sum with arguments that are not two maps"
        for operand in operands:
            value = _value(operand)
            if not isinstance(value, torch.Tensor):
                return f"a sum with the number {value}" if isinstance(value, int | float) else "a sum with no tensor"
            if operand not in self.from_input:
                return "a sum with a parameter or constant"
        if _value(node.kwargs.get("alpha", 1)) != 1 or len(node.args) > 2:
            return f"a weighted sum (alpha={node.kwargs.get('alpha', node.args[-1])})"
        shapes = [tuple(_value(operand).shape) for operand in operands]
        if shapes[0] != shapes[1]:
            return f"a broadcasting sum of {_dims(shapes[0])} and {_dims(shapes[1])}"
        if operands[0] is operands[1]:
            return "a map added to itself"
        return self._common(node, operands)

    def cat(self, node: fx.Node, verb: Verb | None) -> str:
        if verb == "stack":
            return "a stack: its maps get an axis of their own or another than the channels"
        operands = self._operands(node)
        if not all(isinstance(operand, fx.Node) for operand in operands) or not operands:
            return "a concatenation of a list that is made when the network runs"
        if any(operand not in self.from_input for operand in operands):
            return "a concatenation with a parameter or constant"
        rank = node.meta["value"].dim()
        dim = node.kwargs.get("dim", node.kwargs.get("axis", node.args[1] if len(node.args) > 1 else 0))
        if node.target is torch.hstack:  # it takes none, and is along the channels of maps
            dim = 1
        if rank == 4 and dim not in (1, -3):
            return f"a concatenation along dimension {dim}, not the channels"
        if len(operands) < 2:
            return "a concatenation of one map"
        return self._common(node, operands)

    def _common(self, node: fx.Node, operands: tuple[Any, ...]) -> str:
        value = node.meta["value"]
        if value.dim() != 4:
            return f"a merge of {value.dim()}-D tensors {_dims(value.shape)}, not of feature maps"
        if "out" in node.kwargs:
            return "it writes into a tensor given as out="
        if not value.is_floating_point() or len({_value(operand).dtype for operand in operands}) > 1:
            return "its tensors are not of one floating-point type"
        if value.dtype != self.dtype:
            kind, wanted = (str(given).removeprefix("torch.") for given in (value.dtype, self.dtype))
            return f"its maps are {kind}, and fusion operators compute in {wanted}"
        if any(self.layouts.get(operand) == LAST for operand in operands):
            return "a map laid out as [B, H, W, C], and fusion operators take [B, C, H, W]"
        if any(self.layouts.get(operand) != MAP for operand in operands) or self.layouts.get(node) != MAP:
            return f"a merge of {_dims(value.shape)}, which are no feature maps [B, C, H, W]"
        if not node.users:
            return "its result is not used"
        return ""

    # ---- what it is

    @staticmethod
    def _operands(node: fx.Node) -> tuple[Any, ...]:
        """The operands as written: Node, number or tensor."""
        if _verb(node) == "add":
            named = [node.kwargs[key] for key in ("input", "other") if key in node.kwargs]
            return (*node.args[:2], *named)
        listed = node.args[0] if node.args else node.kwargs.get("tensors")
        return tuple(listed) if isinstance(listed, list | tuple) else ()

    def merge(self, node: fx.Node, name: str, verb: Verb | None) -> Merge:
        """x is the map that fewer steps lie behind; a concatenation keeps the order in which it is written."""
        maps: tuple[fx.Node, ...] = self._operands(node)
        if verb == "add":
            maps = tuple(sorted(maps, key=lambda other: self.depth[other]))
        _, channels, height, width = node.meta["value"].shape
        before = self._parting(maps)
        source = None if before is None else before.meta["value"].shape
        stride = 1 if source is None else max(1, source[2] // height)
        return Merge(
            node,
            PointShape(
                name=name,
                kind=self._kind(verb, maps),
                in_channels=channels if source is None else source[1],
                channels=channels,
                height=height,
                width=width,
                stride=stride,
                merge="sum" if verb == "add" else "cat",
                inputs=tuple(other.meta["value"].shape[1] for other in maps),
            ),
            maps,
        )

    def _parting(self, maps: tuple[fx.Node, ...]) -> fx.Node | None:
        """The last feature map that all of `maps` come from."""
        common = set.intersection(*(self.ancestors[other] for other in maps))
        images = [node for node in common if _is_map(node)]
        return max(images, key=self.order.__getitem__, default=None)

    def _kind(self, verb: Verb | None, maps: tuple[fx.Node, ...]) -> str:
        """Long skip: a map was enlarged after the maps parted. Else: a sum is a short skip, a cat the same layer.

        Enlarged is half as high again or more: padding is none.
        """
        together = set.intersection(*(self.ancestors[other] for other in maps))
        for node in set.union(*(self.ancestors[other] for other in maps)) - together:
            sources = [other for other in node.all_input_nodes if _is_map(other)]
            if _is_map(node) and sources:
                height = node.meta["value"].shape[2]
                if 2 * height >= 3 * max(other.meta["value"].shape[2] for other in sources):
                    return "long skip"
        return "short skip" if verb == "add" else "same layer"


def _value(operand: Any) -> Any:
    return operand.meta["value"] if isinstance(operand, fx.Node) else operand


def _is_map(node: fx.Node) -> bool:
    value = node.meta["value"]
    return isinstance(value, torch.Tensor) and value.dim() == 4


def _dims(shape: Any) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
