"""Feature pyramids over a ResNet trunk: FPN, and PANet's bottom-up path after it, with a fusion point at every merge.

Parameter names are torchvision's: the trunk's as in `resnet18`, `fpn`'s as in `torchvision.ops.FeaturePyramidNetwork`
with `norm_layer=BatchNorm2d`, which its `fasterrcnn_resnet50_fpn_v2` uses. The papers' necks have no norm and lean on a
pretrained trunk and small steps: trained from scratch at a ResNet's learning rate they diverge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.networks.design import FusionFactory, InputSpec, PointShape
from search_spaces.networks.resnet import (
    BasicBlock,
    Bottleneck,
    ResNetDesign,
    ResNetTrunk,
    cifar_resnet,
    imagenet_resnet,
)


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


class PyramidNet(ResNetTrunk):
    """A ResNet trunk, a neck over all of its stages and a classifier: [B, in_channels, size, size] -> [B, classes].

    `features` gives the pyramid itself, for other heads. The classifier sees the global average of every level side
    by side: each level then has weights of its own, and none is drowned in a mean over levels.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: tuple[int, ...],
        widths: tuple[int, ...],
        stem: Literal["cifar", "imagenet"],
        neck: Literal["fpn", "pan"],
        neck_channels: int,
        finest_level: int,
        in_channels: int,
        classes: int,
        fuse: FusionFactory,
    ) -> None:
        super().__init__(block, layers, widths, stem, in_channels)
        self.initialise()
        numbers = range(finest_level, finest_level + len(layers))
        self.fpn = FeaturePyramid(self.stage_channels, neck_channels, [f"p{number}" for number in numbers])
        self.pan = PathAggregation(neck_channels, [f"n{number}" for number in numbers]) if neck == "pan" else None
        self.levels = [f"{'p' if self.pan is None else 'n'}{number}" for number in numbers]
        self.fc = nn.Linear(neck_channels * len(numbers), classes)
        self.fuse_blocks(fuse)
        for level in self.fpn.merged:
            self.fpn.get_submodule(level).fuse = fuse(f"fpn.{level}", neck_channels)
        if self.pan is not None:
            for level in self.pan.merged:
                self.pan.get_submodule(level).fuse = fuse(f"pan.{level}", neck_channels)

    def features(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The pyramid by level, the finest first: `p3` (`n3` after the bottom-up path) has stride 2³."""
        maps = self.fpn(self.stage_maps(x))
        if self.pan is not None:
            maps = self.pan(maps)
        return dict(zip(self.levels, maps, strict=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = [level.mean(dim=(2, 3)) for level in self.features(x).values()]
        logits: torch.Tensor = self.fc(torch.cat(pooled, dim=1))
        return logits


@dataclass(frozen=True)
class PyramidDesign:
    """A pyramid of `channels` channels over every stage of a ResNet: its blocks vary, and the merges of its neck."""

    trunk: ResNetDesign
    neck: Literal["fpn", "pan"]
    channels: int

    @property
    def title(self) -> str:
        return f"{self.trunk.title} with {'an FPN' if self.neck == 'fpn' else 'a PAN (FPN, then bottom-up)'}"

    @property
    def summary(self) -> str:
        merges = (len(self.trunk.layers) - 1) * (1 if self.neck == "fpn" else 2)
        return f"{self.title}, a fusion point in each of its {sum(self.trunk.layers)} blocks and {merges} long skips"

    @property
    def default_input(self) -> InputSpec:
        return self.trunk.default_input

    @property
    def finest_level(self) -> int:
        """l, where the finest level has stride 2ˡ."""
        return 0 if self.trunk.stem == "cifar" else 2

    def points(self, spec: InputSpec) -> tuple[PointShape, ...]:
        """Every block's; `fpn.p4` … downwards (`in_channels`: of the lateral convolution); `pan.n3` … upwards."""
        return tuple(self._points(spec))

    def _points(self, spec: InputSpec) -> Iterator[PointShape]:
        blocks = self.trunk.points(spec)
        yield from blocks
        stages = list({block.name.partition(".")[0]: block for block in blocks}.values())  # the last of each stage
        levels = list(enumerate(stages, start=self.finest_level))
        for number, stage in reversed(levels[:-1]):
            yield self._point(f"fpn.p{number}", stage, stage.channels, 1)
        if self.neck == "pan":
            for number, stage in levels[1:]:
                yield self._point(f"pan.n{number}", stage, self.channels, 2)

    def _point(self, name: str, stage: PointShape, in_channels: int, stride: int) -> PointShape:
        return PointShape(name, "long skip", in_channels, self.channels, stage.height, stage.width, stride)

    def build(self, spec: InputSpec, fuse: FusionFactory) -> nn.Module:
        trunk = self.trunk
        return PyramidNet(
            trunk.block_type, trunk.layers, trunk.widths, trunk.stem,
            self.neck, self.channels, self.finest_level, spec.channels, spec.classes, fuse,
        )  # fmt: skip


def imagenet_pyramid(depth: int, neck: Literal["fpn", "pan"]) -> PyramidDesign:
    """256 channels, as the papers and torchvision have it."""
    return PyramidDesign(imagenet_resnet(depth), neck, 256)


def cifar_pyramid(depth: int, neck: Literal["fpn", "pan"]) -> PyramidDesign:
    """32 channels, our choice: half of the last stage's, so that the neck costs less than the trunk."""
    return PyramidDesign(cifar_resnet(depth), neck, 32)
