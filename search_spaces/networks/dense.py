"""Networks that answer for every place of an image, as designs: a head for detection or segmentation over a pyramid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from search_spaces.networks.design import ConstructedDesign, InputSpec, PointShape
from search_spaces.networks.detection import DetectionNet, DetectorPlan, Head
from search_spaces.networks.pyramid import PyramidDesign
from search_spaces.networks.segmentation import SegmentationNet, SemanticPlan

_DETECTORS = {"fcos": "FCOS", "retinanet": "RetinaNet"}


@dataclass(frozen=True)
class DenseDesign(ConstructedDesign):
    """A head over a pyramid: what varies is what varies in the pyramid.

    `what` is the title of the head, `head` its plan, by which it is a `DetectionNet` or a `SegmentationNet`.
    """

    what: str
    pyramid: PyramidDesign
    head: DetectorPlan | SemanticPlan
    default_input: InputSpec

    @property
    def title(self) -> str:
        return f"{self.what} on {self.pyramid.title}"

    @property
    def summary(self) -> str:
        return f"{self.what} on {self.pyramid.summary}"

    def points(self, spec: InputSpec) -> tuple[PointShape, ...]:
        return self.pyramid.points(spec)

    def construction(self, spec: InputSpec) -> tuple[type[nn.Module], dict[str, Any]]:
        network = DetectionNet if isinstance(self.head, DetectorPlan) else SegmentationNet
        arguments = {"plan": self.pyramid.plan, "head": self.head}
        return network, {**arguments, "in_channels": spec.channels, "classes": spec.classes}


def detector(pyramid: PyramidDesign, head: Head) -> DenseDesign:
    """The detector over a pyramid of the catalogue.

    Over trunks for large images as torchvision has it: P3 to P7, four convolutions in the head, for 512 pixels and
    COCO's 80 categories. Those for small images get P2 to P4, see `PyramidDesign.at_stride_4`, two convolutions in
    FCOS's head, objects of half the size at each level, 128 pixels and the 10 categories of scenes-mini: at the papers'
    sizes P2 alone would find nearly all of 8 to 64 pixels. Tried on scenes-mini, FCOS on resnet8-fpn, 4 epochs, one
    seed: AP .120 with one convolution, .132 with it at half the size, .160 with two.
    """
    title = _DETECTORS[head]
    if pyramid.trunk.stem == "imagenet":
        return DenseDesign(title, replace(pyramid, first_stage=1), DetectorPlan(head), InputSpec(3, 512, 80))
    plan = DetectorPlan(head, convolutions=2, extra_levels=False, anchor_scale=0.5)
    return DenseDesign(title, pyramid.at_stride_4, plan, InputSpec(3, 128, 10))


def segmenter(pyramid: PyramidDesign) -> DenseDesign:
    """The segmenter over a pyramid of the catalogue: half of its channels in the head, 128 of 256 as the paper has it.

    Trunks for small images get the stem of those for large ones, see `PyramidDesign.at_stride_4`. For 128 pixels and
    the 11 classes of scenes-mini on narrow pyramids, 512 pixels and VOC's 21 on wide ones.
    """
    plan = SemanticPlan(pyramid.channels // 2 if pyramid.trunk.stem == "imagenet" else pyramid.channels)
    spec = InputSpec(3, 512, 21) if pyramid.channels >= 128 else InputSpec(3, 128, 11)
    return DenseDesign("Semantic segmentation", pyramid.at_stride_4, plan, spec)
