"""Feature pyramids over a ResNet trunk, with a neck of `necks` or `bifpn` and a fusion point at every merge.

A network over a pyramid is put together as torchvision's detectors are: `backbone.body` is the trunk, its parameters
named as in `resnet18`, `backbone.fpn` the neck, and what reads the levels stands beside the backbone. The names of
fusion points are not those of the modules that they stand in: `layer1.0`, `fpn.p4`, wherever trunk and neck are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from search_spaces.errors import SpaceError
from search_spaces.networks.bifpn import BiFPNBottomUp, BiFPNTopDown
from search_spaces.networks.design import ConstructedDesign, FusionFactory, InputSpec, PointShape
from search_spaces.networks.necks import FeaturePyramid, PathAggregation
from search_spaces.networks.resnet import ResNetDesign, ResNetTrunk, TrunkPlan, cifar_resnet, imagenet_resnet

Neck = Literal["fpn", "pan", "bifpn"]


class PyramidPlan(NamedTuple):
    """A pyramid of `channels` channels over the stages of a trunk from `first_stage` (0 is all of them) on.

    `finest_level` is l where the finest level has stride 2ˡ.
    """

    trunk: TrunkPlan
    neck: Neck
    channels: int
    finest_level: int
    first_stage: int


class PyramidBackbone(nn.Module):
    """[B, in_channels, size, size] -> the levels by name, [B, out_channels, Hᵢ, Wᵢ] each, the finest first.

    `p3` (`n3` after a bottom-up path) has stride 2³. What torchvision's detectors take as their backbone. Whoever puts
    it into a network calls `fuse_all` when all else is there.
    """

    def __init__(self, plan: PyramidPlan, in_channels: int) -> None:
        super().__init__()
        self.body = ResNetTrunk(plan.trunk, in_channels)
        self.body.initialise()
        self.first_stage, self.out_channels = plan.first_stage, plan.channels
        merged_channels = self.body.stage_channels[plan.first_stage :]
        numbers = range(plan.finest_level, plan.finest_level + len(merged_channels))
        top_down, bottom_up = [f"p{number}" for number in numbers], [f"n{number}" for number in numbers]
        if plan.neck == "bifpn":
            self.top_down = BiFPNTopDown(merged_channels, plan.channels, top_down)
            self.bottom_up = BiFPNBottomUp(plan.channels, bottom_up)
            self.merged = {"top_down": self.top_down.merged, "bottom_up": self.bottom_up.merged}
        else:
            self.fpn = FeaturePyramid(merged_channels, plan.channels, top_down)
            self.merged = {"fpn": self.fpn.merged}
            if plan.neck == "pan":
                self.pan = PathAggregation(plan.channels, bottom_up)
                self.merged["pan"] = self.pan.merged
        self.levels = top_down if plan.neck == "fpn" else bottom_up

    def fuse_all(self, fuse: FusionFactory) -> None:
        """Put the fusions into every block and every merge of the neck. Last of all, as `fuse_blocks`."""
        self.body.fuse_blocks(fuse)
        for path, levels in self.merged.items():
            for level in levels:
                self.get_submodule(f"{path}.{level}").fuse = fuse(f"{path}.{level}", self.out_channels)

    def forward(self, x: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        maps = self.body.stage_maps(x)[self.first_stage :]
        for path in self.merged:
            maps = self.get_submodule(path)(maps)
        return OrderedDict(zip(self.levels, maps, strict=True))


class PyramidNet(nn.Module):
    """A pyramid over all stages of its trunk and a classifier: [B, in_channels, size, size] -> [B, classes].

    The classifier sees the global average of every level side by side: each level then has weights of its own, and
    none is drowned in a mean over levels.
    """

    def __init__(self, plan: PyramidPlan, in_channels: int, classes: int, fuse: FusionFactory) -> None:
        super().__init__()
        self.backbone = PyramidBackbone(plan, in_channels)
        self.head = nn.Linear(plan.channels * len(self.backbone.levels), classes)
        self.backbone.fuse_all(fuse)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = [level.mean(dim=(2, 3)) for level in self.backbone(x).values()]
        logits: torch.Tensor = self.head(torch.cat(pooled, dim=1))
        return logits


@dataclass(frozen=True)
class PyramidDesign(ConstructedDesign):
    """A pyramid of `channels` channels over a ResNet's stages: its blocks vary, and the merges of its neck.

    `first_stage` is the finest stage in the pyramid, 0 for all of them.
    """

    trunk: ResNetDesign
    neck: Neck
    channels: int
    first_stage: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.first_stage < len(self.trunk.layers) - 1:
            raise SpaceError(
                f"first_stage is {self.first_stage}: a pyramid over {len(self.trunk.layers)} stages needs at least two "
                f"of them, so give 0 to {len(self.trunk.layers) - 2}"
            )

    @property
    def title(self) -> str:
        necks = {"fpn": "an FPN", "pan": "a PAN (FPN, then bottom-up)", "bifpn": "a BiFPN (inner levels merge 3 maps)"}
        return f"{self.trunk.title} with {necks[self.neck]}"

    @property
    def summary(self) -> str:
        merges = (len(self.trunk.layers) - self.first_stage - 1) * (1 if self.neck == "fpn" else 2)
        return f"{self.title}, a fusion point in each of its {sum(self.trunk.layers)} blocks and {merges} long skips"

    @property
    def default_input(self) -> InputSpec:
        return self.trunk.default_input

    @property
    def finest_level(self) -> int:
        """l, where the finest level has stride 2ˡ."""
        return (0 if self.trunk.stem == "cifar" else 2) + self.first_stage

    @property
    def at_stride_4(self) -> PyramidDesign:
        """The same pyramid whose finest stage has stride 4, for heads that look at every place of every level.

        Trunks for large images begin there. Those for small ones get the stem of these: on images of detection's
        size their own, which keeps stride 1, would cost sixteen times as much and see a quarter as far.
        """
        return replace(self, trunk=replace(self.trunk, stem="imagenet"))

    def points(self, spec: InputSpec) -> tuple[PointShape, ...]:
        """Every block's; `fpn.p4` … downwards (`in_channels`: of the lateral convolution); `pan.n3` … upwards.

        A BiFPN's are `top_down.p4` … and `bottom_up.n3` …, of three maps at all levels but the coarsest.
        """
        return tuple(self._points(spec))

    def _points(self, spec: InputSpec) -> Iterator[PointShape]:
        blocks = self.trunk.points(spec)
        yield from blocks
        stages = list({block.name.partition(".")[0]: block for block in blocks}.values())  # the last of each stage
        levels = list(enumerate(stages[self.first_stage :], start=self.finest_level))
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

    @property
    def plan(self) -> PyramidPlan:
        return PyramidPlan(self.trunk.plan, self.neck, self.channels, self.finest_level, self.first_stage)

    def construction(self, spec: InputSpec) -> tuple[type[nn.Module], dict[str, Any]]:
        return PyramidNet, {"plan": self.plan, "in_channels": spec.channels, "classes": spec.classes}

    def backbone(self, spec: InputSpec, fuse: FusionFactory) -> PyramidBackbone:
        """Trunk and neck alone."""
        backbone = PyramidBackbone(self.plan, spec.channels)
        backbone.fuse_all(fuse)
        return backbone


def group_norm(channels: int) -> nn.GroupNorm:
    """The norm of heads, over 8 channels a group: FCOS's 32 groups of 256 channels, and no fewer channels in narrow
    ones, where a group of one channel would lose how strong it is. A number that 8 does not divide has the most groups
    of one size that leave each 8 or more; one below 16 has one group."""
    groups = next(groups for groups in range(max(1, channels // 8), 0, -1) if channels % groups == 0)
    return nn.GroupNorm(groups, channels)


def imagenet_pyramid(depth: int, neck: Neck) -> PyramidDesign:
    """256 channels, as FPN, PANet and torchvision have it, and a BiFPN beside them (EfficientDet's have 64 to 384)."""
    return PyramidDesign(imagenet_resnet(depth), neck, 256)


def cifar_pyramid(depth: int, neck: Neck) -> PyramidDesign:
    """32 channels, our choice: half of the last stage's, so that the neck costs less than the trunk."""
    return PyramidDesign(cifar_resnet(depth), neck, 32)
