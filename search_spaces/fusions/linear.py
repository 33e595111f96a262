"""The two linear fusions: the sum and the projected concatenation."""

from __future__ import annotations

import torch
from torch import nn

from search_spaces.fusions.layers import pointwise, project_sum
from search_spaces.fusions.registry import register


@register("add", max_inputs=None)
class Add(nn.Module):
    """x + y, or the sum of n maps.

    Shapes: every map and the result [B, C, H, W]. Parameters: 0. Multiply-adds: (n − 1)·C·H·W.
    Source: He et al., Deep Residual Learning, CVPR 2016, eq. 1.
    """

    def __init__(self, channels: int, *, inputs: int = 2) -> None:
        super().__init__()

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        fused = maps[0]
        for other in maps[1:]:
            fused = fused + other
        return fused


@register("concat")
class Concat(nn.Module):
    """PW[2C -> C]([x, y]).

    Shapes: x, y and the result [B, C, H, W]. Parameters: 2C². Multiply-adds: 2C²·H·W.
    Starts as W = [I | I], which is x + y.
    """

    def __init__(self, channels: int, *, identity_init: bool = True) -> None:
        super().__init__()
        self.project = pointwise(2 * channels, channels)
        if identity_init:
            project_sum(self.project, channels)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        projected: torch.Tensor = self.project(torch.cat([x, y], dim=1))
        return projected
