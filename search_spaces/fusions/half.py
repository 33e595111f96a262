"""float16 holds numbers up to 65,504: what operators do so that only a result above that is infinite.

Sums over channels, products of queries and keys and sums of maps go above it on the way to results that do not. Where
maps, weights or autocast are of float16, all that is between the maps and the result is computed in float32, but for
projections of whole maps, which add up in float32 by themselves: they are given the maps at a size that float16 holds.
In any other precision nothing is done: bfloat16 has the range of float32.
"""

from __future__ import annotations

import torch
from torch import nn

from search_spaces.fusions.layers import like


def widened(*maps: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The maps, those of float16 in float32."""
    return tuple(given.float() if given.dtype == torch.float16 else given for given in maps)


def autocasts_to_half(device: torch.device) -> bool:
    """Whether autocast gives convolutions and products float16 there."""
    return torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.float16


def computes_in_half(given: torch.Tensor) -> bool:
    """Whether modules that are given this map would compute in float16."""
    return given.dtype == torch.float16 or autocasts_to_half(given.device)


def in_float32(module: nn.Module, given: torch.Tensor, *maps: torch.Tensor) -> torch.Tensor:
    """`module` of `maps`, in float32 where it would compute in float16; then the result is float32 too.

    given: a map as the operator was given it; `maps` are made of what is `widened`.
    """
    result: torch.Tensor
    if not computes_in_half(given):
        result = module(*maps)
        return result
    halves = {name: weight for name, weight in module.named_parameters() if weight.dtype == torch.float16}
    buffers = {name: buffer for name, buffer in module.named_buffers() if buffer.dtype == torch.float16}
    with torch.autocast(given.device.type, enabled=False):
        wide = widened(*maps)
        if not (halves or buffers):
            result = module(*wide)
            return result
        weights = {name: tensor.float() for name, tensor in (halves | buffers).items()}
        result = torch.func.functional_call(module, weights, wide)
    for name, buffer in buffers.items():
        buffer.copy_(weights[name].detach())  # running statistics, which training has changed
    return result


def projected(projection: nn.Conv2d, u: torch.Tensor, given: torch.Tensor, growth: float) -> torch.Tensor:
    """`projection` of u in the type of the map `given`; u is `widened`, and at most `growth` times what maps are."""
    if growth > 1 and computes_in_half(given):
        smaller: torch.Tensor = projection((u / growth).half())
        return like(smaller.float() * growth, given)
    return like(projection(like(u, given)), given)
