"""Multi-scale channel attention: selecting between x and y once (AFF) or iterated (iAFF), or refining their sum."""

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
from search_spaces.fusions.norms import Norm, normalisation
from search_spaces.fusions.registry import AttentionWeights, register


class PointwiseContext(nn.Module):
    """B(PW₂ δ(B(PW₁ u))): the local branch of MS-CAM on u, its global branch on GAP(u).

    Shapes: u [B, C, H, W] -> [B, C, H, W]. Parameters: 2CC' + 2C' + 2C. `dropout` acts on the hidden C' values.
    """

    def __init__(self, channels: int, width: int, norm: Norm = "batch", dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.reduce = pointwise(channels, width)
        self.norm1 = normalisation(norm, width)
        self.expand = pointwise(width, channels)
        self.norm2 = normalisation(norm, channels)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        hidden = drop(F.relu(self.norm1(self.reduce(u))), self.dropout, self.training)
        out: torch.Tensor = self.norm2(self.expand(hidden))
        return out


class MultiScaleChannelAttention(nn.Module):
    """MS-CAM: M(u) = σ(L(u) ⊕ g(u)), local context L and global context g (Dai et al., eq. 2-3).

    Shapes: u [B, C, H, W] -> weights in (0, 1), [B, C, H, W]. Parameters: 4CC' + 4C' + 4C.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        norm: Norm = "batch",
        dropout: float = 0.0,
        identity_init: bool = True,
    ) -> None:
        super().__init__()
        self.local_context = PointwiseContext(channels, width, norm, dropout)
        self.global_context = PointwiseContext(channels, width, norm, dropout)
        if identity_init:
            zero_last(self.local_context.norm2)
            zero_last(self.global_context.norm2)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.local_context(u) + self.global_context(global_average(u)))


class AttentionalConcatenation(nn.Module):
    """s·M(u)·u, M = MSCAM, u = cat(x₁, …, xₙ).

    Each channel is of one map, so that there is nothing to select it against: M and 1 − M at a sum become one weight
    for each channel and position, made of all maps together.
    Shapes: maps [B, Cᵢ, H, W] -> [B, C, H, W], C = ΣCᵢ. Parameters: 4CC' + 4C' + 4C, C' = max(4, C // r).
    Multiply-adds: `aff`'s at a sum of C channels less 4C·N. `scale` s is 2, so that the weights start as 1.
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
        super().__init__()
        self.channels = channels
        self.scale = scale
        width = bottleneck_width(sum(channels), reduction)
        self.attention = MultiScaleChannelAttention(
            sum(channels), width, norm=norm, dropout=dropout, identity_init=identity_init
        )

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        u = join(widened(*maps), self.channels)
        return like(self.scale * in_float32(self.attention, maps[0], u) * u, maps[0])


class IterativeAttentionalConcatenation(nn.Module):
    """s·M₂(v)·u, v = s·M₁(u)·u, u = cat(x₁, …, xₙ), M₁ and M₂ with separate weights.

    As at a sum, what M₂ weighs are the maps themselves, and M₁ learns from the second step on.
    Shapes: maps [B, Cᵢ, H, W] -> [B, C, H, W], C = ΣCᵢ. Parameters and multiply-adds: twice those of `aff` there.
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
        super().__init__()
        self.channels = channels
        self.scale = scale
        total, width = sum(channels), bottleneck_width(sum(channels), reduction)
        self.attention1 = MultiScaleChannelAttention(
            total, width, norm=norm, dropout=dropout, identity_init=identity_init
        )
        self.attention2 = MultiScaleChannelAttention(
            total, width, norm=norm, dropout=dropout, identity_init=identity_init
        )

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        u = join(widened(*maps), self.channels)
        first: torch.Tensor = self.scale * in_float32(self.attention1, maps[0], u) * u
        second: torch.Tensor = self.scale * in_float32(self.attention2, maps[0], first) * u
        return like(second, maps[0])


@register(
    "aff",
    width=bottleneck_width,
    steps=1,
    attention=(AttentionWeights("attention"),),
    cat=AttentionalConcatenation,
)
class AttentionalFeatureFusion(nn.Module):
    """s·(M·x + (1 − M)·y), M = MSCAM(x + y).

    Shapes: x, y and the result [B, C, H, W]. Parameters: 4CC' + 4C' + 4C, C' = max(4, C // r).
    Multiply-adds: (2CC' + (b+1)C' + (8+b)C)·N + 2CC' + (b+1)C' + bC, N = H·W, b = 2 with batch norm, else 5.
    `scale` s is 2, so that the coefficients of x and y sum to 2 as in a plain sum; 1 is the paper's.
    With batch norm, training needs more than one value per channel on the pooled map: a batch of 2 or more.
    Source: Dai et al., Attentional Feature Fusion, WACV 2021, eq. 4.
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
        super().__init__()
        self.scale = scale
        self.attention = MultiScaleChannelAttention(
            channels,
            bottleneck_width(channels, reduction),
            norm=norm,
            dropout=dropout,
            identity_init=identity_init,
        )

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        check_shapes((x, y))
        wide_x, wide_y = widened(x, y)
        return like(select(in_float32(self.attention, x, wide_x + wide_y), wide_x, wide_y, self.scale), x)


@register(
    "iaff",
    width=bottleneck_width,
    steps=2,
    attention=(AttentionWeights("attention1"), AttentionWeights("attention2")),
    cat=IterativeAttentionalConcatenation,
)
class IterativeAttentionalFeatureFusion(nn.Module):
    """s·(M₂(u)·x + (1 − M₂(u))·y), u = s·(M₁(x+y)·x + (1 − M₁(x+y))·y).

    Both stages select between x and y themselves, with separate weights.
    Shapes: x, y and the result [B, C, H, W]. Parameters: 8CC' + 8C' + 8C, C' = max(4, C // r).
    Multiply-adds: twice those of `aff`, less the C·N of its x + y. The batch that training needs is `aff`'s.
    Starting as x + y, M₂ passes no gradient to M₁ before its own zeroed norms have moved: M₁ learns from the
    second step on.
    `scale` s is 2 in both stages, so that M₂ sees u at the scale at which M₁ sees x + y; 1 is the paper's.
    Source: Dai et al., Attentional Feature Fusion, WACV 2021, eq. 5 and fig. 4(c).
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
        super().__init__()
        self.scale = scale
        width = bottleneck_width(channels, reduction)
        self.attention1 = MultiScaleChannelAttention(
            channels, width, norm=norm, dropout=dropout, identity_init=identity_init
        )
        self.attention2 = MultiScaleChannelAttention(
            channels, width, norm=norm, dropout=dropout, identity_init=identity_init
        )

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        check_shapes((x, y))
        wide_x, wide_y = widened(x, y)
        u = select(in_float32(self.attention1, x, wide_x + wide_y), wide_x, wide_y, self.scale)
        return like(select(in_float32(self.attention2, x, u), wide_x, wide_y, self.scale), x)


@register(
    "mscam",
    width=bottleneck_width,
    symmetric=True,
    steps=1,
    attention=(AttentionWeights("attention"),),
    no_cat="on a concatenated map it is what 'aff' is there",
)
class MultiScaleRefinement(nn.Module):
    """s·M(x + y)·(x + y), M = MSCAM: the sum refined, with no say of x against y.

    Shapes: x, y and the result [B, C, H, W]. Parameters: 4CC' + 4C' + 4C, C' = max(4, C // r).
    Multiply-adds: `aff`'s less 2C·N. The batch that training needs is `aff`'s. f(x, y) = f(y, x).
    `scale` s is 2, so that the gate starts as 1; 1 is the paper's.
    Source: Dai et al., Attentional Feature Fusion, WACV 2021, eq. 3 and fig. 3.
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
        super().__init__()
        self.scale = scale
        self.attention = MultiScaleChannelAttention(
            channels,
            bottleneck_width(channels, reduction),
            norm=norm,
            dropout=dropout,
            identity_init=identity_init,
        )

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        check_shapes((x, y))
        wide_x, wide_y = widened(x, y)
        u = wide_x + wide_y
        refined: torch.Tensor = self.scale * in_float32(self.attention, x, u) * u
        return like(refined, x)
