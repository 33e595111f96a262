"""The two linear fusions: the sum and the projected concatenation."""

from __future__ import annotations

import torch
from torch import nn

from search_spaces.fusions.layers import check_shapes, pointwise, project_sum
from search_spaces.fusions.registry import register


@register("add", max_inputs=None, params=lambda d: 0, macs=lambda d: (d.k - 1) * d.c * d.n, symmetric=True, steps=0)
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
        fused = maps[0]
        for other in maps[1:]:
            fused = fused + other
        return fused


@register("concat", max_inputs=None, params=lambda d: d.k * d.c**2, macs=lambda d: d.k * d.c**2 * d.n, steps=0)
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
        projected: torch.Tensor = self.project(torch.cat(maps, dim=1))
        return projected
