"""Average precision of detections as COCO defines it, by pycocotools: its numbers are the field's.

Source: cocodataset.org/#detection-eval. Figures are in the pixels of the original images, as COCO's are: an object is
small below 32² of them, large from 96² on.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from trials.data.scenes import SceneSplit

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
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        truth = _indexed(split, categories, _objects(split))
        found = _indexed(split, categories, _found(detections, split))
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # [thresholds, recalls, categories, areas, limits]: all areas, 100 detections; -1 where there is nothing to find
    by_category = evaluation.eval["precision"][:, :, :, 0, 2]
    return AveragePrecision(
        **{name: _figure(value) for name, value in zip(_SUMMARY, evaluation.stats, strict=True)},
        ap_by_category={name: _figure(by_category[:, :, k].mean()) for k, name in enumerate(categories)},
    )


def sizes_of(split: SceneSplit) -> dict[str, int]:
    """How many objects of each size COCO's figures tell apart there are to find."""
    owners = np.repeat(np.arange(len(split)), np.diff(split.first.cpu().numpy()))
    areas = split.areas.cpu().numpy() / split.scales.numpy().astype(np.float64)[owners].prod(axis=1)
    areas = areas[~split.crowd.cpu().numpy()]
    small, large = int((areas < _MEDIUM).sum()), int((areas >= _LARGE).sum())
    return {"small": small, "medium": len(areas) - small - large, "large": large}


def _figure(value: float) -> float | None:
    return None if value < 0 else float(value)


def _indexed(split: SceneSplit, categories: Sequence[str], annotations: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO

    index = COCO()
    index.dataset = {
        "images": [{"id": image} for image in range(len(split))],
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories)],
        "annotations": annotations,
    }
    index.createIndex()
    return index


def _objects(split: SceneSplit) -> list[dict[str, Any]]:
    scales = split.scales.numpy().astype(np.float64)
    owners = np.repeat(np.arange(len(split)), np.diff(split.first.cpu().numpy()))
    areas = split.areas.cpu().numpy() / scales[owners].prod(axis=1)
    return [
        {"image_id": int(owner), "category_id": int(label), "bbox": box, "area": float(area), "iscrowd": int(crowd)}
        | {"id": number}
        for number, (owner, label, box, area, crowd) in enumerate(
            zip(
                owners, split.labels.cpu().numpy(), _corner_and_size(split.boxes, scales[owners]), areas,
                split.crowd.cpu().numpy(), strict=True,
            ),
            start=1,  # COCOeval takes a match with object 0 for none
        )
    ]  # fmt: skip


def _found(detections: Sequence[dict[str, Tensor]], split: SceneSplit) -> list[dict[str, Any]]:
    scales = split.scales.numpy().astype(np.float64)
    found: list[dict[str, Any]] = []
    for image, detected in enumerate(detections):
        boxes = _corner_and_size(detected["boxes"], scales[image][None])
        for box, score, label in zip(boxes, detected["scores"].tolist(), detected["labels"].tolist(), strict=True):
            if not np.isfinite([*box, score]).all():
                raise ValueError(f"a detection in image {image} is not finite: box {box}, score {score}")
            found.append(
                {"image_id": image, "category_id": label, "bbox": box, "score": score, "area": box[2] * box[3]}
                | {"id": len(found) + 1, "iscrowd": 0}
            )
    return found


def _corner_and_size(boxes: Tensor, scales: np.ndarray[Any, np.dtype[np.float64]]) -> list[list[float]]:
    """[K, 4] left, top, right, bottom -> left, top, width, height in pixels of the originals; scales [K or 1, 2]."""
    corners = boxes.as_subclass(Tensor).cpu().numpy().astype(np.float64) / scales[:, [1, 0, 1, 0]]
    corners[:, 2:] -= corners[:, :2]
    listed: list[list[float]] = corners.tolist()
    return listed
