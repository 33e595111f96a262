"""An Inception network for small images whose two branches are summed: the same-layer fusion of the AFF paper.

From Dai et al., Attentional Feature Fusion, WACV 2021: an Inception module of a 3×3 branch x and a 5×5 branch y, merged
by one fusion of two equal maps; a host for 32×32 images of three stages with b = 1 … 4 modules each.
Ours, since the authors published no code of it: ResNet-20's widths 16, 32, 64 and b = 3; in each branch a 1×1
convolution to half the width first, as in GoogLeNet (so the longest path has 20 layers, and a module costs about what a
ResNet block of that width does); the stride in the k×k convolutions; batch norm and ReLU after every convolution, none
after the merge; no identity skip, so that the only merges are those within a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from search_spaces.networks.design import ConstructedDesign, FusionFactory, InputSpec, PointShape, check_size
from search_spaces.networks.googlenet import BasicConv2d

SMALLEST = 8


class TwoBranchInception(nn.Module):
    """`fuse(3×3 branch, 5×5 branch)`: [B, in_channels, H, W] -> [B, channels, ⌈H/stride⌉, ⌈W/stride⌉]."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch3x3 = nn.Sequential(BasicConv2d(in_channels, half, 1), BasicConv2d(half, channels, 3, stride))
        self.branch5x5 = nn.Sequential(BasicConv2d(in_channels, half, 1), BasicConv2d(half, channels, 5, stride))
        self.fuse: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fused: torch.Tensor = self.fuse(self.branch3x3(x), self.branch5x5(x))
        return fused


class InceptionNet(nn.Module):
    """[B, in_channels, size, size] -> logits [B, classes]. Stages are `inception1`, `inception2`, … of modules."""

    def __init__(
        self, layers: tuple[int, ...], widths: tuple[int, ...], in_channels: int, classes: int, fuse: FusionFactory
    ) -> None:
        super().__init__()
        channels = widths[0]
        self.stem = BasicConv2d(in_channels, channels, 3)
        self.stages = [f"inception{index + 1}" for index in range(len(layers))]
        for index, (stage, depth, width) in enumerate(zip(self.stages, layers, widths, strict=True)):
            modules = []
            for position in range(depth):
                stride = 2 if index > 0 and position == 0 else 1
                modules.append(TwoBranchInception(channels, width, stride))
                channels = width
            self.add_module(stage, nn.Sequential(*modules))
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        # After the whole trunk: its initial weights must not depend on which fusions are chosen.
        for stage, width in zip(self.stages, widths, strict=True):
            for position, block in enumerate(self.get_submodule(stage).children()):
                block.fuse = fuse(f"{stage}.{position}", width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        logits: torch.Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


@dataclass(frozen=True)
class InceptionDesign(ConstructedDesign):
    """Modules per stage and channels per stage."""

    layers: tuple[int, ...] = (3, 3, 3)
    widths: tuple[int, ...] = (16, 32, 64)

    @property
    def summary(self) -> str:
        return f"Inception for small images, a fusion point of two branches in each of its {sum(self.layers)} modules"

    @property
    def default_input(self) -> InputSpec:
        return InputSpec(3, 32, 10)

    def points(self, spec: InputSpec) -> tuple[PointShape, ...]:
        check_size("Inception for small images", spec, SMALLEST)
        points, size, channels = [], spec.size, self.widths[0]
        for index, (depth, width) in enumerate(zip(self.layers, self.widths, strict=True)):
            for position in range(depth):
                stride = 2 if index > 0 and position == 0 else 1
                size = -(-size // stride)
                name = f"inception{index + 1}.{position}"
                points.append(PointShape(name, "same layer", channels, width, size, size, stride))
                channels = width
        return tuple(points)

    def construction(self, spec: InputSpec) -> tuple[type[nn.Module], dict[str, Any]]:
        arguments = {"layers": self.layers, "widths": self.widths}
        return InceptionNet, {**arguments, "in_channels": spec.channels, "classes": spec.classes}
