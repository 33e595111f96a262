"""The necks of feature pyramids: FPN, and PANet's bottom-up path after it, with a fusion point at every merge.

`FeaturePyramid` has the parameter names of `torchvision.ops.FeaturePyramidNetwork` with `norm_layer=BatchNorm2d`,
which its `fasterrcnn_resnet50_fpn_v2` uses. The papers' necks have no norm and lean on a pretrained trunk and small
steps: trained from scratch at a ResNet's learning rate they diverge.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F


class TopDownMerge(nn.Module):
    """`fuse(lateral, top_down)`, the coarser map resized to the lateral one (nearest, as the FPN paper has it).

    Shapes: lateral [B, C, H, W], top_down [B, C, h, w] -> [B, C, H, W]; h and w need not be halves of H and W.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fuse: nn.Module

    def forward(self, lateral: torch.Tensor, top_down: torch.Tensor) -> torch.Tensor:
        resized = F.interpolate(top_down, size=lateral.shape[-2:], mode="nearest")
        fused: torch.Tensor = self.fuse(lateral, resized)
        return fused


class FeaturePyramid(nn.Module):
    """FPN: a trunk's maps [B, Cᵢ, Hᵢ, Wᵢ], the finest first -> as many of [B, channels, Hᵢ, Wᵢ].

    Lateral 1×1 convolutions (`inner_blocks`), a `TopDownMerge` at every level but the coarsest, under the level's
    name, and 3×3 convolutions (`layer_blocks`); batch norm after each, no activation.
    Source: Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017; torchvision's initialisation.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, levels: Sequence[str]) -> None:
        super().__init__()
        self.inner_blocks = nn.ModuleList(normed_convolution(width, channels, 1) for width in in_channels)
        self.layer_blocks = nn.ModuleList(normed_convolution(channels, channels, 3) for _ in in_channels)
        initialise(self, slope=1)
        self.merged = list(reversed(levels[:-1]))
        for level in self.merged:
            self.add_module(level, TopDownMerge())

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        laterals = [lateral(stage) for lateral, stage in zip(self.inner_blocks, maps, strict=True)]
        merged = [laterals.pop()]
        for level in self.merged:
            merged.append(self.get_submodule(level)(laterals.pop(), merged[-1]))
        return [smooth(level) for smooth, level in zip(self.layer_blocks, reversed(merged), strict=True)]


class BottomUpMerge(nn.Module):
    """`fuse(p, down(n))`, then a 3×3 convolution: level Pᵢ₊₁ meets the finer level Nᵢ, halved by a 3×3 convolution.

    Shapes: p [B, C, H, W], finer [B, C, 2H or 2H − 1, 2W or 2W − 1] -> [B, C, H, W].
    Batch norm and ReLU after both convolutions.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = normed_convolution(channels, channels, 3, stride=2)
        self.out = normed_convolution(channels, channels, 3)
        self.fuse: nn.Module

    def forward(self, p: torch.Tensor, finer: torch.Tensor) -> torch.Tensor:
        return F.relu(self.out(self.fuse(p, F.relu(self.down(finer)))))


class PathAggregation(nn.Module):
    """PANet's bottom-up path: levels P [B, channels, Hᵢ, Wᵢ], the finest first -> levels N of the same shapes.

    The finest N is the finest P; every other one is made by the `BottomUpMerge` under its name.
    Source: Liu et al., Path Aggregation Network for Instance Segmentation, CVPR 2018, section 3.1.
    """

    def __init__(self, channels: int, levels: Sequence[str]) -> None:
        super().__init__()
        self.merged = list(levels[1:])
        for level in self.merged:
            self.add_module(level, BottomUpMerge(channels))
        initialise(self, slope=0)

    def forward(self, levels: list[torch.Tensor]) -> list[torch.Tensor]:
        maps = [levels[0]]
        for level, p in zip(self.merged, levels[1:], strict=True):
            maps.append(self.get_submodule(level)(p, maps[-1]))
        return maps


def normed_convolution(in_channels: int, channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias and batch norm, named as torchvision's Conv2dNormActivation names them."""
    convolution = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels))


def initialise(neck: nn.Module, slope: float) -> None:
    """He et al.'s uniform initialisation before an activation of that negative slope (1: none)."""
    for module in neck.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, a=slope)
