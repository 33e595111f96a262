"""Which of a graph's values are feature maps [B, C, H, W]: what their dimensions mean, followed from the input.

A tensor of four dimensions may be anything: tokens of windows, logits of an attention, a map with its channels last.
"""

from __future__ import annotations

import operator
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

MAP = ("batch", "channels", "height", "width")
LAST = ("batch", "height", "width", "channels")
Layout = tuple[str, ...] | None

#: What takes [B, C, H, W] whatever it is given, and gives such a map.
_MAP_MODULES = (
    nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d, nn.LPPool2d, nn.PixelShuffle, nn.PixelUnshuffle, nn.Fold,
)  # fmt: skip
_MAP_FUNCTIONS = (
    F.conv2d, F.conv_transpose2d, F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d,
    F.pixel_shuffle, F.pixel_unshuffle, F.fold, F.interpolate, F.grid_sample, torch.conv2d, torch.conv_transpose2d,
)  # fmt: skip
_PERMUTES = (torch.permute, "permute")
_TRANSPOSES = (torch.transpose, torch.swapaxes, torch.swapdims, "transpose", "swapaxes", "swapdims", "transpose_")
#: What keeps numbers and gives their dimensions another meaning, which cannot be read off.
_RESHAPES = (
    torch.reshape, torch.flatten, torch.unflatten, torch.squeeze, torch.unsqueeze, torch.movedim, torch.moveaxis,
    torch.stack, torch.tensor_split, "reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze", "movedim",
    "moveaxis", "view_as", "reshape_as", "unfold", "as_strided", "t", "mT", "T",
)  # fmt: skip
_PRODUCTS = (
    torch.matmul, torch.bmm, torch.einsum, torch.baddbmm, torch.tensordot, torch.cdist, operator.matmul, "matmul",
    "bmm", "baddbmm", "__matmul__", F.scaled_dot_product_attention,
)  # fmt: skip


def moves_dimensions(node: fx.Node, whole: Container[str]) -> bool:
    """Whether a step may give the dimensions of its input another meaning."""
    target = node.target
    if node.op == "call_module":
        return str(target) in whole
    return target in _PERMUTES or target in _TRANSPOSES or target in _RESHAPES or target in _PRODUCTS


def layouts(graph: fx.Graph, root: nn.Module, elsewhere: Sequence[Mapping[fx.Node, Any]]) -> dict[fx.Node, Layout]:
    """What the dimensions of each node's value mean, None where that is not known. Nodes carry their `value`.

    `elsewhere` are the values for other inputs (see `probing`), [B+1, C, H, W], [B, C, 2H, W] and
    [B, C, H, 2W], as far as the network takes such: where they show that a dimension is not what it seems, none is.
    """
    found: dict[fx.Node, Layout] = {}
    maps: set[tuple[int, ...]] = set()
    for node in graph.nodes:
        value = node.meta.get("value")
        if isinstance(value, torch.Tensor):
            layout = _layout(node, value, root, found, maps)
            if layout is None and value.dim() == 4 and tuple(value.shape) in maps and _follows(node, value, elsewhere):
                layout = MAP
            if layout == MAP and not _moves_as_a_map(node, value, elsewhere):
                layout = None
            found[node] = layout
            if layout == MAP:
                maps.add(tuple(value.shape))
        elif isinstance(value, tuple | list):  # of chunks, splits, modules with several results
            found[node] = next((found[source] for source in node.all_input_nodes if found.get(source)), None)
    return found


def _layout(
    node: fx.Node, value: torch.Tensor, root: nn.Module, found: Mapping[fx.Node, Layout], maps: set[tuple[int, ...]]
) -> Layout:
    if node.op == "placeholder":
        return MAP if value.dim() == 4 else None
    if value.dim() != 4:
        return None
    module = root.get_submodule(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, _MAP_MODULES) or (node.op == "call_function" and node.target in _MAP_FUNCTIONS):
        return MAP
    sources = [(found[s], tuple(s.meta["value"].shape)) for s in _tensors_of(node) if s.meta["value"].dim() == 4]
    known = {layout for layout, _ in sources}
    target = node.target
    if target in _PERMUTES or target in _TRANSPOSES:
        moved = _moved(node, next(iter(known)) if len(known) == 1 else None)
        # Back from a form in between whose dimensions were not known, to the shape of a map that was there before.
        return moved or (MAP if tuple(value.shape) in maps and _telling(value) else None)
    if target in _RESHAPES or not sources:
        lists = {found.get(s) for s in node.all_input_nodes if isinstance(s.meta["value"], tuple | list)}
        if target is operator.getitem and len(lists) == 1:
            return lists.pop()
        if target in _RESHAPES or node.op == "call_module":
            return MAP if tuple(value.shape) in maps and _telling(value) else None
        return None
    if target in _PRODUCTS:
        return None
    if isinstance(module, nn.Linear) or target is F.linear:
        (layout,) = known if len(known) == 1 else (None,)
        return layout if layout == LAST else None
    if target is operator.getitem and not _only_cuts(node):
        return None
    if None in known or len(known) != 1:
        return None
    return known.pop()


def _tensors_of(node: fx.Node) -> Iterator[fx.Node]:
    for source in node.all_input_nodes:
        if isinstance(source.meta.get("value"), torch.Tensor) and source.op != "get_attr":
            yield source


def _moved(node: fx.Node, layout: Layout) -> Layout:
    if layout is None:
        return None
    rest: list[Any] = list(node.args[1:])
    if node.target in _PERMUTES:
        given = node.kwargs.get("dims", rest[0] if rest and isinstance(rest[0], list | tuple) else rest)
        dims = list(given) if isinstance(given, list | tuple) else []
        return tuple(layout[dim] for dim in dims) if all(isinstance(dim, int) for dim in dims) else None
    pair = rest or [value for key, value in node.kwargs.items() if key not in ("input", "self")]
    if len(pair) != 2 or not all(isinstance(dim, int) for dim in pair):
        return None
    order = list(layout)
    first, second = pair
    order[first], order[second] = order[second], order[first]
    return tuple(order)


def _only_cuts(node: fx.Node) -> bool:
    """`x[:, :4]` and not `x[None]`, which moves the dimensions."""
    index = node.args[1]
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is Ellipsis or isinstance(part, slice) for part in parts)


def _telling(value: torch.Tensor) -> bool:
    """Whether a map of this shape looks like none of its own permutations."""
    _, channels, height, width = value.shape
    return channels not in (height, width)


def _follows(node: fx.Node, value: torch.Tensor, elsewhere: Sequence[Mapping[fx.Node, Any]]) -> bool:
    """Whether batch, height and width are seen to follow those of the input: more than `_moves_as_a_map` asks."""
    for follower, values in zip((0, 2, 3), elsewhere, strict=True):
        other = values.get(node)
        if not isinstance(other, torch.Tensor) or int(other.shape[follower]) == int(value.shape[follower]):
            return False
    return _moves_as_a_map(node, value, elsewhere)


def _moves_as_a_map(node: fx.Node, value: torch.Tensor, elsewhere: Sequence[Mapping[fx.Node, Any]]) -> bool:
    """Batch, height and width each follow that of the input alone, and channels none."""
    for follower, values in zip((0, 2, 3), elsewhere, strict=True):
        other = values.get(node)
        if not isinstance(other, torch.Tensor):
            continue
        if other.dim() != 4:
            return False
        for dimension in range(4):
            changed = int(other.shape[dimension]) != int(value.shape[dimension])
            if changed and dimension != follower:
                return False
            if not changed and dimension == follower == 0:
                return False
    return True
