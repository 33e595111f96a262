"""COCO's figures: equal to pycocotools' on stored files, and to AP worked out by hand."""

from __future__ import annotations

import contextlib
import gc
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tasks_scenes import COLOURS, split
from torch import Tensor

from trials.data import SceneSplit
from trials.tasks.average_precision import AveragePrecision, average_precision

Detections = list[dict[str, Tensor]]


def guesses(truth: SceneSplit, seed: int) -> Detections:
    """Objects of the truth, moved, with some lost, some of another class, and false ones among them."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    found = []
    for place in range(len(truth)):
        target = truth.target(place)
        boxes, labels = target["boxes"].as_subclass(torch.Tensor), target["labels"]
        moved = boxes + (random(len(boxes), 4) - 0.5) * 8 * random(len(boxes), 1)
        corner = random(2, 2) * 40
        boxes = torch.cat([moved, torch.cat([corner, corner + 6 + random(2, 2) * 15], dim=1)])
        labels = torch.cat([torch.where(random(len(labels)) < 0.2, (labels + 1) % 3, labels), torch.tensor([0, 2])])
        kept = random(len(boxes)) > 0.15
        found.append({"boxes": boxes[kept], "labels": labels[kept], "scores": random(len(boxes))[kept]})
    return found


def pycocotools_on_files(truth: SceneSplit, detections: Detections, folder: Path) -> tuple[list[float], list[float]]:
    """The twelve figures of its summary, and the AP of each category by a run of it on that category alone."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, results = [], []
    for place in range(len(truth)):
        scale_y, scale_x = truth.scales[place].tolist()
        target = truth.target(place)
        for box, label, area, crowd in zip(
            target["boxes"].tolist(), target["labels"].tolist(), target["area"].tolist(), target["iscrowd"].tolist(),
            strict=True,
        ):  # fmt: skip
            x, y, right, bottom = box[0] / scale_x, box[1] / scale_y, box[2] / scale_x, box[3] / scale_y
            annotations.append({
                "id": len(annotations) + 1, "image_id": place + 100, "category_id": label + 7,
                "bbox": [x, y, right - x, bottom - y], "area": area / scale_x / scale_y, "iscrowd": int(crowd),
            })  # fmt: skip
        found = detections[place]
        for box, label, score in zip(
            found["boxes"].tolist(), found["labels"].tolist(), found["scores"].tolist(), strict=True
        ):
            x, y, right, bottom = box[0] / scale_x, box[1] / scale_y, box[2] / scale_x, box[3] / scale_y
            results.append({
                "image_id": place + 100, "category_id": label + 7, "bbox": [x, y, right - x, bottom - y], "score": score
            })  # fmt: skip
    (folder / "truth.json").write_text(json.dumps({
        "images": [{"id": place + 100} for place in range(len(truth))],
        "categories": [{"id": number + 7, "name": name} for number, name in enumerate(COLOURS)],
        "annotations": annotations,
    }))  # fmt: skip
    (folder / "results.json").write_text(json.dumps(results))
    by_category = []
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO(str(folder / "truth.json"))
        loaded = api.loadRes(str(folder / "results.json"))
        for categories in [[7, 8, 9], [7], [8], [9]]:
            evaluation = COCOeval(api, loaded, "bbox")
            evaluation.params.catIds = categories
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            by_category.append(evaluation.stats.tolist())
    return by_category[0], [stats[0] for stats in by_category[1:]]


def as_by_pycocotools(figures: AveragePrecision) -> tuple[list[float], list[float]]:
    """The same with -1 where there is nothing to find."""
    listed = [-1 if value is None else value for value in list(figures.to_json().values())[:12]]
    return listed, [-1 if value is None else value for value in figures.ap_by_category.values()]


def odd_case(seed: int) -> tuple[SceneSplit, Detections]:
    """Images without objects, without detections and with more than a hundred of them; crowds, scores that are equal,
    boxes without an area, areas at the limits of small and large, categories that are only found or never found."""
    generator = torch.Generator().manual_seed(seed)
    truth = split(12, 64, seed)
    objects = len(truth.labels)

    def chance(share: float, count: int = objects) -> Tensor:
        return torch.rand(count, generator=generator) < share

    limits = torch.tensor([32.0**2, 96.0**2, 0.0])[torch.randint(0, 3, (objects,), generator=generator)]
    kept = int(truth.first[9])  # the last three show nothing
    truth = replace(
        truth, boxes=truth.boxes[:kept], labels=truth.labels[:kept] % (2 if seed % 2 else 3),
        crowd=chance(0.3)[:kept], areas=torch.where(chance(0.3), limits, truth.areas)[:kept],
        first=truth.first.clamp(max=kept), scales=torch.rand((12, 2), generator=generator) * 0.5 + 0.1,
    )  # fmt: skip
    detections = guesses(truth, seed)
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}
    for place, found in enumerate(detections):
        repeats = 60 if place == 4 else 1
        found |= {name: value.repeat(repeats, *[1] * (value.dim() - 1)) for name, value in found.items()}
        found["scores"] = (found["scores"] * 5).round() / 5
        found["boxes"][chance(0.1, len(found["boxes"])), 2:] = 0
        if place % 5 == 1:
            detections[place] = nothing
        elif seed == 4:
            found["labels"] = found["labels"] * 0 + 2
    return truth, detections


