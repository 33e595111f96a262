"""The two linear fusions: the sum and the projected concatenation."""

from __future__ import annotations

import torch
from torch import nn

from search_spaces.fusions.concatenation import Concatenation, join
from search_spaces.fusions.half import widened
from search_spaces.fusions.layers import check_shapes, like, pointwise, project_sum
from search_spaces.fusions.registry import register


@register("add", max_inputs=None, symmetric=True, steps=0, cat=Concatenation)
class Add(nn.Module):
    """x + y, or the sum of n maps.

    Shapes: every map and the result [B, C, H, W]. Parameters: 0. Multiply-adds: (n − 1)·C·N, N = H·W.
    Source: He et al., Deep Residual Learning, CVPR 2016, eq. 1.
    """

    def __init__(self, channels: int, *, inputs: int = 2) -> None:
        super().__init__()
        self.inputs = inputs

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        check_shapes(maps, self.inputs)
        fused, *others = maps if len(maps) == 2 else widened(*maps)
        for other in others:
            fused = fused + other
        return like(fused, maps[0])


class ProjectedConcatenation(nn.Module):
    """PW[C -> C](cat(x₁, …, xₙ)), C = ΣCᵢ.

    Shapes: maps [B, Cᵢ, H, W] -> [B, C, H, W]. Parameters: C². Multiply-adds: C²·N, N = H·W. Starts as W = I.
    """

    def __init__(self, channels: tuple[int, ...], *, identity_init: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.project = pointwise(sum(channels), sum(channels))
        if identity_init:
            project_sum(self.project, sum(channels))

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        return like(self.project(join(maps, self.channels)), maps[0])


@register("concat", max_inputs=None, steps=0, cat=ProjectedConcatenation)
class Concat(nn.Module):
    """PW[2C -> C]([x, y]), or PW[nC -> C] of n maps.

    Shapes: every map and the result [B, C, H, W]. Parameters: n·C², 2C² for two. Multiply-adds: n·C²·N, N = H·W.
    Starts as W = [I | I], which is x + y.
    Source: Szegedy et al., Going Deeper with Convolutions, CVPR 2015, fig. 2(b), and the 1×1 after it.
    """

    def __init__(self, channels: int, *, inputs: int = 2, identity_init: bool = True) -> None:
        super().__init__()
        self.inputs = inputs
        self.project = pointwise(inputs * channels, channels)
        if identity_init:
            project_sum(self.project, channels)

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        check_shapes(maps, self.inputs)
        return like(self.project(torch.cat(maps, dim=1)), maps[0])
