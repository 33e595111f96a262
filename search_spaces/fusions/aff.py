"""Attentional feature fusion, once (AFF) and iterated (iAFF)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.fusions.layers import bottleneck_width, global_average, pointwise, zero_last
from search_spaces.fusions.registry import register


class PointwiseContext(nn.Module):
    """B(PW₂ δ(B(PW₁ u))): the local branch of MS-CAM on u, its global branch on GAP(u).

    Shapes: u [B, C, H, W] -> [B, C, H, W]. Parameters: 2CC' + 2C' + 2C.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.reduce = pointwise(channels, width)
        self.norm1 = nn.BatchNorm2d(width)
        self.expand = pointwise(width, channels)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm2(self.expand(F.relu(self.norm1(self.reduce(u)))))
        return out


class MultiScaleChannelAttention(nn.Module):
    """MS-CAM: M(u) = σ(L(u) ⊕ g(u)), local context L and global context g (Dai et al., eq. 2-3).

    Shapes: u [B, C, H, W] -> weights in (0, 1), [B, C, H, W]. Parameters: 4CC' + 4C' + 4C.
    """

    def __init__(self, channels: int, width: int, *, identity_init: bool = True) -> None:
        super().__init__()
        self.local_context = PointwiseContext(channels, width)
        self.global_context = PointwiseContext(channels, width)
        if identity_init:
            zero_last(self.local_context.norm2)
            zero_last(self.global_context.norm2)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.local_context(u) + self.global_context(global_average(u)))


def select(weight: torch.Tensor, x: torch.Tensor, y: torch.Tensor, scale: float) -> torch.Tensor:
    """s·(M·x + (1 − M)·y), all [B, C, H, W], written y + M·(x − y): one product less."""
    return scale * (y + weight * (x - y))


@register("aff", width=bottleneck_width)
class AttentionalFeatureFusion(nn.Module):
    """s·(M·x + (1 − M)·y), M = MSCAM(x + y).

    Shapes: x, y and the result [B, C, H, W]. Parameters: 4CC' + 4C' + 4C, C' = max(4, C // r).
    `scale` s is 2, so that the coefficients of x and y sum to 2 as in a plain sum; 1 is the paper's.
    In training it needs more than one value per channel on the pooled map: a batch of 2 or more.
    Source: Dai et al., Attentional Feature Fusion, WACV 2021, eq. 4.
    """

    def __init__(self, channels: int, reduction: int = 4, *, scale: float = 2.0, identity_init: bool = True) -> None:
        super().__init__()
        self.scale = scale
        width = bottleneck_width(channels, reduction)
        self.attention = MultiScaleChannelAttention(channels, width, identity_init=identity_init)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return select(self.attention(x + y), x, y, self.scale)


@register("iaff", width=bottleneck_width)
class IterativeAttentionalFeatureFusion(nn.Module):
    """s·(M₂(u)·x + (1 − M₂(u))·y), u = s·(M₁(x+y)·x + (1 − M₁(x+y))·y).

    Both stages select between x and y themselves, with separate weights.
    Shapes: x, y and the result [B, C, H, W]. Parameters: 8CC' + 8C' + 8C, C' = max(4, C // r).
    Starting as x + y, M₂ passes no gradient to M₁ before its own zeroed norms have moved: M₁ learns from the
    second step on.
    `scale` s is 2 in both stages, so that M₂ sees u at the scale at which M₁ sees x + y; 1 is the paper's.
    Source: Dai et al., Attentional Feature Fusion, WACV 2021, eq. 5 and fig. 4(c).
    """

    def __init__(self, channels: int, reduction: int = 4, *, scale: float = 2.0, identity_init: bool = True) -> None:
        super().__init__()
        self.scale = scale
        width = bottleneck_width(channels, reduction)
        self.attention1 = MultiScaleChannelAttention(channels, width, identity_init=identity_init)
        self.attention2 = MultiScaleChannelAttention(channels, width, identity_init=identity_init)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        u = select(self.attention1(x + y), x, y, self.scale)
        return select(self.attention2(u), x, y, self.scale)
