"""CBAM as fusion, a channel gate, then a spatial gate: on y before the sum, or on [x, y] before a projection."""

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
from search_spaces.fusions.norms import Norm, normalisation
from search_spaces.fusions.registry import AttentionWeights, register


class ChannelGate(nn.Module):
    """σ(mlp(avg) + mlp(max)), one shared MLP (Woo et al., ECCV 2018, eq. 2).

    Shapes: u [B, C, H, W] -> gate [B, C, 1, 1]. Parameters: 2CC'. `dropout` acts on the MLP's hidden C' values.
    The sigmoid is taken once, of the sum: taken of each part, the gate would reach 2.
    """

    def __init__(self, channels: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.fc1 = pointwise(channels, width)
        self.fc2 = pointwise(width, channels)

    def mlp(self, pooled: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc2(drop(F.relu(self.fc1(pooled)), self.dropout, self.training))
        return out

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.mlp(global_average(u)) + self.mlp(u.amax(dim=(2, 3), keepdim=True)))


class SpatialGate(nn.Module):
    """σ(B(conv7×7([mean, max] over the channels))) (Woo et al., ECCV 2018, eq. 3).

    Shapes: u [B, C, H, W] -> gate [B, 1, H, W]. Parameters: 98 and the norm's 2.
    The norm sees one channel: on a map of one position, group and layer norm make the gate a constant.
    """

    def __init__(self, norm: Norm = "batch") -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)
        self.norm = normalisation(norm, 1)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        summary = torch.cat([u.mean(dim=1, keepdim=True), u.amax(dim=1, keepdim=True)], dim=1)
        return torch.sigmoid(self.norm(self.conv(summary)))


class ConvolutionalBlockAttention(nn.Module):
    """s·Ms(v)·v, v = s·Mc(u)·u: channel gate Mc, then spatial gate Ms (Woo et al., ECCV 2018, eq. 1).

    Shapes: u (`widened` from a map as `given`) and `refine(u, given)` [B, C, H, W]. Parameters: 2CC' + 100.
    """

    def __init__(
        self, channels: int, width: int, *, scale: float, norm: Norm, dropout: float, identity_init: bool
    ) -> None:
        super().__init__()
        self.scale = scale
        self.channel_gate = ChannelGate(channels, width, dropout)
        self.spatial_gate = SpatialGate(norm)
        if identity_init:
            zero_last(self.channel_gate.fc2)
            zero_last(self.spatial_gate.norm)

    def refine(self, u: torch.Tensor, given: torch.Tensor | None = None) -> torch.Tensor:
        given = u if given is None else given
        channel_gate: torch.Tensor = self.scale * in_float32(self.channel_gate, given, u)
        v = channel_gate * u
        spatial_gate: torch.Tensor = self.scale * in_float32(self.spatial_gate, given, v)
        return spatial_gate * v


_GATES = (AttentionWeights("channel_gate"), AttentionWeights("spatial_gate"))


class CBAMConcatenation(ConvolutionalBlockAttention):
    """s·Ms(v)·v, v = s·Mc(u)·u, u = cat(x₁, …, xₙ).

    Shapes: maps [B, Cᵢ, H, W] -> [B, C, H, W], C = ΣCᵢ. Parameters: 2CC' + 100, C' = max(4, C // r).
    Multiply-adds: `cbam`'s at a sum of C channels less the C·N of its sum.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        reduction: int = 4,
        *,
        scale: float = 2.0,
        norm: Norm = "batch",
        dropout: float = 0.0,
        identity_init: bool = True,
    ) -> None:
        width = bottleneck_width(sum(channels), reduction)
        super().__init__(sum(channels), width, scale=scale, norm=norm, dropout=dropout, identity_init=identity_init)
        self.channels = channels

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        return like(self.refine(join(widened(*maps), self.channels), maps[0]), maps[0])


class CBAMProjectedConcatenation(CBAMConcatenation):
    """PW[C -> C](s·Ms(v)·v), v = s·Mc(u)·u, u = cat(x₁, …, xₙ): C² parameters and C²·N multiply-adds more.

    The projection starts as I.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        reduction: int = 4,
        *,
        scale: float = 2.0,
        norm: Norm = "batch",
        dropout: float = 0.0,
        identity_init: bool = True,
    ) -> None:
        super().__init__(channels, reduction, scale=scale, norm=norm, dropout=dropout, identity_init=identity_init)
        self.project = pointwise(sum(channels), sum(channels))
        if identity_init:
            project_sum(self.project, sum(channels))

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        u = join(widened(*maps), self.channels)
        return projected(self.project, like(self.refine(u, maps[0]), u), maps[0], self.scale**2)


@register("cbam", width=bottleneck_width, steps=1, attention=_GATES, cat=CBAMConcatenation)
class CBAMFusion(ConvolutionalBlockAttention):
    """x + s·Ms(v)·v, v = s·Mc(y)·y: channel gate Mc, then spatial gate Ms.

    Shapes: x, y and the result [B, C, H, W]. Parameters: 2CC' + 100, C' = max(4, C // r).
    Multiply-adds: 7C·N + 102N + 4CC' + 3C + 2C', N = H·W; 105N with group or layer norm.
    `scale` s is 2 for each gate, so that both start as 1; 1 is the published form.
    Source: Woo et al., CBAM: Convolutional Block Attention Module, ECCV 2018, eq. 1-3.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 4,
        *,
        scale: float = 2.0,
        norm: Norm = "batch",
        dropout: float = 0.0,
        identity_init: bool = True,
    ) -> None:
        width = bottleneck_width(channels, reduction)
        super().__init__(channels, width, scale=scale, norm=norm, dropout=dropout, identity_init=identity_init)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        check_shapes((x, y))
        wide_x, wide_y = widened(x, y)
        return like(wide_x + like(self.refine(wide_y, x), wide_x), x)


@register(
    "cbam_concat",
    width=double_bottleneck_width,
    steps=1,
    attention=_GATES,
    cat=CBAMProjectedConcatenation,
    cat_width=bottleneck_width,
)
class CBAMConcatFusion(ConvolutionalBlockAttention):
    """PW[2C -> C](s·Ms(v)·v), v = s·Mc(u)·u, u = [x, y].

    Shapes: x, y and the result [B, C, H, W]. Parameters: 2C² + 4CC' + 100, C' = max(4, 2C // r): about
    2C² + 8C²/r. Multiply-adds: 2C²·N + 12C·N + 102N + 8CC' + 6C + 2C', N = H·W; 105N with group or layer norm.
    `scale` s is 2 for each gate, so that both start as 1, and the projection starts as [I | I]: together x + y.
    Source: Woo et al., ECCV 2018, eq. 1-3, on the concatenation of Szegedy et al., CVPR 2015.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 4,
        *,
        scale: float = 2.0,
        norm: Norm = "batch",
        dropout: float = 0.0,
        identity_init: bool = True,
    ) -> None:
        joined, width = 2 * channels, double_bottleneck_width(channels, reduction)
        super().__init__(joined, width, scale=scale, norm=norm, dropout=dropout, identity_init=identity_init)
        self.project = pointwise(joined, channels)
        if identity_init:
            project_sum(self.project, channels)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        check_shapes((x, y))
        u = torch.cat(widened(x, y), dim=1)
        return projected(self.project, self.refine(u, x), x, self.scale**2)
