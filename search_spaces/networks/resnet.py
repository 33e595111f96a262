"""Residual networks with a fusion point in every block; parameter names are torchvision's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.networks.design import ConstructedDesign, FusionFactory, InputSpec, PointShape, check_size

#: Below this, too little of an image is left to convolve; the last maps of an ImageNet network are then 1 × 1.
SMALLEST = 8


class ResidualBlock(nn.Module):
    """[B, in_channels, H, W] -> [B, channels * expansion, H / stride, W / stride]."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()


class BasicBlock(ResidualBlock):
    """Two 3×3 convolutions; `fuse(identity, residual)`, then ReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(in_channels, channels, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = projection(in_channels, channels, stride)
        self.fuse: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        identity = x if self.downsample is None else self.downsample(x)
        return F.relu(self.fuse(identity, y))


class Bottleneck(ResidualBlock):
    """1×1, 3×3 (with the stride, as torchvision has it), 1×1; `fuse(identity, residual)`, then ReLU."""

    expansion = 4
    groups = 1
    widening = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(in_channels, channels, stride)
        out_channels, width = channels * self.expansion, channels * self.widening
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, groups=self.groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = projection(in_channels, out_channels, stride)
        self.fuse: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        identity = x if self.downsample is None else self.downsample(x)
        return F.relu(self.fuse(identity, y))


class ResNeXtBottleneck(Bottleneck):
    """The bottleneck of Xie et al. 2017 in its 32×4d form: 32 groups of 4 channels where ResNet has 64 channels."""

    groups = 32
    widening = 2


def projection(in_channels: int, channels: int, stride: int) -> nn.Sequential | None:
    """The 1×1 convolution that brings the identity to the residual's shape, None where it has it already."""
    if stride == 1 and in_channels == channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels))


class TrunkPlan(NamedTuple):
    """What a ResNet is made of: its block, blocks and channels of each stage, and how it begins.

    A tuple with names: a dataclass in an exported source would need that source to be an imported module.
    """

    block: type[ResidualBlock]
    layers: tuple[int, ...]
    widths: tuple[int, ...]
    stem: Literal["cifar", "imagenet"]


class ResNetTrunk(nn.Module):
    """[B, in_channels, size, size] -> the map that each stage ends with. Stages are `layer1`, `layer2`, … of blocks.

    A subclass adds its own layers, then calls `initialise` and, after everything else, `fuse_blocks`.
    """

    def __init__(self, plan: TrunkPlan, in_channels: int) -> None:
        super().__init__()
        channels = plan.widths[0]
        if plan.stem == "imagenet":
            self.conv1 = nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(channels)
        self.stages = [f"layer{index + 1}" for index in range(len(plan.layers))]
        for index, (stage, depth, width) in enumerate(zip(self.stages, plan.layers, plan.widths, strict=True)):
            blocks = []
            for position in range(depth):
                stride = 2 if index > 0 and position == 0 else 1
                blocks.append(plan.block(channels, width, stride))
                channels = width * plan.block.expansion
            self.add_module(stage, nn.Sequential(*blocks))
        self.stage_channels = [width * plan.block.expansion for width in plan.widths]

    def initialise(self) -> None:
        """He et al. 2015 for the convolutions made so far, as torchvision has it."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def fuse_blocks(self, fuse: FusionFactory) -> None:
        """Put the fusion into every block. Last of all: no other initial weight may depend on which are chosen."""
        for stage, channels in zip(self.stages, self.stage_channels, strict=True):
            for position, block in enumerate(self.get_submodule(stage).children()):
                block.fuse = fuse(f"{stage}.{position}", channels)

    def stage_maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """[B, in_channels, size, size] -> each stage's last map, the finest first."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        maps = []
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
            maps.append(x)
        return maps


class ResNet(ResNetTrunk):
    """[B, in_channels, size, size] -> logits [B, classes]. The trunk is not a part but the network itself, as
    torchvision has it, so that parameters have its names."""

    def __init__(self, plan: TrunkPlan, in_channels: int, classes: int, fuse: FusionFactory) -> None:
        super().__init__(plan, in_channels)
        self.fc = nn.Linear(self.stage_channels[-1], classes)
        self.initialise()
        self.fuse_blocks(fuse)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.stage_maps(x)[-1].mean(dim=(2, 3)))
        return logits


_BLOCKS: dict[str, type[ResidualBlock]] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
    "ResNeXt": ResNeXtBottleneck,
}


@dataclass(frozen=True)
class ResNetDesign(ConstructedDesign):
    """A member of the ResNet family: block, blocks per stage, channels per stage, stem."""

    title: str
    block: Literal["basic", "bottleneck", "ResNeXt"]
    layers: tuple[int, ...]
    widths: tuple[int, ...]
    stem: Literal["cifar", "imagenet"]

    @property
    def summary(self) -> str:
        return f"{self.title}, a fusion point in each of its {sum(self.layers)} {self.block} blocks"

    @property
    def default_input(self) -> InputSpec:
        return InputSpec(3, 32, 10) if self.stem == "cifar" else InputSpec(3, 224, 1000)

    @property
    def block_type(self) -> type[ResidualBlock]:
        return _BLOCKS[self.block]

    @property
    def plan(self) -> TrunkPlan:
        return TrunkPlan(self.block_type, self.layers, self.widths, self.stem)

    def points(self, spec: InputSpec) -> tuple[PointShape, ...]:
        return tuple(self._points(spec))

    def _points(self, spec: InputSpec) -> Iterator[PointShape]:
        check_size(self.title, spec, SMALLEST)
        size = spec.size if self.stem == "cifar" else -(-spec.size // 4)
        channels = self.widths[0]
        for index, (depth, width) in enumerate(zip(self.layers, self.widths, strict=True)):
            for position in range(depth):
                stride = 2 if index > 0 and position == 0 else 1
                size = -(-size // stride)
                out_channels = width * self.block_type.expansion
                name = f"layer{index + 1}.{position}"
                yield PointShape(name, "short skip", channels, out_channels, size, size, stride)
                channels = out_channels

    def construction(self, spec: InputSpec) -> tuple[type[nn.Module], dict[str, Any]]:
        return ResNet, {"plan": self.plan, "in_channels": spec.channels, "classes": spec.classes}


def cifar_resnet(depth: int) -> ResNetDesign:
    """He et al. 2016, section 4.2: 6n + 2 layers, widths 16, 32, 64 (projections where shapes change)."""
    blocks = (depth - 2) // 6
    return ResNetDesign(f"ResNet-{depth} for small images", "basic", (blocks,) * 3, (16, 32, 64), "cifar")


def imagenet_resnet(depth: int) -> ResNetDesign:
    """torchvision's resnet18, resnet34, resnet50 and resnet101."""
    block: Literal["basic", "bottleneck"] = "bottleneck" if depth >= 50 else "basic"
    layers = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}[depth]
    return ResNetDesign(f"ResNet-{depth}", block, layers, (64, 128, 256, 512), "imagenet")


def resnext50() -> ResNetDesign:
    """torchvision's resnext50_32x4d (Xie et al., Aggregated Residual Transformations, CVPR 2017)."""
    return ResNetDesign("ResNeXt-50 32x4d", "ResNeXt", (3, 4, 6, 3), (64, 128, 256, 512), "imagenet")
