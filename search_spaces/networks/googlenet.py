"""GoogLeNet (Inception v1) with a fusion point of four unequal branches in every block; torchvision's names.

Source: Szegedy et al., Going Deeper with Convolutions, CVPR 2015, as torchvision builds it: batch norm after every
convolution, and 3×3 kernels in the "5×5" branch (the weights that torchvision ships were trained so). Left out are the
auxiliary classifiers and the dropout before the last layer, which has no weights: its random numbers would differ
between candidates that are to be compared under the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.networks.design import FusionFactory, InputSpec, PointShape, check_size

#: Block by block: name, then the channels of the 1×1 branch, the 3×3 branch's reduction and the 3×3 branch, the "5×5"
#: branch's reduction and the "5×5" branch, and the projection after pooling (table 1 of the paper).
BLOCKS: tuple[tuple[str, int, int, int, int, int, int], ...] = (
    ("inception3a", 64, 96, 128, 16, 32, 32),
    ("inception3b", 128, 128, 192, 32, 96, 64),
    ("inception4a", 192, 96, 208, 16, 48, 64),
    ("inception4b", 160, 112, 224, 24, 64, 64),
    ("inception4c", 128, 128, 256, 24, 64, 64),
    ("inception4d", 112, 144, 288, 32, 64, 64),
    ("inception4e", 256, 160, 320, 32, 128, 128),
    ("inception5a", 256, 160, 320, 32, 128, 128),
    ("inception5b", 384, 192, 384, 48, 128, 128),
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

    def __init__(
        self, in_channels: int, ch1x1: int, ch3x3red: int, ch3x3: int, ch5x5red: int, ch5x5: int, pool_proj: int
    ) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, ch1x1, 1)
        self.branch2 = nn.Sequential(BasicConv2d(in_channels, ch3x3red, 1), BasicConv2d(ch3x3red, ch3x3, 3))
        self.branch3 = nn.Sequential(BasicConv2d(in_channels, ch5x5red, 1), BasicConv2d(ch5x5red, ch5x5, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), BasicConv2d(in_channels, pool_proj, 1))
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
        for name, *branches in BLOCKS:
            self.add_module(name, Inception(channels, *branches))
            channels = sum(output_channels(*branches))
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        # After the whole trunk: its initial weights must not depend on which fusions are chosen.
        for name, *branches in BLOCKS:
            self.get_submodule(name).fuse = fuse(name, sum(output_channels(*branches)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.conv1(x), 3, stride=2, ceil_mode=True)
        x = F.max_pool2d(self.conv3(self.conv2(x)), 3, stride=2, ceil_mode=True)
        for name, *_ in BLOCKS:
            if name == "inception4a":
                x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
            elif name == "inception5a":
                x = F.max_pool2d(x, 2, stride=2, ceil_mode=True)
            x = self.get_submodule(name)(x)
        logits: torch.Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


def output_channels(
    ch1x1: int, ch3x3red: int, ch3x3: int, ch5x5red: int, ch5x5: int, pool_proj: int
) -> tuple[int, int, int, int]:
    """The channels of the four maps that a block merges."""
    return ch1x1, ch3x3, ch5x5, pool_proj


@dataclass(frozen=True)
class GoogLeNetDesign:
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
        for name, *branches in BLOCKS:
            if name == "inception4a":
                size = size // 2
            elif name == "inception5a":
                size = -(-size // 2)
            inputs = output_channels(*branches)
            total = sum(inputs)
            points.append(PointShape(name, "same layer", channels, total, size, size, 1, "cat", inputs))
            channels = total
        return tuple(points)

    def build(self, spec: InputSpec, fuse: FusionFactory) -> nn.Module:
        return GoogLeNet(spec.channels, spec.classes, fuse)
