"""Gates that share the sum out between x and y: one per position and channel, or one per channel."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.fusions.concatenation import join
from search_spaces.fusions.half import in_float32, widened
from search_spaces.fusions.layers import (
    bottleneck_width,
    check_shapes,
    drop,
    global_average,
    like,
    pointwise,
    select,
    zero_last,
)
from search_spaces.fusions.registry import AttentionWeights, register


class GatedConcatenation(nn.Module):
    """s·σ(PW[C -> C](u) + b)·u, u = cat(x₁, …, xₙ): a gate for each position and channel, made of all maps.

    Shapes: maps [B, Cᵢ, H, W] -> [B, C, H, W], C = ΣCᵢ. Parameters: C² + C. Multiply-adds: C²·N + 3C·N, N = H·W.
    `scale` s is 2, so that the gate starts as 1.
    """

    def __init__(self, channels: tuple[int, ...], *, scale: float = 2.0, identity_init: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.scale = scale
        self.gate = pointwise(sum(channels), sum(channels), bias=True)
        self.share = nn.Sigmoid()
        if identity_init:
            zero_last(self.gate)

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        u = join(widened(*maps), self.channels)
        gated: torch.Tensor = self.scale * self.share(in_float32(self.gate, maps[0], u)) * u
        return like(gated, maps[0])


class EfficientConcatenation(nn.Module):
    """s·a·u, a = σ(W₂ δ(LN(W₁ GAP(u)))), u = cat(x₁, …, xₙ): a gate for each channel, made of all maps.

    Shapes: maps [B, Cᵢ, H, W] -> [B, C, H, W], C = ΣCᵢ, a [B, C, 1, 1]. Parameters: 2CC' + 2C' + C,
    C' = max(4, C // r). Multiply-adds: 2C·N + 2CC' + 6C' + 2C, N = H·W. `scale` s is 2, so that a starts as 1.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        reduction: int = 4,
        *,
        scale: float = 2.0,
        dropout: float = 0.0,
        identity_init: bool = True,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.scale = scale
        self.dropout = dropout
        total, width = sum(channels), bottleneck_width(sum(channels), reduction)
        self.fc1 = pointwise(total, width)
        self.norm = nn.LayerNorm([width, 1, 1])
        self.fc2 = pointwise(width, total, bias=True)
        self.share = nn.Sigmoid()
        if identity_init:
            zero_last(self.fc2)

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        u = join(widened(*maps), self.channels)
        hidden = F.relu(in_float32(self.norm, maps[0], in_float32(self.fc1, maps[0], global_average(u))))
        gate: torch.Tensor = self.scale * self.share(
            in_float32(self.fc2, maps[0], drop(hidden, self.dropout, self.training))
        )
        return like(gate * u, maps[0])


@register("gated", steps=0, attention=(AttentionWeights("share"),), cat=GatedConcatenation)
class GatedFusion(nn.Module):
    """s·(g·x + (1 − g)·y), g = σ(PW[2C -> C]([x, y]) + b).

    Shapes: x, y and the result [B, C, H, W]. Parameters: 2C² + C. Multiply-adds: 2C²·N + 5C·N, N = H·W.
    `scale` s is 2, so that the coefficients of x and y sum to 2 as in a plain sum; 1 is the published form.
    Source: Arevalo et al., Gated Multimodal Units, ICLR 2017 workshop, eq. 1, on the features themselves.
    """

    def __init__(self, channels: int, *, scale: float = 2.0, identity_init: bool = True) -> None:
        super().__init__()
        self.scale = scale
        self.gate = pointwise(2 * channels, channels, bias=True)
        self.share = nn.Sigmoid()
        if identity_init:
            zero_last(self.gate)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        check_shapes((x, y))
        wide_x, wide_y = widened(x, y)
        share = self.share(in_float32(self.gate, x, torch.cat([wide_x, wide_y], dim=1)))
        return like(select(share, wide_x, wide_y, self.scale), x)


@register(
    "efficient",
    width=bottleneck_width,
    steps=1,
    attention=(AttentionWeights("share"),),
    cat=EfficientConcatenation,
)
class EfficientFusion(nn.Module):
    """s·(a·x + (1 − a)·y), a = σ(W₂ δ(LN(W₁ GAP(x + y)))).

    Shapes: x, y and the result [B, C, H, W], a [B, C, 1, 1]. C' = max(4, C // r): over one value, layer norm
    would be a constant. Parameters: 2CC' + 2C' + C, W₁ having no bias beside the norm's.
    Multiply-adds: 6C·N + 2CC' + 6C' + C, N = H·W.
    `scale` s is 2, so that the coefficients of x and y sum to 2 as in a plain sum. `dropout` acts on the hidden
    C' values. The layer norm is part of the formula: `norm` does not change it.
    Source: the gate is the transform of GCNet (Cao et al., ICCV Workshops 2019, eq. 5), on GAP(x + y).
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 4,
        *,
        scale: float = 2.0,
        dropout: float = 0.0,
        identity_init: bool = True,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.dropout = dropout
        width = bottleneck_width(channels, reduction)
        self.fc1 = pointwise(channels, width)
        self.norm = nn.LayerNorm([width, 1, 1])
        self.fc2 = pointwise(width, channels, bias=True)
        self.share = nn.Sigmoid()
        if identity_init:
            zero_last(self.fc2)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        check_shapes((x, y))
        wide_x, wide_y = widened(x, y)
        hidden = F.relu(in_float32(self.norm, x, in_float32(self.fc1, x, global_average(wide_x + wide_y))))
        share = self.share(in_float32(self.fc2, x, drop(hidden, self.dropout, self.training)))
        return like(select(share, wide_x, wide_y, self.scale), x)
