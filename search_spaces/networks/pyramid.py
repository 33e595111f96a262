"""Feature pyramids over a ResNet trunk, with a neck of `necks` or `bifpn` and a fusion point at every merge.

The trunk's parameter names are torchvision's, as in `resnet18`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from search_spaces.networks.bifpn import BiFPNBottomUp, BiFPNTopDown
from search_spaces.networks.design import FusionFactory, InputSpec, PointShape
from search_spaces.networks.necks import FeaturePyramid, PathAggregation
from search_spaces.networks.resnet import (
    BasicBlock,
    Bottleneck,
    ResNetDesign,
    ResNetTrunk,
    cifar_resnet,
    imagenet_resnet,
)

Neck = Literal["fpn", "pan", "bifpn"]


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
        neck: Neck,
        neck_channels: int,
        finest_level: int,
        in_channels: int,
        classes: int,
        fuse: FusionFactory,
    ) -> None:
        super().__init__(block, layers, widths, stem, in_channels)
        self.initialise()
        numbers = range(finest_level, finest_level + len(layers))
        top_down, bottom_up = [f"p{number}" for number in numbers], [f"n{number}" for number in numbers]
        if neck == "bifpn":
            self.top_down = BiFPNTopDown(self.stage_channels, neck_channels, top_down)
            self.bottom_up = BiFPNBottomUp(neck_channels, bottom_up)
            merged = {"top_down": self.top_down.merged, "bottom_up": self.bottom_up.merged}
        else:
            self.fpn = FeaturePyramid(self.stage_channels, neck_channels, top_down)
            merged = {"fpn": self.fpn.merged}
            if neck == "pan":
                self.pan = PathAggregation(neck_channels, bottom_up)
                merged["pan"] = self.pan.merged
        self.paths = list(merged)
        self.levels = top_down if neck == "fpn" else bottom_up
        self.fc = nn.Linear(neck_channels * len(numbers), classes)
        self.fuse_blocks(fuse)
        for path, levels in merged.items():
            for level in levels:
                self.get_submodule(f"{path}.{level}").fuse = fuse(f"{path}.{level}", neck_channels)

    def features(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The pyramid by level, the finest first: `p3` (`n3` after a bottom-up path) has stride 2³."""
        maps = self.stage_maps(x)
        for path in self.paths:
            maps = self.get_submodule(path)(maps)
        return dict(zip(self.levels, maps, strict=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = [level.mean(dim=(2, 3)) for level in self.features(x).values()]
        logits: torch.Tensor = self.fc(torch.cat(pooled, dim=1))
        return logits


@dataclass(frozen=True)
class PyramidDesign:
    """A pyramid of `channels` channels over every stage of a ResNet: its blocks vary, and the merges of its neck."""

    trunk: ResNetDesign
    neck: Neck
    channels: int

    @property
    def title(self) -> str:
        necks = {"fpn": "an FPN", "pan": "a PAN (FPN, then bottom-up)", "bifpn": "a BiFPN (inner levels merge 3 maps)"}
        return f"{self.trunk.title} with {necks[self.neck]}"

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
        """Every block's; `fpn.p4` … downwards (`in_channels`: of the lateral convolution); `pan.n3` … upwards.

        A BiFPN's are `top_down.p4` … and `bottom_up.n3` …, of three maps at all levels but the coarsest.
        """
        return tuple(self._points(spec))

    def _points(self, spec: InputSpec) -> Iterator[PointShape]:
        blocks = self.trunk.points(spec)
        yield from blocks
        stages = list({block.name.partition(".")[0]: block for block in blocks}.values())  # the last of each stage
        levels = list(enumerate(stages, start=self.finest_level))
        down, up = {"fpn": ("fpn", None), "pan": ("fpn", "pan"), "bifpn": ("top_down", "bottom_up")}[self.neck]
        for number, stage in reversed(levels[:-1]):
            yield self._point(f"{down}.p{number}", stage, stage.channels, 1)
        if up is not None:
            for number, stage in levels[1:]:
                maps = 3 if self.neck == "bifpn" and number < levels[-1][0] else 2
                yield self._point(f"{up}.n{number}", stage, self.channels, 2, maps)

    def _point(self, name: str, stage: PointShape, in_channels: int, stride: int, maps: int = 2) -> PointShape:
        inputs = (self.channels,) * maps
        return PointShape(
            name, "long skip", in_channels, self.channels, stage.height, stage.width, stride, inputs=inputs
        )

    def build(self, spec: InputSpec, fuse: FusionFactory) -> nn.Module:
        trunk = self.trunk
        return PyramidNet(
            trunk.block_type, trunk.layers, trunk.widths, trunk.stem,
            self.neck, self.channels, self.finest_level, spec.channels, spec.classes, fuse,
        )  # fmt: skip


def imagenet_pyramid(depth: int, neck: Neck) -> PyramidDesign:
    """256 channels, as FPN, PANet and torchvision have it, and a BiFPN beside them (EfficientDet's have 64 to 384)."""
    return PyramidDesign(imagenet_resnet(depth), neck, 256)


def cifar_pyramid(depth: int, neck: Neck) -> PyramidDesign:
    """32 channels, our choice: half of the last stage's, so that the neck costs less than the trunk."""
    return PyramidDesign(cifar_resnet(depth), neck, 32)
