"""Average precision of detections as COCO defines it, by faster-coco-eval: pycocotools' numbers, which are the field's,
in C++.

Source: cocodataset.org/#detection-eval. Figures are in the pixels of the original images, as COCO's are: an object is
small below 32² of them, large from 96² on.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trials.data.scenes import SceneSplit

Floats = NDArray[np.float64]

#: Areas in pixels from which on an object is of medium size, and large.
_MEDIUM, _LARGE = 32**2, 96**2
#: The order of COCOeval's own summary.
_SUMMARY = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
            "ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large")  # fmt: skip


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's twelve figures, 0..1, and the AP of each category; None where there is no object to find.

    `ap` is the mean over IoU thresholds .50, .55, … .95 and categories, `ap50` and `ap75` that at one threshold;
    `ar_10` the mean recall of the best ten detections an image; `…_small`, `…_medium` and `…_large` of objects of such
    areas, with up to 100 detections an image.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar_1: float | None
    ar_10: float | None
    ar_100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None
    ap_by_category: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def average_precision(
    detections: Sequence[dict[str, Tensor]], split: SceneSplit, categories: Sequence[str]
) -> AveragePrecision:
    """Hold detections against the objects of a split.

    detections: for each image of the split, in order, `boxes` [K, 4] (left, top, right, bottom in pixels of the split's
        images), `scores` [K] and `labels` [K], indices into `categories`.
    Raises ValueError when there are not as many as images, or a score or box is not finite.
    """
    if len(detections) != len(split):
        raise ValueError(f"detections of {len(detections)} images for a split of {len(split)}")
    from faster_coco_eval import COCOeval_faster

    with _nothing_collected():
        truth = _indexed(split, categories, _objects(split))
        found = _indexed(split, categories, _found(detections, split))
        evaluation = COCOeval_faster(truth, found, "bbox", print_function=lambda line: None)
        evaluation.run()
    # [thresholds, recalls, categories, areas, limits]: all areas, 100 detections; -1 where there is nothing to find
    by_category = evaluation.eval["precision"][:, :, :, 0, 2]
    return AveragePrecision(
        **{name: _figure(value) for name, value in zip(_SUMMARY, evaluation.stats, strict=True)},
        ap_by_category={name: _figure(by_category[:, :, k].mean()) for k, name in enumerate(categories)},
    )


def sizes_of(split: SceneSplit) -> dict[str, int]:
    """How many objects of each size COCO's figures tell apart there are to find."""
    owners = np.repeat(np.arange(len(split)), np.diff(split.first.cpu().numpy()))
    areas = split.areas.cpu().numpy() / _scales(split)[owners].prod(axis=1)
    areas = areas[~split.crowd.cpu().numpy()]
    small, large = int((areas < _MEDIUM).sum()), int((areas >= _LARGE).sum())
    return {"small": small, "medium": len(areas) - small - large, "large": large}


def _figure(value: float) -> float | None:
    return None if value < 0 else float(value)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """A dictionary and a list for each of 100,000 detections set Python looking for garbage among all that a worker
    holds, again and again: half of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _indexed(split: SceneSplit, categories: Sequence[str], annotations: list[dict[str, Any]]) -> Any:
    from faster_coco_eval import COCO

    index = COCO()
    index.dataset = {
        "images": [{"id": image} for image in range(len(split))],
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories)],
        "annotations": annotations,
    }
    index.createIndex()
    return index


def _objects(split: SceneSplit) -> list[dict[str, Any]]:
    scales = _scales(split)
    owners = np.repeat(np.arange(len(split)), np.diff(split.first.cpu().numpy()))
    areas = split.areas.cpu().numpy() / scales[owners].prod(axis=1)
    return _annotations(
        image_id=owners,
        category_id=split.labels.cpu().numpy(),
        bbox=_corner_and_size(split.boxes, scales[owners]),
        area=areas,
        iscrowd=split.crowd.cpu().numpy().astype(int),
    )


def _found(detections: Sequence[dict[str, Tensor]], split: SceneSplit) -> list[dict[str, Any]]:
    if not detections:
        return []
    boxes, scores, labels = (
        torch.cat([detected[name].as_subclass(Tensor) for detected in detections])
        for name in ("boxes", "scores", "labels")
    )
    owners = np.repeat(np.arange(len(detections)), [len(detected["scores"]) for detected in detections])
    placed = _corner_and_size(boxes, _scales(split)[owners])
    odd = ~(np.isfinite(placed).all(axis=1) & scores.isfinite().cpu().numpy())
    if odd.any():
        first = int(odd.argmax())
        raise ValueError(
            f"a detection in image {owners[first]} is not finite: box {placed[first].tolist()}, "
            f"score {scores[first].item()}"
        )
    return _annotations(
        image_id=owners,
        category_id=labels.cpu().numpy(),
        bbox=placed,
        area=placed[:, 2] * placed[:, 3],
        score=scores.cpu().numpy(),
    )


def _annotations(**columns: NDArray[Any]) -> list[dict[str, Any]]:
    """One for each row, numbered from 1 on: a match with number 0 is taken for none."""
    names = ("id", *columns)
    rows = zip(itertools.count(1), *(column.tolist() for column in columns.values()), strict=False)
    return [dict(zip(names, row, strict=True)) for row in rows]


def _scales(split: SceneSplit) -> Floats:
    return split.scales.numpy().astype(np.float64)


def _corner_and_size(boxes: Tensor, scales: Floats) -> Floats:
    """[K, 4] left, top, right, bottom -> left, top, width, height in pixels of the originals; scales [K, 2]."""
    corners = boxes.as_subclass(Tensor).cpu().numpy().astype(np.float64) / scales[:, [1, 0, 1, 0]]
    corners[:, 2:] -= corners[:, :2]
    return corners
