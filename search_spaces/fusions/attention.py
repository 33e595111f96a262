"""Attention over positions: of [x, y] to itself, of x + y to itself (non-local), of x to y (cross-modal)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.fusions.concatenation import join
from search_spaces.fusions.half import autocasts_to_half, in_float32, widened
from search_spaces.fusions.layers import (
    MAX_POSITIONS,
    bottleneck_width,
    check_positions,
    check_shapes,
    like,
    pointwise,
    zero_last,
)
from search_spaces.fusions.registry import AttentionWeights, register

_WEIGHTS = (AttentionWeights("softmax", "positions"),)


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, softmax: nn.Module, dropout: float, scale: float
) -> torch.Tensor:
    """softmax(s·QᵀK)·V over the positions; `softmax` is that over the last dimension.

    Shapes: query [B, d, H, W], key [B, d, H', W'], value [B, C, H', W'] -> [B, C, H, W]. With N = H·W and
    N' = H'·W', multiply-adds: (d + 1 + C)·N·N', the softmax's being one a weight, and d·N where s is not 1.
    `dropout` acts on the weights. Written out: with C values to d keys, torch's fused attention takes no faster path.
    """
    if autocasts_to_half(query.device):
        with torch.autocast(query.device.type, enabled=False):
            return attend(query, key, value, softmax, dropout, scale)
    channels, height, width = value.shape[1], query.shape[2], query.shape[3]
    q, k, v = query.flatten(2).transpose(1, 2), key.flatten(2), value.flatten(2).transpose(1, 2)
    weights = softmax(torch.bmm(q if scale == 1 else scale * q, k))
    gathered = torch.bmm(F.dropout(weights, dropout), v)
    return gathered.transpose(1, 2).reshape(-1, channels, height, width)


class AttentionConcatenation(nn.Module):
    """u + γ·softmax(QᵀK/√d)·V, queries, keys and values of every position of u = cat(x₁, …, xₙ).

    Q, K: PW[C -> d], V: PW[C -> C], C = ΣCᵢ, without biases. d = C' = max(4, C // r).
    Shapes: maps [B, Cᵢ, H, W] -> [B, C, H, W]. Parameters: 2CC' + C² + 1.
    Multiply-adds, N = H·W: (2CC' + C² + C' + 2C)·N + (C' + C + 1)·N². Refused above N = 1024. γ starts as 0.
    """

    def __init__(
        self, channels: tuple[int, ...], reduction: int = 4, *, dropout: float = 0.0, identity_init: bool = True
    ) -> None:
        super().__init__()
        self.channels = channels
        self.dropout = dropout
        total, width = sum(channels), bottleneck_width(sum(channels), reduction)
        self.scale = width**-0.5
        self.query = pointwise(total, width)
        self.key = pointwise(total, width)
        self.value = pointwise(total, total)
        self.softmax = nn.Softmax(dim=2)
        self.gamma = nn.Parameter(torch.zeros(()) if identity_init else torch.ones(()))

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        u = join(widened(*maps), self.channels)
        check_positions("attention", u.shape[2] * u.shape[3])
        dropout = self.dropout if self.training else 0.0
        query, key, value = (in_float32(part, maps[0], u) for part in (self.query, self.key, self.value))
        return like(u + self.gamma * attend(query, key, value, self.softmax, dropout, self.scale), maps[0])


class NonLocalConcatenation(nn.Module):
    """u + W·softmax(θ(u)ᵀφ(u))·g(u), u = cat(x₁, …, xₙ).

    θ, φ, g: PW[C -> C'], W: PW[C' -> C], C = ΣCᵢ, C' = max(4, C // r), without biases.
    Shapes: maps [B, Cᵢ, H, W] -> [B, C, H, W]. Parameters: 4CC'. Multiply-adds, N = H·W:
    (4CC' + C)·N + (2C' + 1)·N². Refused above N = 1024. W starts as 0.
    """

    def __init__(
        self, channels: tuple[int, ...], reduction: int = 4, *, dropout: float = 0.0, identity_init: bool = True
    ) -> None:
        super().__init__()
        self.channels = channels
        self.dropout = dropout
        total, width = sum(channels), bottleneck_width(sum(channels), reduction)
        self.theta = pointwise(total, width)
        self.phi = pointwise(total, width)
        self.g = pointwise(total, width)
        self.softmax = nn.Softmax(dim=2)
        self.out = pointwise(width, total)
        if identity_init:
            zero_last(self.out)

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        u = join(widened(*maps), self.channels)
        check_positions("nonlocal", u.shape[2] * u.shape[3])
        dropout = self.dropout if self.training else 0.0
        query, key, value = (in_float32(part, maps[0], u) for part in (self.theta, self.phi, self.g))
        gathered = attend(query, key, value, self.softmax, dropout, scale=1.0)
        return like(u + in_float32(self.out, maps[0], gathered), maps[0])


@register(
    "attention",
    width=bottleneck_width,
    max_positions=MAX_POSITIONS,
    steps=1,
    attention=_WEIGHTS,
    cat=AttentionConcatenation,
)
class AttentionFusion(nn.Module):
    """(x + y) + γ·softmax(QᵀK/√d)·V, queries, keys and values of every position of [x, y].

    Q, K: PW[2C -> d], V: PW[2C -> C], without biases: a key's would cancel in the softmax. d = C' = max(4, C // r).
    Shapes: x, y and the result [B, C, H, W]. Parameters: 4CC' + 2C² + 1.
    Multiply-adds, N = H·W: (4CC' + 2C² + C' + 3C)·N + (C' + C + 1)·N². Refused above N = 1024.
    γ starts as 0, so that it starts as x + y; without `identity_init` as 1. `dropout` acts on the weights.
    Source: Vaswani et al., Attention Is All You Need, NeurIPS 2017, eq. 1; γ of Zhang et al., SAGAN, ICML 2019.
    """

    def __init__(self, channels: int, reduction: int = 4, *, dropout: float = 0.0, identity_init: bool = True) -> None:
        super().__init__()
        self.dropout = dropout
        width = bottleneck_width(channels, reduction)
        self.scale = width**-0.5
        self.query = pointwise(2 * channels, width)
        self.key = pointwise(2 * channels, width)
        self.value = pointwise(2 * channels, channels)
        self.softmax = nn.Softmax(dim=2)
        self.gamma = nn.Parameter(torch.zeros(()) if identity_init else torch.ones(()))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        check_shapes((x, y))
        check_positions("attention", x.shape[2] * x.shape[3])
        wide_x, wide_y = widened(x, y)
        u = torch.cat([wide_x, wide_y], dim=1)
        dropout = self.dropout if self.training else 0.0
        query, key, value = (in_float32(part, x, u) for part in (self.query, self.key, self.value))
        gathered = attend(query, key, value, self.softmax, dropout, self.scale)
        return like((wide_x + wide_y) + self.gamma * gathered, x)


@register(
    "nonlocal",
    width=bottleneck_width,
    max_positions=MAX_POSITIONS,
    symmetric=True,
    steps=1,
    attention=_WEIGHTS,
    cat=NonLocalConcatenation,
)
class NonLocalFusion(nn.Module):
    """u + W·softmax(θ(u)ᵀφ(u))·g(u), u = x + y: the embedded-Gaussian non-local block on the sum.

    θ, φ, g: PW[C -> C'], W: PW[C' -> C], C' = max(4, C // r), without biases; no 1/√d, as published.
    Shapes: x, y and the result [B, C, H, W]. Parameters: 4CC'. Multiply-adds, N = H·W:
    (4CC' + 2C)·N + (2C' + 1)·N². Refused above N = 1024. f(x, y) = f(y, x).
    W starts as 0, so that it starts as x + y. `dropout` acts on the weights of the softmax.
    Source: Wang et al., Non-local Neural Networks, CVPR 2018, eq. 4-6; the published r is 2.
    """

    def __init__(self, channels: int, reduction: int = 4, *, dropout: float = 0.0, identity_init: bool = True) -> None:
        super().__init__()
        self.dropout = dropout
        width = bottleneck_width(channels, reduction)
        self.theta = pointwise(channels, width)
        self.phi = pointwise(channels, width)
        self.g = pointwise(channels, width)
        self.softmax = nn.Softmax(dim=2)
        self.out = pointwise(width, channels)
        if identity_init:
            zero_last(self.out)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        check_shapes((x, y))
        check_positions("nonlocal", x.shape[2] * x.shape[3])
        wide_x, wide_y = widened(x, y)
        u = wide_x + wide_y
        dropout = self.dropout if self.training else 0.0
        query, key, value = (in_float32(part, x, u) for part in (self.theta, self.phi, self.g))
        gathered = attend(query, key, value, self.softmax, dropout, scale=1.0)
        return like(u + in_float32(self.out, x, gathered), x)


@register(
    "cross_modal",
    width=bottleneck_width,
    max_positions=MAX_POSITIONS,
    aligns=True,
    steps=1,
    attention=_WEIGHTS,
    no_cat="it looks up one map in the other, and what it finds has no channels of its own there",
)
class CrossModalFusion(nn.Module):
    """(x + a(y)) + γ·softmax(QᵀK/√d)·V, queries of x, keys and values of y, which may have another shape.

    Q: PW[C -> d] of x, K: PW[C_y -> d] and V: PW[C_y -> C] of y, without biases, d = C' = max(4, C // r); a(y) is y,
    projected by PW[C_y -> C] where C_y is not C and resized (nearest) to H × W where it is not that already.
    Shapes: x and the result [B, C, H, W], y [B, C_y, H', W']; N = H·W, N' = H'·W'.
    Parameters: CC' + C_y·C' + C_y·C + 1, and C_y·C where C_y is not C.
    Multiply-adds: (CC' + C' + 3C)·N + (C_y·C' + C_y·C)·N' + (C' + C + 1)·N·N', and of a, where they act,
    C_y·C·N' and C·N.
    Refused where N or N' is above 1024.
    γ starts as 0, so that it starts as x + a(y); without `identity_init` as 1. `dropout` acts on the weights.
    Source: Tsai et al., Multimodal Transformer, ACL 2019, eq. 3, over positions in place of time.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 4,
        *,
        y_channels: int | None = None,
        dropout: float = 0.0,
        identity_init: bool = True,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.channels = channels
        self.y_channels = channels if y_channels is None else y_channels
        width = bottleneck_width(channels, reduction)
        self.scale = width**-0.5
        self.query = pointwise(channels, width)
        self.key = pointwise(self.y_channels, width)
        self.value = pointwise(self.y_channels, channels)
        self.align = nn.Identity() if self.y_channels == channels else pointwise(self.y_channels, channels)
        self.softmax = nn.Softmax(dim=2)
        self.gamma = nn.Parameter(torch.zeros(()) if identity_init else torch.ones(()))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.shape[1] != self.channels or y.shape[1] != self.y_channels or y.shape[0] != x.shape[0]:
            raise ValueError(
                f"maps of shapes {list(x.shape)} and {list(y.shape)} cannot be fused: expected {self.channels} "
                f"channels of x and {self.y_channels} of y, and as many images"
            )
        check_positions("cross_modal", x.shape[2] * x.shape[3])
        check_positions("cross_modal", y.shape[2] * y.shape[3])
        dropout = self.dropout if self.training else 0.0
        wide_x, wide_y = widened(x, y)
        key, value = in_float32(self.key, x, wide_y), in_float32(self.value, x, wide_y)
        gathered = attend(in_float32(self.query, x, wide_x), key, value, self.softmax, dropout, self.scale)
        aligned = in_float32(self.align, x, wide_y)
        if aligned.shape[2:] != x.shape[2:]:
            aligned = F.interpolate(aligned, size=x.shape[2:], mode="nearest")
        return like((wide_x + aligned) + self.gamma * gathered, x)
