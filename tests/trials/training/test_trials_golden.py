"""Trainings come out as they did: the losses written down for each kind of machine.

To the last digit on a kind of machine that is written down, else near to those of another: processors add in another
order. Where numerics were changed on purpose, or for a new kind, `python tests/trials/training/test_trials_golden.py`
writes down what comes out here.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import InputSpec, SearchSpace
from trials.data import DataConfig, SceneConfig
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.tasks import SceneRecipe
from trials.trial import EpochPoint, LatencyProtocol, Recipe, TrialJob

GOLDEN = Path(__file__).with_name("golden.json")
CLASSIFIER, DETECTOR = ("resnet8", InputSpec(1, 28, 10)), ("resnet8-fpn-fcos", InputSpec(3, 128, 10))
SEGMENTER = ("resnet8-fpn-semantic", InputSpec(3, 128, 11))
#: Space, operator, data, recipe.
TRAININGS: dict[str, tuple[tuple[str, InputSpec], str, Any, Any]] = {
    "classifier": (CLASSIFIER, "aff", DataConfig(train_images=512), Recipe(epochs=2, precision="float32")),
    "classifier, augmented": (
        CLASSIFIER, "se", DataConfig(train_images=256),
        Recipe(epochs=1, batch_size=64, precision="float32", cutout=4, colour=0.2, mixup=0.2),
    ),
    "detector": (DETECTOR, "add", SceneConfig(), SceneRecipe(epochs=1, batch_size=8, precision="float32")),
    "detector, augmented and averaged": (
        DETECTOR, "add", SceneConfig(),
        SceneRecipe(epochs=1, batch_size=8, precision="float32", augment=True, ema_decay=0.9),
    ),
    "segmenter": (
        SEGMENTER, "add", SceneConfig(targets="semantic"),
        SceneRecipe(epochs=1, batch_size=8, precision="float32", optimiser="sgd", recalibrate=True),
    ),
}  # fmt: skip


def kind_of_machine() -> str:
    """What decides in which order sums are taken: the processor's model, its instructions, torch."""
    described = Path("/proc/cpuinfo").read_text().partition("\n\n")[0] if Path("/proc/cpuinfo").exists() else ""
    facts = dict(line.replace("\t", "").split(":", 1) for line in described.splitlines() if ":" in line)
    model = " ".join(facts.get(name, "?").strip() for name in ("vendor_id", "cpu family", "model"))
    capability, version = torch.backends.cpu.get_cpu_capability(), torch.__version__.partition("+")[0]
    return f"{platform.machine()}, {model}, {capability}, torch {version}"


def losses_of(name: str) -> list[float]:
    """The training loss of each epoch, and last the validation loss."""
    space, op, data, recipe = TRAININGS[name]
    made = SearchSpace.named(*space)
    bench = Bench(TrialPlan(made, data, recipe, LatencyProtocol(), "cpu", screening=False))
    if isinstance(recipe, SceneRecipe):
        bench.trainer = bench.trainer.briefly(48).judging(16)
    *points, end = bench.judge(TrialJob(1, "random", made.uniform(op), 7, recipe.epochs, 1, 1))
    assert isinstance(end, TrialOutcome)
    assert end.result.loss is not None
    return [*(point.train_loss for point in points if isinstance(point, EpochPoint)), end.result.loss]


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_is_what_it_was(name: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    here, found = golden.get(kind_of_machine()), losses_of(name)
    if here is not None:
        assert found == here[name]
    else:
        assert any(near(found, there[name]) for there in golden.values())


def near(found: list[float], there: list[float]) -> bool:
    """Losses of training are nearer than that of validation, which running statistics decide."""
    return found[:-1] == pytest.approx(there[:-1], rel=1e-4) and found[-1] == pytest.approx(there[-1], rel=1e-3)


if __name__ == "__main__":
    known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    known[kind_of_machine()] = {name: losses_of(name) for name in TRAININGS}
    GOLDEN.write_text(json.dumps(known, indent=1) + "\n")
