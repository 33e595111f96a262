"""Which classes pixels were taken for: mean intersection over union, and pixel accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from trials.data.readers.masks import IGNORED


@dataclass(frozen=True)
class SegmentationFigures:
    """Shares of all pixels that count, 0..1. IoU of a class: of the pixels that are of it or taken for it, those that
    are both.

    `miou` is the mean over the classes that occur in the maps; None stands for those that do not: one pixel that is
    taken for a class of which there is none must not cost as much as a whole class. It lowers the class that it is of.
    Source: the VOC challenge's segmentation accuracy (Everingham et al., 2015, section 3.2).
    """

    miou: float
    pixel_accuracy: float
    iou_by_category: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def count_pixels(predicted: Tensor, maps: Tensor, classes: int) -> Tensor:
    """int64 [classes, classes] of pixels, by their class (rows) and what they were taken for (columns).

    predicted, maps: integers of one shape; pixels whose map says 255 are left out.
    """
    counted = maps != IGNORED
    pairs = maps[counted].long() * classes + predicted[counted].long()
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def figures_of(confusion: Tensor, categories: Sequence[str]) -> SegmentationFigures:
    """What a confusion matrix [K, K] of `count_pixels` says. Raises ValueError where no pixel was counted."""
    counts = confusion.double().cpu()
    if not counts.sum() > 0:
        raise ValueError("no pixel of the split counts: every map is 255 throughout")
    hits = counts.diagonal()
    either = counts.sum(dim=0) + counts.sum(dim=1) - hits
    iou = (hits / either.clamp(min=1)).tolist()
    by_category = {
        name: value if there else None
        for name, value, there in zip(categories, iou, counts.sum(dim=1) > 0, strict=True)
    }
    occurring = [value for value in by_category.values() if value is not None]
    return SegmentationFigures(sum(occurring) / len(occurring), float(hits.sum() / counts.sum()), by_category)
