"""How much memory activations take: saved for the backward pass, and at the peak of an inference. Estimates.

Both are of 32-bit activations of eager PyTorch on a CPU, measured in real passes. Weights, gradients and the
optimiser's state are not among them, and another backend may fuse operations or keep other copies. What the
allocator held after a real training pass was within 4 % of it (ResNet-18, 20, 50 and an FPN). What kernels use
while they run is left out: for CPU convolutions it took the allocator's peak of an inference to 1.0 to 2.6
times the estimate.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from search_spaces.space import fusion_modules
from trials.machine.compiler import UncompiledMode

#: Statistics of a batch need two values; what is saved is halved again.
_IMAGES = 2


@dataclass(frozen=True)
class SavedActivations:
    """Bytes an image that a pass saves for its backward pass, and which of the inputs are among them."""

    bytes_saved: int
    inputs_saved: tuple[bool, ...]


@dataclass(frozen=True)
class TrunkMemory:
    """What the baseline network needs, and what each of its fusion points finds there.

    Attributes:
        saved: bytes an image saved for the backward pass.
        peak: largest bytes of live activations in an inference of one image, outside the fusions.
        live: by point, the bytes that live when its fusion begins, its inputs among them.
        inputs_saved: by point, which of its inputs the trunk saves already.
    """

    saved: int
    peak: int
    live: dict[str, int]
    inputs_saved: dict[str, tuple[bool, ...]]


def saved_activations(module: nn.Module, inputs: Sequence[torch.Tensor]) -> SavedActivations:
    """What a training pass saves beside its inputs. Shapes: any, batch first; weights are not counted."""
    saved = _saved_storages(module, inputs)
    given = [tensor.untyped_storage().data_ptr() for tensor in inputs]
    own = sum(size for storage, size in saved.items() if storage not in given)
    return SavedActivations(own // len(inputs[0]), tuple(storage in saved for storage in given))


def peak_bytes(module: nn.Module, inputs: Sequence[torch.Tensor]) -> int:
    """The most bytes that live at one time in an inference, beside its inputs."""
    live = _LiveBytes()
    with torch.no_grad(), live:
        module.eval()(*inputs)
    return live.peak


def trunk_memory(network: nn.Module, image: Sequence[int]) -> TrunkMemory:
    """What a network with fusion points needs around them. Shapes: it takes images [B, *image]."""
    images = torch.zeros(_IMAGES, *image)
    storages: dict[str, list[int]] = {}
    kept: list[torch.Tensor] = []  # a storage's address says who it is only while it lives

    def note(point: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            kept.extend(inputs)
            storages[point] = [tensor.untyped_storage().data_ptr() for tensor in inputs]

        return hook

    fusions = fusion_modules(network)
    hooks = [module.register_forward_pre_hook(note(point)) for point, module in fusions.items()]
    saved = _saved_storages(network, [images], kept)
    for handle in hooks:
        handle.remove()
    inputs_saved = {point: tuple(storage in saved for storage in found) for point, found in storages.items()}
    total = sum(saved.values()) // _IMAGES
    live, peak = _live_at(network, fusions, images[:1].clone())
    return TrunkMemory(total, peak, live, inputs_saved)


def example_maps(channels: Iterable[int], height: int, width: int) -> list[torch.Tensor]:
    """Maps for `saved_activations`: [2, C, H, W] each."""
    return [torch.zeros(_IMAGES, count, height, width) for count in channels]


def _saved_storages(
    module: nn.Module, inputs: Sequence[torch.Tensor], kept: list[torch.Tensor] | None = None
) -> dict[int, int]:
    """The size in bytes of each storage that a training pass saves, by address; weights are left out."""
    alive: list[Any] = [] if kept is None else kept
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        alive.append(storage)
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = module.train()(*(tensor.requires_grad_() for tensor in inputs))
    del output
    return saved


def _live_at(network: nn.Module, fusions: dict[str, nn.Module], image: torch.Tensor) -> tuple[dict[str, int], int]:
    """Bytes that live at each fusion's begin, and the largest outside of all fusions."""
    tracker = _LiveBytes(live=image.nbytes, peak=image.nbytes)
    at: dict[str, int] = {}
    outside = 0

    def begin(point: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            nonlocal outside
            outside, at[point] = max(outside, tracker.peak), tracker.live

        return hook

    def end(module: nn.Module, inputs: Any, output: Any) -> None:
        tracker.peak = tracker.live

    hooks = [module.register_forward_pre_hook(begin(point)) for point, module in fusions.items()]
    hooks += [module.register_forward_hook(end) for module in fusions.values()]
    with torch.no_grad(), tracker:
        network.eval()(image)
    for handle in hooks:
        handle.remove()
    return at, max(outside, tracker.peak)


@dataclass(eq=False)
class _LiveBytes(UncompiledMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of every storage made while it is on, until nothing refers to it any more."""

    live: int = 0
    peak: int = 0
    _known: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_identity(tensor) for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, torch.Tensor)}
        output = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(output):
            if isinstance(tensor, torch.Tensor) and _identity(tensor) not in given | self._known:
                self._enter(tensor.untyped_storage())
        return output

    def _enter(self, storage: torch.UntypedStorage) -> None:
        self._known.add(storage._cdata)
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._leave, storage._cdata, storage.nbytes())

    def _leave(self, identity: int, size: int) -> None:
        self._known.discard(identity)
        self.live -= size


def _identity(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
