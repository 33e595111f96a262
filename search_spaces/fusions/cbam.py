"""CBAM as fusion: a channel gate, then a spatial gate, on y before the sum."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.fusions.layers import bottleneck_width, global_average, pointwise, zero_last
from search_spaces.fusions.registry import register


class ChannelGate(nn.Module):
    """σ(mlp(avg) + mlp(max)), one shared MLP (Woo et al., ECCV 2018, eq. 2).

    Shapes: u [B, C, H, W] -> gate [B, C, 1, 1]. Parameters: 2CC'.
    The sigmoid is taken once, of the sum: taken of each part, the gate would reach 2.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.fc1 = pointwise(channels, width)
        self.fc2 = pointwise(width, channels)

    def mlp(self, pooled: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc2(F.relu(self.fc1(pooled)))
        return out

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.mlp(global_average(u)) + self.mlp(u.amax(dim=(2, 3), keepdim=True)))


class SpatialGate(nn.Module):
    """σ(B(conv7×7([mean, max] over the channels))) (Woo et al., ECCV 2018, eq. 3).

    Shapes: u [B, C, H, W] -> gate [B, 1, H, W]. Parameters: 98 and the norm's 2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        summary = torch.cat([u.mean(dim=1, keepdim=True), u.amax(dim=1, keepdim=True)], dim=1)
        return torch.sigmoid(self.norm(self.conv(summary)))


@register("cbam", width=bottleneck_width)
class CBAMFusion(nn.Module):
    """x + s·Ms(v)·v, v = s·Mc(y)·y: channel gate Mc, then spatial gate Ms.

    Shapes: x, y and the result [B, C, H, W]. Parameters: 2CC' + 100, C' = max(4, C // r).
    `scale` s is 2 for each gate, so that both start as 1; 1 is the published form.
    Source: Woo et al., CBAM: Convolutional Block Attention Module, ECCV 2018, eq. 1-3.
    """

    def __init__(self, channels: int, reduction: int = 4, *, scale: float = 2.0, identity_init: bool = True) -> None:
        super().__init__()
        self.scale = scale
        self.channel_gate = ChannelGate(channels, bottleneck_width(channels, reduction))
        self.spatial_gate = SpatialGate()
        if identity_init:
            zero_last(self.channel_gate.fc2)
            zero_last(self.spatial_gate.norm)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        channel_gate: torch.Tensor = self.scale * self.channel_gate(y)
        v = channel_gate * y
        spatial_gate: torch.Tensor = self.scale * self.spatial_gate(v)
        return x + spatial_gate * v
