"""Efficient channel attention as fusion: a gate per channel from its neighbours, without a bottleneck."""

from __future__ import annotations

import math

import torch
from torch import nn

from search_spaces.fusions.concatenation import join
from search_spaces.fusions.half import in_float32, widened
from search_spaces.fusions.layers import check_shapes, global_average, like, zero_last
from search_spaces.fusions.registry import AttentionWeights, register


def eca_kernel(channels: int) -> int:
    """|log₂(C)/2 + 1/2|, up to the next odd number and 3 at least (Wang et al., eq. 12, γ = 2, b = 1)."""
    taps = int(abs(math.log2(channels) + 1) / 2)
    return max(taps if taps % 2 else taps + 1, 3)


class EfficientChannelConcatenation(nn.Module):
    """s·gate(u)·u, u = cat(x₁, …, xₙ), gate(u) = σ(conv1d_k(GAP(u))) along the channels.

    Shapes: maps [B, Cᵢ, H, W] -> [B, C, H, W], C = ΣCᵢ. Parameters: k, of C channels.
    Multiply-adds: 2C·N + (k + 2)·C, N = H·W. `scale` s is 2, so that the gate starts as 1.
    """

    def __init__(self, channels: tuple[int, ...], *, scale: float = 2.0, identity_init: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.scale = scale
        taps = eca_kernel(sum(channels))
        self.conv = nn.Conv1d(1, 1, taps, padding=taps // 2, bias=False)
        self.gate = nn.Sigmoid()
        if identity_init:
            zero_last(self.conv)

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        u = join(widened(*maps), self.channels)
        pooled = global_average(u).flatten(2).transpose(1, 2)  # [B, 1, C]
        gate: torch.Tensor = self.scale * self.gate(in_float32(self.conv, maps[0], pooled))
        return like(gate.transpose(1, 2).unsqueeze(3) * u, maps[0])


@register("eca", steps=0, attention=(AttentionWeights("gate"),), cat=EfficientChannelConcatenation)
class EfficientChannelFusion(nn.Module):
    """x + s·gate(y)·y, gate(y) = σ(conv1d_k(GAP(y))) along the channels.

    Shapes: x, y and the result [B, C, H, W]. Parameters: k, 3 to 64 channels and 5 to 1024.
    Multiply-adds: 3C·N + (k + 2)·C, N = H·W.
    `scale` s is 2, so that the gate starts as 1; 1 is the published form.
    Source: Wang et al., ECA-Net, CVPR 2020, eq. 9 and 12.
    """

    def __init__(self, channels: int, *, scale: float = 2.0, identity_init: bool = True) -> None:
        super().__init__()
        self.scale = scale
        taps = eca_kernel(channels)
        self.conv = nn.Conv1d(1, 1, taps, padding=taps // 2, bias=False)
        self.gate = nn.Sigmoid()
        if identity_init:
            zero_last(self.conv)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        check_shapes((x, y))
        wide_x, wide_y = widened(x, y)
        pooled = global_average(wide_y).flatten(2).transpose(1, 2)  # [B, 1, C]
        gate: torch.Tensor = self.scale * self.gate(in_float32(self.conv, x, pooled))
        return like(wide_x + like(gate.transpose(1, 2).unsqueeze(3) * wide_y, wide_x), x)
