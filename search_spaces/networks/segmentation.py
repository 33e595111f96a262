"""Semantic segmentation over a feature pyramid: a class for every pixel, tensors in and tensors out.

Source: Kirillov et al., Panoptic Feature Pyramid Networks, CVPR 2019, section 3.1 (the semantic branch).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.networks.design import FusionFactory, InputSpec, PointShape
from search_spaces.networks.pyramid import Neck, PyramidDesign, PyramidTrunk, group_norm
from search_spaces.networks.resnet import BasicBlock, Bottleneck


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


class SegmentationNet(PyramidTrunk):
    """A pyramid and a `SemanticHead`: [B, in_channels, H, W] -> logits [B, classes, H, W], upsampled bilinearly."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: tuple[int, ...],
        widths: tuple[int, ...],
        stem: Literal["cifar", "imagenet"],
        neck: Neck,
        neck_channels: int,
        finest_level: int,
        first_stage: int,
        in_channels: int,
        head_channels: int,
        classes: int,
        fuse: FusionFactory,
    ) -> None:
        super().__init__(block, layers, widths, stem, neck, neck_channels, finest_level, first_stage, in_channels)
        self.classes = classes
        self.head = SemanticHead(neck_channels, head_channels, len(self.levels), classes)
        self.fuse_all(fuse)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.head(list(self.features(x).values()))
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class SegmentationDesign:
    """A semantic FPN over a pyramid: what varies is what varies in the pyramid."""

    pyramid: PyramidDesign
    head_channels: int

    @property
    def title(self) -> str:
        return f"Semantic segmentation on {self.pyramid.title}"

    @property
    def summary(self) -> str:
        return f"Semantic segmentation on {self.pyramid.summary}"

    @property
    def default_input(self) -> InputSpec:
        """128 pixels and the 11 classes of scenes-mini on narrow pyramids, 512 pixels and VOC's 21 on wide ones."""
        return InputSpec(3, 512, 21) if self.pyramid.channels >= 128 else InputSpec(3, 128, 11)

    def points(self, spec: InputSpec) -> tuple[PointShape, ...]:
        return self.pyramid.points(spec)

    def build(self, spec: InputSpec, fuse: FusionFactory) -> nn.Module:
        return SegmentationNet(*self.pyramid.arguments, spec.channels, self.head_channels, spec.classes, fuse)


def segmenter(pyramid: PyramidDesign) -> SegmentationDesign:
    """The segmenter over a pyramid of the catalogue: half of its channels in the head, 128 of 256 as the paper has it.

    Trunks for small images get the stem of those for large ones, see `PyramidDesign.at_stride_4`.
    """
    wide = pyramid.channels // 2 if pyramid.trunk.stem == "imagenet" else pyramid.channels
    return SegmentationDesign(pyramid.at_stride_4, wide)
