"""GoogLeNet (Inception v1) with a fusion point of four unequal branches in every block; torchvision's names.

Source: Szegedy et al., Going Deeper with Convolutions, CVPR 2015, as torchvision builds it: batch norm after every
convolution, and 3×3 kernels in the "5×5" branch (the weights that torchvision ships were trained so). Left out are the
auxiliary classifiers and the dropout before the last layer, which has no weights: its random numbers would differ
between candidates that are to be compared under the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.networks.design import ConstructedDesign, FusionFactory, InputSpec, PointShape, check_size


class BlockPlan(NamedTuple):
    """The channels in a block: of the branches that it merges, and of the reductions before the 3×3 and "5×5" one."""

    ch1x1: int
    ch3x3red: int
    ch3x3: int
    ch5x5red: int
    ch5x5: int
    pool_proj: int

    @property
    def outputs(self) -> tuple[int, int, int, int]:
        """The channels of the four maps that the block merges."""
        return self.ch1x1, self.ch3x3, self.ch5x5, self.pool_proj


#: Block by block, as in table 1 of the paper.
BLOCKS: tuple[tuple[str, BlockPlan], ...] = (
    ("inception3a", BlockPlan(64, 96, 128, 16, 32, 32)),
    ("inception3b", BlockPlan(128, 128, 192, 32, 96, 64)),
    ("inception4a", BlockPlan(192, 96, 208, 16, 48, 64)),
    ("inception4b", BlockPlan(160, 112, 224, 24, 64, 64)),
    ("inception4c", BlockPlan(128, 128, 256, 24, 64, 64)),
    ("inception4d", BlockPlan(112, 144, 288, 32, 64, 64)),
    ("inception4e", BlockPlan(256, 160, 320, 32, 128, 128)),
    ("inception5a", BlockPlan(256, 160, 320, 32, 128, 128)),
    ("inception5b", BlockPlan(384, 192, 384, 48, 128, 128)),
)
STEM_CHANNELS = 192
SMALLEST = 32


class BasicConv2d(nn.Module):
    """Convolution that keeps H and W at stride 1, batch norm, ReLU: [B, C, H, W] -> [B, C', ⌈H/stride⌉, ⌈W/stride⌉]."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """`fuse` of four branches: [B, C, H, W] -> [B, sum of the branches' channels, H, W]; concatenated by default."""

    def __init__(self, in_channels: int, plan: BlockPlan) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, plan.ch1x1, 1)
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, plan.ch3x3red, 1), BasicConv2d(plan.ch3x3red, plan.ch3x3, 3)
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(in_channels, plan.ch5x5red, 1), BasicConv2d(plan.ch5x5red, plan.ch5x5, 3)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), BasicConv2d(in_channels, plan.pool_proj, 1))
        self.fuse: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fused: torch.Tensor = self.fuse(self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x))
        return fused


class GoogLeNet(nn.Module):
    """[B, in_channels, size, size] -> logits [B, classes]."""

    def __init__(self, in_channels: int, classes: int, fuse: FusionFactory) -> None:
        super().__init__()
        self.conv1 = BasicConv2d(in_channels, 64, 7, stride=2)
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(64, STEM_CHANNELS, 3)
        channels = STEM_CHANNELS
        for name, plan in BLOCKS:
            self.add_module(name, Inception(channels, plan))
            channels = sum(plan.outputs)
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        # After the whole trunk: its initial weights must not depend on which fusions are chosen.
        for name, plan in BLOCKS:
            self.get_submodule(name).fuse = fuse(name, sum(plan.outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.conv1(x), 3, stride=2, ceil_mode=True)
        x = F.max_pool2d(self.conv3(self.conv2(x)), 3, stride=2, ceil_mode=True)
        for name, _ in BLOCKS:
            if name == "inception4a":
                x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
            elif name == "inception5a":
                x = F.max_pool2d(x, 2, stride=2, ceil_mode=True)
            x = self.get_submodule(name)(x)
        logits: torch.Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


@dataclass(frozen=True)
class GoogLeNetDesign(ConstructedDesign):
    """torchvision's googlenet(aux_logits=False, transform_input=False)."""

    @property
    def summary(self) -> str:
        return "GoogLeNet (Inception v1), a fusion point of four branches in each of its 9 blocks; add concatenates"

    @property
    def default_input(self) -> InputSpec:
        return InputSpec(3, 224, 1000)

    def points(self, spec: InputSpec) -> tuple[PointShape, ...]:
        check_size("GoogLeNet", spec, SMALLEST)
        # Convolution: ⌈s/2⌉. Pooling over 3 positions in steps of 2, rounded up: ⌈(s − 1)/2⌉ = s // 2.
        size = -(-spec.size // 2) // 2 // 2
        points, channels = [], STEM_CHANNELS
        for name, plan in BLOCKS:
            if name == "inception4a":
                size = size // 2
            elif name == "inception5a":
                size = -(-size // 2)
            total = sum(plan.outputs)
            points.append(PointShape(name, "same layer", channels, total, size, size, 1, "cat", plan.outputs))
            channels = total
        return tuple(points)

    def construction(self, spec: InputSpec) -> tuple[type[nn.Module], dict[str, Any]]:
        return GoogLeNet, {"in_channels": spec.channels, "classes": spec.classes}
