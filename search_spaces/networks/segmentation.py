"""Semantic segmentation over a feature pyramid: a class for every pixel, tensors in and tensors out.

Source: Kirillov et al., Panoptic Feature Pyramid Networks, CVPR 2019, section 3.1 (the semantic branch).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.networks.design import FusionFactory
from search_spaces.networks.pyramid import PyramidBackbone, PyramidPlan, group_norm


class SemanticHead(nn.Module):
    """Levels [B, in_channels, Hᵢ, Wᵢ], the finest first -> logits [B, classes, H₀, W₀].

    Each level goes up to the finest one in steps of a 3×3 convolution, group norm, ReLU and bilinear upsampling to the
    next level's size (at the finest level one such convolution without); their sum is classified by a 1×1 convolution.
    """

    def __init__(self, in_channels: int, channels: int, levels: int, classes: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.ModuleList(_step(channels if step else in_channels, channels) for step in range(max(1, level)))
            for level in range(levels)
        )
        self.classifier = nn.Conv2d(channels, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        raised = []
        for number, branch in enumerate(self.branches):
            x = levels[number]
            for step, block in enumerate(branch.children(), start=1):
                x = block(x)
                if number > 0:
                    finer = levels[number - step].shape[-2:]
                    x = F.interpolate(x, size=finer, mode="bilinear", align_corners=False)
            raised.append(x)
        logits: torch.Tensor = self.classifier(sum(raised[1:], raised[0]))
        return logits


def _step(in_channels: int, channels: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    return nn.Sequential(convolution, group_norm(channels), nn.ReLU())


class SemanticPlan(NamedTuple):
    """A `SemanticHead` of so many channels."""

    channels: int


class SegmentationNet(nn.Module):
    """A pyramid and a `SemanticHead`: [B, in_channels, H, W] -> logits [B, classes, H, W], upsampled bilinearly."""

    def __init__(
        self, plan: PyramidPlan, head: SemanticPlan, in_channels: int, classes: int, fuse: FusionFactory
    ) -> None:
        super().__init__()
        self.classes = classes
        self.backbone = PyramidBackbone(plan, in_channels)
        self.head = SemanticHead(plan.channels, head.channels, len(self.backbone.levels), classes)
        self.backbone.fuse_all(fuse)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.head(list(self.backbone(x).values()))
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)
