"""Loss and figures of maps of classes, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision import tv_tensors

from trials.tasks.confusion import count_pixels, figures_of
from trials.tasks.segmentation import SegmentationTask

NAMES = ("ground", "red", "green", "blue")


def test_figures_by_hand() -> None:
    """Of 7 pixels that count 4 are right; red: 2 of the 4 that are it or taken for it; nothing is blue."""
    maps = torch.tensor([[0, 0, 1, 1], [1, 2, 2, 255]], dtype=torch.uint8)
    predicted = torch.tensor([[0, 1, 1, 1], [2, 2, 0, 3]])
    confusion = count_pixels(predicted, maps, 4)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 2, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    figures = figures_of(confusion, NAMES)
    assert figures.iou_by_category == {"ground": 1 / 3, "red": 2 / 4, "green": 1 / 3, "blue": None}
    assert figures.miou == pytest.approx((1 / 3 + 1 / 2 + 1 / 3) / 3)
    assert figures.pixel_accuracy == pytest.approx(4 / 7)


def test_a_stray_pixel_of_a_class_that_is_not_there_does_not_halve_the_score() -> None:
    maps = torch.zeros(1, 100, 100, dtype=torch.uint8)
    maps[:, 50:] = 1
    predicted = maps.long()
    predicted[0, 0, 0] = 2
    figures = figures_of(count_pixels(predicted, maps, 4), NAMES)
    assert figures.miou == pytest.approx((4999 / 5000 + 1) / 2)
    assert figures.iou_by_category["green"] is None


def test_pixels_of_several_batches_are_counted_together() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 4, (4, 8, 8), generator=generator, dtype=torch.uint8)
    logits = torch.randn(4, 4, 8, 8, generator=generator)
    task = SegmentationTask()
    targets = [{"map": tv_tensors.Mask(each)} for each in maps]
    readings = [task.read(logits[:3], targets[:3]), task.read(logits[3:], targets[3:])]
    figures = task.figures(readings, None, NAMES)  # type: ignore[arg-type]
    assert figures["pixel_accuracy"] == pytest.approx(float((logits.argmax(dim=1) == maps).double().mean()))
    hits = (logits.argmax(dim=1) == maps) & (maps == 2)
    either = (logits.argmax(dim=1) == 2) | (maps == 2)
    assert figures["iou_by_category"]["green"] == pytest.approx(float(hits.sum() / either.sum()))


def test_the_loss_is_the_mean_over_the_pixels_that_count() -> None:
    maps = torch.tensor([[[0, 1], [255, 255]], [[255, 255], [255, 255]]], dtype=torch.uint8)
    targets = [{"map": tv_tensors.Mask(each)} for each in maps]
    logits = torch.zeros(2, 2, 2, 2)
    logits[0, :, 0, 1] = torch.tensor([0.0, 2.0])
    expected = (math.log(2) + math.log(1 + math.exp(-2))) / 2
    task = SegmentationTask()
    assert float(task.loss(logits, targets)) == pytest.approx(expected)
    assert float(task.loss(logits[1:], targets[1:])) == 0.0
    with pytest.raises(ValueError, match="no pixel of the split counts"):
        task.figures([task.read(logits[1:], targets[1:])], None, NAMES[:2])  # type: ignore[arg-type]
