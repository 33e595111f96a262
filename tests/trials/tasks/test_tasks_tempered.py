"""Each evaluation tells the loss at the network's own temperature beside the loss as it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trials.data import ImageData, Split
from trials.machine.quiet import occupied
from trials.tasks import evaluation
from trials.tasks.classification import ClassificationTask
from trials.tasks.evaluation import Judgement, evaluate

CLASSES = tuple("abcde")


class Sharpened(nn.Module):
    """Logits that are right on the whole, times a factor: what calibration is, and nothing else."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * images.flatten(1)[:, : len(CLASSES)]


@pytest.fixture(scope="module")
def data() -> ImageData:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (300, 1, 8, 8), dtype=torch.uint8, generator=generator)
    told = (images.flatten(1)[:, : len(CLASSES)].float() - 127.5) / 73.6
    labels = torch.multinomial(F.softmax(1.5 * told, dim=1), 1, generator=generator).squeeze(1)
    split = Split(images, labels)
    return ImageData("toy", CLASSES, split, split, None, (0.5,), (0.2886,), "0" * 16)


def judged(factor: float, data: ImageData) -> Judgement:
    with occupied() as machine:
        return evaluate(Sharpened(factor), data.val, data, machine)


def test_calibration_is_taken_out_and_nothing_else(data: ImageData) -> None:
    well, sharp = judged(1.5, data), judged(6.0, data)
    assert sharp.score == well.score
    assert sharp.loss > well.loss + 0.3
    assert sharp.tempered_loss == pytest.approx(well.tempered_loss, abs=1e-4)
    assert sharp.temperature == pytest.approx(4 * (well.temperature or 0), rel=1e-2)
    assert (well.tempered_loss or 9) <= well.loss + 1e-6


def test_of_very_many_logits_an_even_choice_is_fitted_on(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = judged(1.5, data)
    monkeypatch.setattr(evaluation, "_MOST_LOGITS", len(data.val) * len(CLASSES) // 3)
    some = judged(1.5, data)
    assert (some.loss, some.score) == (whole.loss, whole.score)
    assert some.tempered_loss != whole.tempered_loss
    assert some.tempered_loss == pytest.approx(whole.tempered_loss, abs=0.2)


def test_a_task_without_logits_of_one_class_has_none(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClassificationTask, "logits", lambda *_: None)
    found = judged(1.5, data)
    assert (found.tempered_loss, found.temperature) == (None, None)
