"""The task of finding boxes: what a detector's dense outputs cost, and the detections that they mean.

Anchors, matching, losses, decoding and non-maximum suppression are those of torchvision's FCOS and RetinaNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

from search_spaces.networks.detection import RETINANET_RATIOS, RETINANET_SCALES, DetectionNet, Head
from trials.data import SceneData
from trials.data.scenes import SceneSplit, Target
from trials.errors import TaskError
from trials.tasks.average_precision import average_precision
from trials.tasks.scenes import SceneTask, check_belongs

#: Detections below are not looked at, as torchvision evaluates RetinaNet: they cost time and no figure.
_LEAST_SCORE = 0.05
#: The side of FCOS's anchor and of RetinaNet's smallest square one, in strides of their level.
_FCOS_STRIDES, _RETINANET_STRIDES = 1, 4
#: How far from an object's centre a place may lie to find it, in strides (FCOS's repository: center_sampling_radius).
_CENTRE_STRIDES = 1.5


@dataclass(frozen=True)
class AnchorLevel:
    """A level's places, row by row, and the boxes at each: left, top, right, bottom in pixels, from stride · (column,
    row) on."""

    stride: int
    rows: int
    columns: int
    anchors: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Decoding:
    """What makes detections of a network's outputs, in numbers: for whoever does it without torchvision.

    At most `candidates_per_level` scores above `score_threshold` a level; of those of one category that overlap by more
    than `nms_iou` the best; of these the best `detections_per_image`. `log_size_limit`: the largest logarithm of a size
    in RetinaNet's box coding; FCOS's has none.
    """

    head: Head
    image_size: int
    levels: tuple[AnchorLevel, ...]
    score_threshold: float
    candidates_per_level: int
    nms_iou: float
    detections_per_image: int
    log_size_limit: float | None


class DetectionTask(SceneTask):
    """The loss of a batch and the detections in it, for images of one size in pixels, on the network's device."""

    def __init__(self, network: DetectionNet, image_size: int) -> None:
        self._names, self._image_size = network.outputs, image_size
        self._head, self._strides = network.head_kind, network.strides
        # Called by its methods alone: what they need of a detector beside the network's own outputs.
        self._methods: Any = _fcos(network) if network.head_kind == "fcos" else _retinanet(network)
        generator = self._methods.anchor_generator
        self._places = [[-(-image_size // stride)] * 2 for stride in network.strides]
        strides = [[torch.tensor(stride)] * 2 for stride in network.strides]
        anchors = generator.grid_anchors(self._places, strides)
        self._per_level = [len(level) for level in anchors]
        self._anchors = torch.cat(anchors).to(next(network.parameters()).device)

    @classmethod
    def of(cls, network: nn.Module, data: SceneData) -> Self:
        """Raises TaskError where they do not belong together."""
        check_belongs(network, data)
        assert isinstance(network, DetectionNet)
        return cls(network, data.image_size)

    @property
    def decoding(self) -> Decoding:
        """The numbers behind `detections`."""
        methods = self._methods
        cells = [tuple(map(tuple, cell.tolist())) for cell in methods.anchor_generator.cell_anchors]
        return Decoding(
            head=self._head,
            image_size=self._image_size,
            levels=tuple(
                AnchorLevel(stride, rows, columns, cell)
                for stride, (rows, columns), cell in zip(self._strides, self._places, cells, strict=True)
            ),
            score_threshold=methods.score_thresh,
            candidates_per_level=methods.topk_candidates,
            nms_iou=methods.nms_thresh,
            detections_per_image=methods.detections_per_img,
            log_size_limit=getattr(methods.box_coder, "bbox_xform_clip", None),
        )

    def loss(self, outputs: Sequence[Tensor], targets: Sequence[Target]) -> Tensor:
        """The sum of the head's losses, a scalar. Crowds are no objects here: as in torchvision's training, what is
        found in them counts as false.

        outputs: of the network, for a batch; targets: of the same images, as `SceneSplit.batch` gives them.
        """
        named = self._named(outputs)
        anchors = [self._anchors] * len(targets)
        objects = [_objects(target) for target in targets]
        per_level = [self._per_level] if isinstance(self._methods, FCOS) else []
        losses = self._methods.compute_loss(objects, named, anchors, *per_level)
        total: Tensor = torch.stack(list(losses.values())).sum()
        return total

    def detections(self, outputs: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """For each image the best 100 (FCOS) or 300: `boxes` [K, 4] in pixels, `scores` [K], `labels` [K] from 0 on."""
        named = self._named(outputs)
        images = len(named["cls_logits"])
        levels = {name: list(torch.split(output, self._per_level, dim=1)) for name, output in named.items()}
        anchors = [list(torch.split(self._anchors, self._per_level))] * images
        shapes = [(self._image_size, self._image_size)] * images
        found: list[dict[str, Tensor]] = self._methods.postprocess_detections(levels, anchors, shapes)
        return found

    def read(self, outputs: Sequence[Tensor], targets: Sequence[Target]) -> list[dict[str, Tensor]]:
        """The detections of a batch, on the CPU."""
        return [{name: value.cpu() for name, value in found.items()} for found in self.detections(outputs)]

    def figures(
        self, readings: Sequence[list[dict[str, Tensor]]], split: SceneSplit, categories: Sequence[str]
    ) -> dict[str, Any]:
        """`AveragePrecision` of all batches of a split."""
        found = [detected for reading in readings for detected in reading]
        return average_precision(found, split, categories).to_json()

    def _named(self, outputs: Sequence[Tensor]) -> dict[str, Tensor]:
        return {name: output.float() for name, output in zip(self._names, outputs, strict=True)}


class _NoBackbone(nn.Module):
    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels


def _fcos(network: DetectionNet) -> FCOS:
    """torchvision's radius is in sides of its anchor, of which there is one at each place."""
    side = _FCOS_STRIDES * network.anchor_scale
    smallest = side * min(network.strides)
    if smallest < 2:  # torchvision rounds half of it: to an anchor of no size
        raise TaskError(
            f"anchors of {smallest:g} pixels have no size when they are rounded: give the design an anchor_scale of "
            f"{2 / (_FCOS_STRIDES * min(network.strides)):g} or more, or a first level at a larger stride"
        )
    anchors = AnchorGenerator(tuple((side * stride,) for stride in network.strides), ((1.0,),) * len(network.strides))
    return FCOS(
        _NoBackbone(network.backbone.out_channels), network.classes, anchor_generator=anchors, head=network.head,
        score_thresh=_LEAST_SCORE, center_sampling_radius=_CENTRE_STRIDES / side,
    )  # fmt: skip


def _retinanet(network: DetectionNet) -> RetinaNet:
    smallest = [_RETINANET_STRIDES * network.anchor_scale * stride for stride in network.strides]
    sizes = tuple(tuple(int(side * scale) for scale in RETINANET_SCALES) for side in smallest)
    return RetinaNet(
        _NoBackbone(network.backbone.out_channels), network.classes, head=network.head, score_thresh=_LEAST_SCORE,
        anchor_generator=AnchorGenerator(sizes, (RETINANET_RATIOS,) * len(sizes)),
    )  # fmt: skip


def _objects(target: Target) -> dict[str, Tensor]:
    kept = ~target["iscrowd"]
    return {"boxes": target["boxes"].as_subclass(Tensor)[kept], "labels": target["labels"][kept]}
