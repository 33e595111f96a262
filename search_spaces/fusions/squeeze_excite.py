"""Squeeze-and-excitation as fusion: gating y before the sum, or all maps before a projection."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.fusions.concatenation import join
from search_spaces.fusions.half import in_float32, projected, widened
from search_spaces.fusions.layers import (
    bottleneck_width,
    check_shapes,
    double_bottleneck_width,
    drop,
    global_average,
    like,
    pointwise,
    project_sum,
    zero_last,
)
from search_spaces.fusions.registry import AttentionWeights, register


class ChannelExcitation(nn.Module):
    """σ(W₂ δ(W₁ GAP(u)) + b₂): a gate per channel (Hu et al., CVPR 2018, eq. 3).

    Shapes: u [B, C, H, W] -> gate [B, C, 1, 1]. Parameters: 2CC' + C + C'. `dropout` acts on the hidden C' values.
    """

    def __init__(self, channels: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.fc1 = pointwise(channels, width, bias=True)
        self.fc2 = pointwise(width, channels, bias=True)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        hidden = drop(F.relu(self.fc1(global_average(u))), self.dropout, self.training)
        return torch.sigmoid(self.fc2(hidden))


class SqueezeExciteConcatenation(nn.Module):
    """s·gate(u)·u, u = cat(x₁, …, xₙ), gate(u) = σ(W₂ δ(W₁ GAP(u))), as SE-Inception has it.

    Shapes: maps [B, Cᵢ, H, W] -> [B, C, H, W], C = ΣCᵢ. Parameters: 2CC' + C + C', C' = max(4, C // r).
    Multiply-adds: 2C·N + 2CC' + 2C + C', N = H·W.
    `scale` s is 2, so that the gate starts as 1; 1 is the published form.
    Source: Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, fig. 2.
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
        total = sum(channels)
        self.gate = ChannelExcitation(total, bottleneck_width(total, reduction), dropout)
        if identity_init:
            zero_last(self.gate.fc2)

    def gated(self, *maps: torch.Tensor) -> torch.Tensor:
        """s·gate(u)·u, `widened`."""
        u = join(widened(*maps), self.channels)
        gate: torch.Tensor = self.scale * in_float32(self.gate, maps[0], u)
        return like(gate * u, u)

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        return like(self.gated(*maps), maps[0])


class SqueezeExciteProjectedConcatenation(SqueezeExciteConcatenation):
    """PW[C -> C](s·gate(u)·u), u = cat(x₁, …, xₙ): `se`'s form there, and C² parameters, C²·N multiply-adds more.

    The projection starts as I.
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
        super().__init__(channels, reduction, scale=scale, dropout=dropout, identity_init=identity_init)
        self.project = pointwise(sum(channels), sum(channels))
        if identity_init:
            project_sum(self.project, sum(channels))

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        return projected(self.project, self.gated(*maps), maps[0], self.scale)


@register(
    "se",
    width=bottleneck_width,
    steps=1,
    attention=(AttentionWeights("gate"),),
    cat=SqueezeExciteConcatenation,
)
class SqueezeExciteFusion(nn.Module):
    """x + s·gate(y)·y, gate(y) = σ(W₂ δ(W₁ GAP(y))).

    Shapes: x, y and the result [B, C, H, W]. Parameters: 2CC' + C + C', C' = max(4, C // r).
    Multiply-adds: 3C·N + 2CC' + 2C + C', N = H·W.
    `scale` s is 2, so that the gate starts as 1; 1 is SE-ResNet as published.
    Source: Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, eq. 2-4.
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
        self.gate = ChannelExcitation(channels, bottleneck_width(channels, reduction), dropout)
        if identity_init:
            zero_last(self.gate.fc2)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        check_shapes((x, y))
        wide_x, wide_y = widened(x, y)
        gate: torch.Tensor = self.scale * in_float32(self.gate, x, wide_y)
        return like(wide_x + like(gate * wide_y, wide_x), x)


@register(
    "se_concat",
    width=double_bottleneck_width,
    max_inputs=None,
    steps=1,
    attention=(AttentionWeights("gate"),),
    cat=SqueezeExciteProjectedConcatenation,
    cat_width=bottleneck_width,
)
class SqueezeExciteConcatFusion(nn.Module):
    """PW[2C -> C](s·gate(u)·u), u = [x, y] or n maps, gate(u) = σ(W₂ δ(W₁ GAP(u))).

    Shapes: every map and the result [B, C, H, W]. With K = nC and C' = max(4, K // r),
    parameters: K·C + 2KC' + K + C', about 2C² + 8C²/r for two; multiply-adds: K·C·N + 2K·N + 2KC' + 2K + C'.
    `scale` s is 2, so that the gate starts as 1, and the projection starts as [I | I]: together x + y.
    Source: Hu et al., CVPR 2018, eq. 2-4, on the concatenation of Szegedy et al., CVPR 2015.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 4,
        *,
        inputs: int = 2,
        scale: float = 2.0,
        dropout: float = 0.0,
        identity_init: bool = True,
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.scale = scale
        joined = inputs * channels
        self.gate = ChannelExcitation(joined, bottleneck_width(joined, reduction), dropout)
        self.project = pointwise(joined, channels)
        if identity_init:
            zero_last(self.gate.fc2)
            project_sum(self.project, channels)

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        check_shapes(maps, self.inputs)
        u = torch.cat(widened(*maps), dim=1)
        gate: torch.Tensor = self.scale * in_float32(self.gate, maps[0], u)
        return projected(self.project, like(gate * u, u), maps[0], self.scale)
