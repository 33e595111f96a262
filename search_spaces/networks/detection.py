"""Detectors over a feature pyramid, with torchvision's heads: their dense part, tensors in and tensors out.

Anchors, losses, decoding and non-maximum suppression stand apart (`trials.tasks`), so that what is here can be traced,
counted, timed and exported like a classifier.
Sources: Tian et al., FCOS: Fully Convolutional One-Stage Object Detection, ICCV 2019; Lin et al., Focal Loss for Dense
Object Detection, ICCV 2017 (RetinaNet); both as in torchvision.models.detection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn
from torchvision.models.detection.fcos import FCOSClassificationHead, FCOSHead, FCOSRegressionHead
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from search_spaces.networks.design import FusionFactory, InputSpec, PointShape
from search_spaces.networks.pyramid import Neck, PyramidDesign, PyramidTrunk, group_norm
from search_spaces.networks.resnet import BasicBlock, Bottleneck

Head = Literal["fcos", "retinanet"]
_TITLES = {"fcos": "FCOS", "retinanet": "RetinaNet"}

#: RetinaNet's anchors at each place: three sizes in three aspect ratios.
RETINANET_SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
RETINANET_RATIOS = (0.5, 1.0, 2.0)
RETINANET_ANCHORS = len(RETINANET_SCALES) * len(RETINANET_RATIOS)


class DetectionNet(PyramidTrunk):
    """A pyramid and a detector's head on each of its levels: [B, in_channels, H, W] -> `outputs`, tensors [B, A, …].

    A: places of all levels, the finest first, row by row, times the anchors at each. `outputs` names what is returned:
    class logits [B, A, classes], box regressions [B, A, 4] and, of FCOS, centerness logits [B, A, 1].
    `strides` are those of the levels, in pixels; with `extra_levels` two more are made by convolutions in steps of 2
    from the coarsest one (P6 and P7 of the papers). `anchor_scale` is the size of the objects that a level is for, in
    multiples of the papers'.
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
        first_stage: int,
        in_channels: int,
        head: Head,
        head_convolutions: int,
        extra_levels: bool,
        anchor_scale: float,
        classes: int,
        fuse: FusionFactory,
    ) -> None:
        super().__init__(block, layers, widths, stem, neck, neck_channels, finest_level, first_stage, in_channels)
        levels = len(self.levels) + 2 * extra_levels
        self.strides = tuple(2**number for number in range(finest_level, finest_level + levels))
        self.classes, self.head_kind, self.anchor_scale = classes, head, anchor_scale
        self.extra_levels = LastLevelP6P7(neck_channels, neck_channels) if extra_levels else None
        self.outputs: tuple[str, ...] = ("cls_logits", "bbox_regression")
        if head == "fcos":
            self.head = fcos_head(neck_channels, classes, head_convolutions)
            self.outputs += ("bbox_ctrness",)
        else:
            self.head = RetinaNetHead(neck_channels, RETINANET_ANCHORS, classes, norm_layer=group_norm)
        self.fuse_all(fuse)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        levels = list(self.features(x).values())
        if self.extra_levels is not None:
            levels, _ = self.extra_levels(levels, levels, list(self.levels))
        found = self.head(levels)
        return tuple(found[name] for name in self.outputs)


def fcos_head(channels: int, classes: int, convolutions: int) -> FCOSHead:
    """torchvision's, with its own number of convolutions and `group_norm`."""
    head = FCOSHead(channels, 1, classes, 0)  # it takes no norm: its two parts, which do, are put in its place
    head.classification_head = FCOSClassificationHead(channels, 1, classes, convolutions, norm_layer=group_norm)
    head.regression_head = FCOSRegressionHead(channels, 1, convolutions, norm_layer=group_norm)
    return head


@dataclass(frozen=True)
class DetectionDesign:
    """A detector of `head` over a pyramid: what varies is what varies in the pyramid.

    `head_convolutions` are FCOS's, before its predictions; RetinaNet's four are torchvision's and fixed.
    """

    pyramid: PyramidDesign
    head: Head
    head_convolutions: int = 4
    extra_levels: bool = True
    anchor_scale: float = 1.0

    @property
    def title(self) -> str:
        return f"{_TITLES[self.head]} on {self.pyramid.title}"

    @property
    def summary(self) -> str:
        return f"{_TITLES[self.head]} on {self.pyramid.summary}"

    @property
    def default_input(self) -> InputSpec:
        """128 pixels and the 10 categories of scenes-mini for small trunks; 512 pixels and COCO's 80 for large ones."""
        return InputSpec(3, 512, 80) if self.extra_levels else InputSpec(3, 128, 10)

    def points(self, spec: InputSpec) -> tuple[PointShape, ...]:
        return self.pyramid.points(spec)

    def build(self, spec: InputSpec, fuse: FusionFactory) -> nn.Module:
        return DetectionNet(
            *self.pyramid.arguments, spec.channels, self.head, self.head_convolutions, self.extra_levels,
            self.anchor_scale, spec.classes, fuse,
        )  # fmt: skip


def detector(pyramid: PyramidDesign, head: Head) -> DetectionDesign:
    """The detector over a pyramid of the catalogue.

    Over trunks for large images as torchvision has it: P3 to P7, four convolutions in the head. Those for small images
    get P2 to P4, see `PyramidDesign.at_stride_4`, two convolutions in FCOS's head, and objects of half the size at each
    level: at the papers' sizes P2 alone would find nearly all of 8 to 64 pixels. Tried on scenes-mini, FCOS on
    resnet8-fpn, 4 epochs, one seed: AP .120 with one convolution, .132 with it at half the size, .160 with two.
    """
    if pyramid.trunk.stem == "imagenet":
        return DetectionDesign(replace(pyramid, first_stage=1), head)
    return DetectionDesign(pyramid.at_stride_4, head, head_convolutions=2, extra_levels=False, anchor_scale=0.5)
