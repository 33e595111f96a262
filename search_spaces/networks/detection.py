"""Detectors over a feature pyramid, with torchvision's heads: their dense part, tensors in and tensors out.

Anchors, losses, decoding and non-maximum suppression stand apart (`trials.tasks`), so that what is here can be traced,
counted, timed and exported like a classifier.
Sources: Tian et al., FCOS: Fully Convolutional One-Stage Object Detection, ICCV 2019; Lin et al., Focal Loss for Dense
Object Detection, ICCV 2017 (RetinaNet); both as in torchvision.models.detection.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import nn
from torchvision.models.detection.fcos import FCOSClassificationHead, FCOSHead, FCOSRegressionHead
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from search_spaces.networks.design import FusionFactory
from search_spaces.networks.pyramid import PyramidBackbone, PyramidPlan, group_norm

Head = Literal["fcos", "retinanet"]

#: RetinaNet's anchors at each place: three sizes in three aspect ratios.
RETINANET_SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
RETINANET_RATIOS = (0.5, 1.0, 2.0)
RETINANET_ANCHORS = len(RETINANET_SCALES) * len(RETINANET_RATIOS)


class DetectorPlan(NamedTuple):
    """A detector's head.

    `convolutions` are FCOS's, before its predictions; RetinaNet's four are torchvision's and fixed. With `extra_levels`
    two more levels are made by convolutions in steps of 2 from the coarsest one (P6 and P7 of the papers).
    `anchor_scale` is the size of the objects that a level is for, in multiples of the papers'.
    """

    kind: Head
    convolutions: int = 4
    extra_levels: bool = True
    anchor_scale: float = 1.0


class DetectionNet(nn.Module):
    """A pyramid and a detector's head on each of its levels: [B, in_channels, H, W] -> `outputs`, tensors [B, A, …].

    A: places of all levels, the finest first, row by row, times the anchors at each. `outputs` names what is returned:
    class logits [B, A, classes], box regressions [B, A, 4] and, of FCOS, centerness logits [B, A, 1].
    `strides` are those of the levels, in pixels.
    """

    def __init__(
        self, plan: PyramidPlan, head: DetectorPlan, in_channels: int, classes: int, fuse: FusionFactory
    ) -> None:
        super().__init__()
        self.backbone = PyramidBackbone(plan, in_channels)
        levels = len(self.backbone.levels) + 2 * head.extra_levels
        self.strides = tuple(2**number for number in range(plan.finest_level, plan.finest_level + levels))
        self.classes, self.head_kind, self.anchor_scale = classes, head.kind, head.anchor_scale
        self.extra_levels = LastLevelP6P7(plan.channels, plan.channels) if head.extra_levels else None
        self.outputs: tuple[str, ...] = ("cls_logits", "bbox_regression")
        if head.kind == "fcos":
            self.head = fcos_head(plan.channels, classes, head.convolutions)
            self.outputs += ("bbox_ctrness",)
        else:
            self.head = RetinaNetHead(plan.channels, RETINANET_ANCHORS, classes, norm_layer=group_norm)
        self.backbone.fuse_all(fuse)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        levels = list(self.backbone(x).values())
        if self.extra_levels is not None:
            levels, _ = self.extra_levels(levels, levels, list(self.backbone.levels))
        found = self.head(levels)
        return tuple(found[name] for name in self.outputs)


def fcos_head(channels: int, classes: int, convolutions: int) -> FCOSHead:
    """torchvision's, with its own number of convolutions and `group_norm`."""
    head = FCOSHead(channels, 1, classes, 0)  # it takes no norm: its two parts, which do, are put in its place
    head.classification_head = FCOSClassificationHead(channels, 1, classes, convolutions, norm_layer=group_norm)
    head.regression_head = FCOSRegressionHead(channels, 1, convolutions, norm_layer=group_norm)
    return head