@pytest.mark.parametrize("seed", range(12))
def test_the_figures_are_pycocotools_in_odd_cases(seed: int, tmp_path: Path) -> None:
    truth, detections = odd_case(seed)
    found = as_by_pycocotools(average_precision(detections, truth, COLOURS))
    for figures, expected in zip(found, pycocotools_on_files(truth, detections, tmp_path), strict=True):
        assert figures == pytest.approx(expected, abs=1e-14)  # numpy's means go through memory in another order
    assert gc.isenabled()


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_the_figures_are_pycocotools_on_stored_predictions(scale: float, tmp_path: Path) -> None:
    """At a quarter of the originals' size, objects that are small here are medium and large there."""
    truth = split(30, 64, seed=3)
    truth = replace(truth, scales=truth.scales * scale, crowd=torch.arange(len(truth.labels)) % 11 == 0)
    detections = guesses(truth, seed=5)
    expected, by_category = pycocotools_on_files(truth, detections, tmp_path)
    figures = average_precision(detections, truth, COLOURS)
    found = list(figures.to_json().values())[:12]
    assert [-1 if value is None else value for value in found] == pytest.approx(expected, abs=1e-9)
    assert list(figures.ap_by_category) == list(COLOURS)
    assert list(figures.ap_by_category.values()) == pytest.approx(by_category, abs=1e-9)
    assert 0.05 < (figures.ap or 0) < (figures.ap50 or 0) < 0.95
    if scale < 1:
        assert figures.ap_small is None
        assert figures.ap_medium is not None
        assert figures.ap_large is not None


def test_average_precision_by_hand() -> None:
    """Two red squares in two images, found at IoU 1 and, with a lower score, at IoU .6; between them a false alarm.

    At .5 precision is 1 up to recall .5 and 2/3 up to recall 1: 51 of COCO's 101 points at 1, 50 at 2/3. From .65 on
    the second is missed: 51/101. At .50, .55 and .60 both are found.
    """
    boxes = torch.tensor([[0.0, 0, 20, 20], [10, 10, 30, 30]])
    truth = replace(
        split(2, 64, seed=0), first=torch.tensor([0, 1, 2]), boxes=boxes, labels=torch.zeros(2, dtype=torch.int64),
        areas=torch.full((2,), 400.0), crowd=torch.zeros(2, dtype=torch.bool),
    )  # fmt: skip
    red = torch.zeros(1, dtype=torch.int64)
    second = torch.tensor([[10.0, 10, 30, 22.2]])  # 12.2 of 20 rows: IoU .61
    detections = [
        {"boxes": boxes[:1], "labels": red, "scores": torch.tensor([0.9])},
        {
            "boxes": torch.cat([torch.tensor([[40.0, 40, 60, 60]]), second]),
            "labels": red.repeat(2),
            "scores": torch.tensor([0.8, 0.7]),
        },
    ]
    figures = average_precision(detections, truth, COLOURS)
    both, one = (51 + 50 * 2 / 3) / 101, 51 / 101
    assert figures.ap50 == pytest.approx(both)
    assert figures.ap75 == pytest.approx(one)
    assert figures.ap == pytest.approx((3 * both + 7 * one) / 10)
    assert figures.ar_100 == pytest.approx((3 * 1 + 7 * 0.5) / 10)
    assert figures.ar_1 == pytest.approx(0.5)  # the false alarm is the best of the second image
    assert figures.ap_by_category == {"red": pytest.approx(figures.ap), "green": None, "blue": None}
    assert (figures.ap_small, figures.ap_medium) == (pytest.approx(figures.ap), None)


def test_no_detection_is_no_precision_and_others_are_refused() -> None:
    truth = split(3, 64, seed=1)
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}
    figures = average_precision([nothing] * 3, truth, COLOURS)
    assert (figures.ap, figures.ar_100) == (0.0, 0.0)
    with pytest.raises(ValueError, match="detections of 2 images for a split of 3"):
        average_precision([nothing] * 2, truth, COLOURS)
    lost = {"boxes": torch.full((1, 4), torch.nan), "labels": torch.zeros(1, dtype=torch.int64)}
    with pytest.raises(ValueError, match="a detection in image 1 is not finite"):
        average_precision([nothing, {**lost, "scores": torch.ones(1)}, nothing], truth, COLOURS)
