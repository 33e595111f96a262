"""Trainings come out as they did when classifiers and scenes had a loop each: the losses written down then.

To the last digit on the machine where they were written; other processors add in another order.
"""

from __future__ import annotations

from typing import Any

import pytest

from search_spaces import InputSpec, SearchSpace
from trials.data import DataConfig, SceneConfig
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.tasks import SceneRecipe
from trials.trial import EpochPoint, LatencyProtocol, Recipe, TrialJob

CLASSIFIER, DETECTOR = ("resnet8", InputSpec(1, 28, 10)), ("resnet8-fpn-fcos", InputSpec(3, 128, 10))
SEGMENTER = ("resnet8-fpn-semantic", InputSpec(3, 128, 11))


@pytest.mark.parametrize(
    ("space", "op", "data", "recipe", "losses", "loss"),
    [
        (CLASSIFIER, "aff", DataConfig(train_images=512), Recipe(epochs=2, precision="float32"),
         [2.2804627418518066, 2.0436668395996094], 1.9525339241027833),
        (CLASSIFIER, "se", DataConfig(train_images=256),
         Recipe(epochs=1, batch_size=64, precision="float32", cutout=4, colour=0.2, mixup=0.2),
         [2.306835889816284], 2.214162805557251),
        (DETECTOR, "add", SceneConfig(), SceneRecipe(epochs=1, batch_size=8, precision="float32"),
         [2.595978577931722], 2.3022267818450928),
        (DETECTOR, "add", SceneConfig(),
         SceneRecipe(epochs=1, batch_size=8, precision="float32", augment=True, ema_decay=0.9),
         [2.6017912228902182], 2.393186330795288),
        (SEGMENTER, "add", SceneConfig(targets="semantic"),
         SceneRecipe(epochs=1, batch_size=8, precision="float32", optimiser="sgd", recalibrate=True),
         [4.573062578837077], 2.235640048980713),
    ],
    ids=["classifier", "classifier, augmented", "detector", "detector, augmented and averaged", "segmenter"],
)  # fmt: skip
def test_a_training_is_what_it_was(
    space: tuple[str, InputSpec], op: str, data: Any, recipe: Any, losses: list[float], loss: float
) -> None:
    made = SearchSpace.named(*space)
    bench = Bench(TrialPlan(made, data, recipe, LatencyProtocol(), "cpu", screening=False))
    if isinstance(recipe, SceneRecipe):
        bench.trainer = bench.trainer.briefly(48).judging(16)
    *points, end = bench.judge(TrialJob(1, "random", made.uniform(op), 7, recipe.epochs, 1, 1))
    assert isinstance(end, TrialOutcome)
    assert [point.train_loss for point in points if isinstance(point, EpochPoint)] == pytest.approx(losses, rel=1e-4)
    assert end.result.loss == pytest.approx(loss, rel=1e-3)
