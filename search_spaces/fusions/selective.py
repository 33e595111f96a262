"""Choosing among any number of maps: per channel by a softmax (SK), or by one learnt weight a map (BiFPN)."""

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
    zero_last,
)
from search_spaces.fusions.norms import Norm, normalisation
from search_spaces.fusions.registry import AttentionWeights, register


def total(maps: tuple[torch.Tensor, ...] | list[torch.Tensor]) -> torch.Tensor:
    """The sum of maps of one shape."""
    summed = maps[0]
    for other in maps[1:]:
        summed = summed + other
    return summed


class SelectiveConcatenation(nn.Module):
    """cat(s·a₁·x₁, …, s·aₙ·xₙ), a = softmax over i of A·δ(B(W·GAP(cat(x₁, …, xₙ)))): each map one weight.

    Shapes: maps [B, Cᵢ, H, W] -> [B, C, H, W], C = ΣCᵢ, a [B, n, 1, 1]. With C' = max(4, C // r) and N = H·W,
    parameters: CC' + 2C' + nC'; multiply-adds: 2C·N + CC' + (b + 1)·C' + nC' + 2n, b = 2 with batch norm, else 5.
    With batch norm, training needs a batch of 2 or more. `dropout` acts on the hidden C' values.
    `scale` s is n, so that even weights are the concatenation.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        reduction: int = 4,
        *,
        scale: float | None = None,
        norm: Norm = "batch",
        dropout: float = 0.0,
        identity_init: bool = True,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.scale = float(len(channels)) if scale is None else scale
        self.dropout = dropout
        width = bottleneck_width(sum(channels), reduction)
        self.reduce = pointwise(sum(channels), width)
        self.norm = normalisation(norm, width)
        self.choose = pointwise(width, len(channels))
        self.share = nn.Softmax(dim=1)
        if identity_init:
            zero_last(self.choose)

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        pooled = global_average(join(widened(*maps), self.channels))
        hidden = F.relu(in_float32(self.norm, maps[0], in_float32(self.reduce, maps[0], pooled)))
        weights = self.scale * self.share(in_float32(self.choose, maps[0], drop(hidden, self.dropout, self.training)))
        return torch.cat(
            [like(weights[:, index : index + 1] * chosen, chosen) for index, chosen in enumerate(maps)], dim=1
        )


class WeightedConcatenation(nn.Module):
    """cat(s·w₁·x₁, …, s·wₙ·xₙ) / (ε + Σⱼ wⱼ), w = δ(v), ε = 10⁻⁴: one learnt weight a map.

    Shapes: maps [B, Cᵢ, H, W] -> [B, C, H, W], C = ΣCᵢ. Parameters: n. Multiply-adds: C·N + 4n + 1, N = H·W.
    v starts as ones; `scale` s is n + ε, so that it starts as exactly the concatenation.
    """

    epsilon = 1e-4

    def __init__(self, channels: tuple[int, ...], *, scale: float | None = None) -> None:
        super().__init__()
        self.channels = channels
        self.scale = len(channels) + self.epsilon if scale is None else scale
        self.weight = nn.Parameter(torch.ones(len(channels)))

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        positive = F.relu(self.weight)
        weights = self.scale * (positive / (positive.sum() + self.epsilon))
        return join(tuple(weights[index] * chosen for index, chosen in enumerate(maps)), self.channels)


@register(
    "sk",
    width=bottleneck_width,
    max_inputs=None,
    steps=1,
    attention=(AttentionWeights("share", "shares"),),
    cat=SelectiveConcatenation,
)
class SelectiveKernelFusion(nn.Module):
    """s·Σᵢ aᵢ·mapᵢ, a = softmax over i of Aᵢ·δ(B(W·GAP(Σ mapᵢ))): each channel chooses among the maps.

    Shapes: every map and the result [B, C, H, W]. With n maps, C' = max(4, C // r) and N = H·W, parameters:
    (n + 1)·CC' + 2C'; multiply-adds: (3n − 1)·C·N + (n + 1)·CC' + (b + 1)·C' + 2nC, b = 2 with batch norm, else 5.
    With batch norm, training needs a batch of 2 or more. `dropout` acts on the hidden C' values.
    `scale` s is n, so that the coefficients sum to n as in a plain sum and even weights are the sum; 1 is the
    paper's.
    Source: Li et al., Selective Kernel Networks, CVPR 2019, eq. 1-6.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 4,
        *,
        inputs: int = 2,
        scale: float | None = None,
        norm: Norm = "batch",
        dropout: float = 0.0,
        identity_init: bool = True,
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.scale = float(inputs) if scale is None else scale
        self.dropout = dropout
        width = bottleneck_width(channels, reduction)
        self.reduce = pointwise(channels, width)
        self.norm = normalisation(norm, width)
        self.choose = pointwise(width, inputs * channels)
        self.share = nn.Softmax(dim=1)
        if identity_init:
            zero_last(self.choose)

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        check_shapes(maps, self.inputs)
        wide = widened(*maps)
        hidden = F.relu(in_float32(self.norm, maps[0], in_float32(self.reduce, maps[0], global_average(total(wide)))))
        logits = in_float32(self.choose, maps[0], drop(hidden, self.dropout, self.training))
        weights = self.scale * self.share(torch.unflatten(logits, 1, (self.inputs, -1)))
        return like(total([like(weights[:, index] * chosen, chosen) for index, chosen in enumerate(wide)]), maps[0])


@register("weighted", max_inputs=None, steps=0, cat=WeightedConcatenation)
class WeightedFusion(nn.Module):
    """s·Σᵢ wᵢ·mapᵢ / (ε + Σⱼ wⱼ), w = δ(v), ε = 10⁻⁴: one learnt weight a map.

    Shapes: every map and the result [B, C, H, W]. Parameters: n. Multiply-adds: (2n − 1)·C·N + 4n + 1, N = H·W.
    v starts as ones, as published. `scale` s is n + ε, so that it starts as exactly the sum; 1 is the paper's.
    Source: Tan et al., EfficientDet, CVPR 2020, section 3.3, fast normalised fusion.
    """

    epsilon = 1e-4

    def __init__(self, channels: int, *, inputs: int = 2, scale: float | None = None) -> None:
        super().__init__()
        self.inputs = inputs
        self.scale = inputs + self.epsilon if scale is None else scale
        self.weight = nn.Parameter(torch.ones(inputs))

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        check_shapes(maps, self.inputs)
        positive = F.relu(self.weight)
        weights = self.scale * (positive / (positive.sum() + self.epsilon))
        return like(total([weights[index] * chosen for index, chosen in enumerate(widened(*maps))]), maps[0])
