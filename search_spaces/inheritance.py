"""Weight inheritance: a child with other fusions that starts where its parent stands."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

import torch
from torch import nn

from search_spaces import catalogue
from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.discovery.plain import unwrapped
from search_spaces.errors import SpaceError
from search_spaces.fusions import FusionSettings
from search_spaces.networks import PointShape
from search_spaces.space import SearchSpace, fusion_at

#: Two results differ by rounding alone up to this share of the largest value.
_PLAIN = 1e-5


def inherit(parent_model: nn.Module, architecture: Architecture, space: SearchSpace | None = None) -> nn.Module:
    """The network of `architecture` with every trunk weight of `parent_model`, its modes, device and type.

    Where the child has the parent's fusion (the same operator and bottleneck width), that fusion's weights and
    running statistics are kept too; every other fusion is new and starts as the sum or the concatenation. So the
    child computes at step 0 what the parent computes, wherever each fusion that changed was `add` in the parent, or
    still untrained; in place of a *trained* operator the new one starts as the sum.

    Args:
        parent_model: built by the space, or a network whose parameter names are the trunk's (torchvision's
            ResNet for `resnet18`, the original network for a discovered space). It is left as it is.
        space: where the architecture comes from. Not needed for a network that a discovered space built, nor for a
            named space: the input's channels are then read from the first convolution, the classes from the
            last linear layer.

    Raises:
        SpaceError: the architecture is of another space, or a trunk weight is missing, superfluous or of another
            shape: its name and both shapes.
    """
    parent_model = unwrapped(parent_model)
    found = space or _space_of(parent_model, architecture)
    if architecture.space != found.name:
        raise SpaceError(f"architecture of space {architecture.space!r} given to space {found.name!r}")
    child = found.build(architecture)
    paths = set(fusion_paths(child))
    child.load_state_dict(_inherited(parent_model, child, paths, found))
    meta = getattr(child, "meta", None)
    if isinstance(meta, dict):
        meta["fusion_space"] = found
    like = next((tensor for tensor in parent_model.parameters() if tensor.is_floating_point()), None)
    if like is not None:
        child.to(device=like.device, dtype=like.dtype)
    _take_modes(parent_model, child, paths)
    return child


def unpreserved(space: SearchSpace) -> tuple[str, ...]:
    """The operators that, as the space makes them, do not start as the sum (or concatenation) of their maps.

    A child in which one of these stands has its parent's trunk, but not its outputs: so it is without `identity_init`,
    with a `scale` of its own, or for an operator that has no such start. Judged on random maps in evaluation, each
    operator at the first point that offers it.
    """
    first = {choice.op: (point.shape, choice) for point in reversed(space.points) for choice in reversed(point.choices)}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        return tuple(op for op in space.operators if op in first and not _is_plain(*first[op], space.settings))


def _is_plain(shape: PointShape, choice: FusionChoice, settings: FusionSettings) -> bool:
    channels = shape.inputs if shape.merge == "cat" else (shape.channels,) * len(shape.inputs)
    maps = [torch.randn(2, count, shape.height, shape.width) for count in channels]
    plain, fused = (fusion_at(shape, c, settings).eval()(*maps) for c in (FusionChoice("add"), choice))
    return bool((plain - fused).abs().max() <= _PLAIN * plain.abs().max())


def fusion_paths(network: nn.Module) -> dict[str, str]:
    """The names of a built network's fusion points by the paths of the modules that stand there."""
    return {path: str(m.fusion_point) for path, m in network.named_modules() if "fusion_point" in vars(m)}


def _inherited(parent: nn.Module, child: nn.Module, fusions: set[str], space: SearchSpace) -> dict[str, torch.Tensor]:
    """The child's state: the trunk from the parent, and each fusion from the parent where it is the same."""
    theirs, ours = parent.state_dict(), child.state_dict()
    modules = dict(parent.named_modules())
    inherited = dict(ours)
    kept = {path for path in fusions if path in modules and _alike(modules[path], child.get_submodule(path))}
    for name, tensor in ours.items():
        path = owner_of(name, fusions)
        if path is not None and path not in kept:
            continue
        if name not in theirs:
            raise SpaceError(f"the parent lacks the weight {name!r} of {space.name}: it is another network")
        if theirs[name].shape != tensor.shape:
            given, wanted = list(theirs[name].shape), list(tensor.shape)
            raise SpaceError(f"the parent's {name!r} has shape {given}, but {space.name} has {wanted}")
        inherited[name] = theirs[name]
    extra = [name for name in theirs if name not in ours and owner_of(name, fusions) is None]
    if extra:
        raise SpaceError(f"the parent has the weight {extra[0]!r}, but {space.name} has none: it is another network")
    return inherited


def _alike(first: nn.Module, second: nn.Module) -> bool:
    """Whether two fusions are the same operator: classes and shapes throughout."""
    return [(name, type(module)) for name, module in first.named_modules()] == [
        (name, type(module)) for name, module in second.named_modules()
    ] and _shapes(first.state_dict()) == _shapes(second.state_dict())


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def owner_of(name: str, paths: Container[str]) -> str | None:
    """The path among `paths` that a parameter lies under."""
    parts = name.split(".")
    return next((prefix for end in range(len(parts)) if (prefix := ".".join(parts[:end])) in paths), None)


def _take_modes(parent: nn.Module, child: nn.Module, fusions: set[str]) -> None:
    """The parent's training flags; a new fusion has that of the module it stands in."""
    modes = {path: module.training for path, module in parent.named_modules()}
    for path, module in child.named_modules():
        fusion = next((name for name in fusions if path == name or path.startswith(f"{name}.")), None)
        where = path if fusion is None else fusion.rpartition(".")[0]
        module.training = modes.get(where, parent.training)


def _space_of(parent: nn.Module, architecture: Architecture) -> SearchSpace:
    """The discovered space that built the parent, or the named space in the parent's own channels and classes."""
    known = getattr(parent, "meta", {})
    if isinstance(known, dict) and isinstance(known.get("fusion_space"), SearchSpace):
        built_by: SearchSpace = known["fusion_space"]
        return built_by
    if architecture.space not in catalogue.names():
        raise SpaceError(
            f"architecture of space {architecture.space!r}, which is no named space: give the space, "
            "as in inherit(parent, architecture, space)"
        )
    tensors = list(parent.state_dict().values())
    filters = [tensor for tensor in tensors if tensor.dim() == 4]
    heads = [tensor for tensor in tensors if tensor.dim() == 2]
    spec = catalogue.design(architecture.space).default_input
    assert spec is not None  # every named network has one
    if filters:
        spec = replace(spec, channels=filters[0].shape[1])
    if heads:
        spec = replace(spec, classes=heads[-1].shape[0])
    # Ratios and operators of the architecture itself: it may come from a space that offers others than by default.
    operators = dict.fromkeys(["add", *(choice.op for choice in architecture.choices.values())])
    ratios = {choice.reduction for choice in architecture.choices.values() if choice.reduction is not None}
    return SearchSpace.named(architecture.space, spec, tuple(operators), sorted(ratios) or (4,))
