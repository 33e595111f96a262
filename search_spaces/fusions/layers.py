"""What several operators share: bottleneck width, pointwise convolution, zeroed last layers."""

from __future__ import annotations

import torch
from torch import nn

#: A zero- or one-wide bottleneck is silently a constant gate.
MIN_WIDTH = 4


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


def zero_last(layer: nn.Conv2d | nn.BatchNorm2d) -> None:
    """Zero a gate's last layer, so that σ(0) = ½ and, times 2, the gate starts as the identity."""
    assert layer.weight is not None
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def project_sum(projection: nn.Conv2d, channels: int) -> None:
    """Initialise a PW[2C -> C] as [I | I], so that it returns x + y."""
    identity = torch.eye(channels).view(channels, channels, 1, 1)
    with torch.no_grad():
        projection.weight.copy_(torch.cat([identity, identity], dim=1))
