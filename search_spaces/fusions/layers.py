"""What several operators share: bottleneck width, pointwise convolution, zeroed last layers, checks."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

#: A zero- or one-wide bottleneck is silently a constant gate.
MIN_WIDTH = 4
#: Attention over N positions holds N² weights a map: at stride 4 of a detector's image that is 17.8 GB.
MAX_POSITIONS = 1024


def bottleneck_width(channels: int, reduction: int) -> int:
    """C' = max(4, C // r)."""
    return max(MIN_WIDTH, channels // reduction)


def double_bottleneck_width(channels: int, reduction: int) -> int:
    """C' of an operator that works on the concatenation [x, y] of 2C channels: max(4, 2C // r)."""
    return bottleneck_width(2 * channels, reduction)


def pointwise(channels: int, out_channels: int, bias: bool = False) -> nn.Conv2d:
    """PW: a 1×1 convolution [B, C, H, W] -> [B, C', H, W]."""
    return nn.Conv2d(channels, out_channels, kernel_size=1, bias=bias)


def global_average(u: torch.Tensor) -> torch.Tensor:
    """GAP: [B, C, H, W] -> [B, C, 1, 1]."""
    return u.mean(dim=(2, 3), keepdim=True)


def select(weight: torch.Tensor, x: torch.Tensor, y: torch.Tensor, scale: float) -> torch.Tensor:
    """s·(M·x + (1 − M)·y), all [B, C, H, W], written y + M·(x − y): one product less.

    In float16 x − y may be above its largest number, 65,504, where the result is not: it is computed in float32.
    """
    if x.dtype == torch.float16:
        return select(weight.float(), x.float(), y.float(), scale).to(x.dtype)
    return scale * (y + weight.to(x.dtype) * (x - y))


def like(fused: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """`fused` in the type of the map `given`: autocast computes softmax and norms in float32, convolutions in less."""
    return fused.to(given.dtype)


def drop(values: torch.Tensor, share: float, training: bool) -> torch.Tensor:
    """`F.dropout`, which copies its input even where nothing is to be dropped."""
    return F.dropout(values, share, training) if share else values


def zero_last(layer: nn.Module) -> None:
    """Zero a gate's last layer, so that σ(0) = ½ and, times 2, the gate starts as the identity."""
    assert isinstance(layer.weight, torch.Tensor)
    nn.init.zeros_(layer.weight)
    if isinstance(layer.bias, torch.Tensor):
        nn.init.zeros_(layer.bias)


def project_sum(projection: nn.Conv2d, channels: int) -> None:
    """Initialise a PW[nC -> C] as [I | … | I], so that it returns the sum of its n maps."""
    identity = torch.eye(channels).view(channels, channels, 1, 1)
    with torch.no_grad():
        projection.weight.copy_(identity.repeat(1, projection.in_channels // channels, 1, 1))


def check_shapes(maps: tuple[torch.Tensor, ...], inputs: int = 2) -> None:
    """Refuse maps that broadcasting would fuse in silence.

    Raises:
        ValueError: there are not `inputs` maps, or their shapes differ.
    """
    if torch._C._get_tracing_state() is not None:
        return  # under torch.jit.trace sizes are tensors
    if len(maps) != inputs:
        raise ValueError(f"{len(maps)} maps given to a fusion of {inputs}")
    first = maps[0].shape
    for other in maps[1:]:
        if other.shape != first:
            raise ValueError(
                f"maps of shapes {list(first)} and {list(other.shape)} cannot be fused: "
                "bring them to one shape before, by a 1x1 projection and a nearest resize"
            )


def check_positions(operator: str, positions: int) -> None:
    """Refuse attention over too many positions.

    Raises:
        ValueError: there are more than `MAX_POSITIONS`.
    """
    if positions > MAX_POSITIONS:
        raise ValueError(f"{operator!r} attends over {positions} positions, above its limit of {MAX_POSITIONS}")
