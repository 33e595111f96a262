"""BiFPN, one layer of it: a top-down and a bottom-up path, whose inner levels merge three maps on the way up.

Source: Tan et al., EfficientDet: Scalable and Efficient Object Detection, CVPR 2020, fig. 2d and section 3.3:
Pᵢ^td = Conv(Pᵢ^in + Resize(Pᵢ₊₁^td)), Pᵢ^out = Conv(Pᵢ^in + Pᵢ^td + Resize(Pᵢ₋₁^out)); a node that would have one map
only is left out. `add` is the unweighted sum; `weighted` at every point is the paper's fast normalised fusion.
As there: depthwise separable convolutions with batch norm and activation after them, nearest upsampling, 3×3 max
pooling in steps of 2. Unlike there: ReLU, as in the rest of our networks, for swish, and the trunk's levels only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.networks.necks import initialise, normed_convolution


class BiFPNNode(nn.Module):
    """δ(B(PW(DW(fuse(*maps))))): n maps [B, C, H, W] -> [B, C, H, W]. DW: a 3×3 convolution of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = normed_convolution(channels, channels, 1)
        self.fuse: nn.Module

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        return F.relu(self.pointwise(self.depthwise(self.fuse(*maps))))


class BiFPNTopDown(nn.Module):
    """A trunk's maps [B, Cᵢ, Hᵢ, Wᵢ], the finest first -> for each level the maps [B, channels, Hᵢ, Wᵢ] to go on with.

    `lateral` 1×1 convolutions with batch norm give Pᵢ^in. Every level but the coarsest has a node under its name,
    `fuse(lateral, resized)`. What goes on is [P^out] at the finest level, [Pᵢ^in, Pᵢ^td] at the inner ones, [P^in]
    at the coarsest.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, levels: Sequence[str]) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(normed_convolution(width, channels, 1) for width in in_channels)
        initialise(self.lateral, slope=1)
        self.merged = list(reversed(levels[:-1]))
        for level in self.merged:
            node = BiFPNNode(channels)
            initialise(node, slope=0)
            self.add_module(level, node)

    def forward(self, maps: list[torch.Tensor]) -> list[list[torch.Tensor]]:
        laterals = [lateral(stage) for lateral, stage in zip(self.lateral, maps, strict=True)]
        coarser = laterals.pop()
        going_on = [[coarser]]
        for level in self.merged:
            lateral = laterals.pop()
            resized = F.interpolate(coarser, size=lateral.shape[-2:], mode="nearest")
            coarser = self.get_submodule(level)(lateral, resized)
            going_on.append([lateral, coarser] if laterals else [coarser])
        return going_on[::-1]


class BiFPNBottomUp(nn.Module):
    """What `BiFPNTopDown` gives -> levels [B, channels, Hᵢ, Wᵢ], the finest first.

    Every level but the finest has a node under its name: `fuse(lateral, top_down, pooled)`, at the coarsest
    `fuse(lateral, pooled)`. Pooling halves a size and rounds up, as the trunk's stages do.
    """

    def __init__(self, channels: int, levels: Sequence[str]) -> None:
        super().__init__()
        self.merged = list(levels[1:])
        for level in self.merged:
            self.add_module(level, BiFPNNode(channels))
        initialise(self, slope=0)

    def forward(self, levels: list[list[torch.Tensor]]) -> list[torch.Tensor]:
        (finest,) = levels[0]
        maps = [finest]
        for level, own in zip(self.merged, levels[1:], strict=True):
            pooled = F.max_pool2d(maps[-1], 3, stride=2, padding=1)
            maps.append(self.get_submodule(level)(*own, pooled))
        return maps
