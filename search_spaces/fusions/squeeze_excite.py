"""Squeeze-and-excitation as fusion, gating y before the sum."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.fusions.layers import bottleneck_width, global_average, pointwise, zero_last
from search_spaces.fusions.registry import register


class ChannelExcitation(nn.Module):
    """σ(W₂ δ(W₁ GAP(u)) + b₂): a gate per channel (Hu et al., CVPR 2018, eq. 3).

    Shapes: u [B, C, H, W] -> gate [B, C, 1, 1]. Parameters: 2CC' + C + C'.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.fc1 = pointwise(channels, width, bias=True)
        self.fc2 = pointwise(width, channels, bias=True)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.fc2(F.relu(self.fc1(global_average(u)))))


@register("se", width=bottleneck_width)
class SqueezeExciteFusion(nn.Module):
    """x + s·gate(y)·y, gate(y) = σ(W₂ δ(W₁ GAP(y))).

    Shapes: x, y and the result [B, C, H, W]. Parameters: 2CC' + C + C', C' = max(4, C // r).
    `scale` s is 2, so that the gate starts as 1; 1 is SE-ResNet as published.
    Source: Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, eq. 2-4.
    """

    def __init__(self, channels: int, reduction: int = 4, *, scale: float = 2.0, identity_init: bool = True) -> None:
        super().__init__()
        self.scale = scale
        self.gate = ChannelExcitation(channels, bottleneck_width(channels, reduction))
        if identity_init:
            zero_last(self.gate.fc2)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        gate: torch.Tensor = self.scale * self.gate(y)
        return x + gate * y
