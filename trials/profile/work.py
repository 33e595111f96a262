"""What a fusion does, counted without fvcore: multiply-adds, elements moved and kernels launched.

The multiply-adds are those of `trials.costs` (one for a multiply-add of a convolution or matrix product, and for
each element that elementwise work writes or a reduction reads), counted on the operators that PyTorch runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from search_spaces.architecture import FusionChoice
from search_spaces.space import SearchSpace, fusion_at

_REDUCTIONS = ("mean", "sum", "max", "amax", "min", "amin", "argmax", "var", "avg_pool2d", "max_pool2d_with_indices")
_NORMS = ("native_batch_norm", "_native_batch_norm_legit_no_training", "batch_norm", "cudnn_batch_norm")


@dataclass(frozen=True)
class Work:
    """Of one image's fusion: multiply-adds, elements read and written, kernels."""

    macs: int
    elements: int
    kernels: int


def fusion_work(space: SearchSpace) -> Mapping[str, Mapping[FusionChoice, Work]]:
    """The work of every choice at every point."""
    counted: dict[tuple[object, ...], Work] = {}
    found: dict[str, dict[FusionChoice, Work]] = {}
    with torch.random.fork_rng(devices=[]):
        for point in space.points:
            shape = point.shape
            found[point.name] = {}
            for choice in point.choices:
                alike = (choice, shape.merge, shape.inputs, shape.height, shape.width)
                if alike not in counted:
                    module = fusion_at(shape, choice, space.settings).eval()
                    maps = [torch.zeros(1, channels, shape.height, shape.width) for channels in shape.inputs]
                    counted[alike] = _count(module, maps)
                found[point.name][choice] = counted[alike]
    return found


def _count(module: torch.nn.Module, maps: list[torch.Tensor]) -> Work:
    with torch.no_grad(), _Counter() as counter:
        module(*maps)
    return Work(counter.macs, counter.elements, counter.kernels)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator below autograd."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = self.elements = self.kernels = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        outputs = [value for value in (out if isinstance(out, tuple | list) else (out,)) if _is_map(value)]
        if func.is_view or not outputs:
            return out
        inputs = [value for value in _flat(args) if _is_map(value)]
        written = outputs[0].numel()
        read = sum(value.numel() for value in inputs)
        name = func._overloadpacket.__name__
        if func._overloadpacket in flop_registry:
            self.macs += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out) // 2
        elif name in _NORMS:
            self.macs += 2 * written
        elif name in _REDUCTIONS:
            self.macs += inputs[0].numel()
        elif name not in ("cat", "clone", "_to_copy", "copy_"):
            self.macs += written
        self.elements += written + read
        self.kernels += 1
        return out


def _is_map(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def _flat(values: Any) -> list[Any]:
    return [inner for value in values for inner in (value if isinstance(value, tuple | list) else (value,))]
