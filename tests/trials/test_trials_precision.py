"""The precision of a run is a measurement of real training steps, or there is nothing to measure."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from search_spaces.networks import InputSpec
from search_spaces.space import SearchSpace
from trials import precision
from trials.data import DataConfig
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.precision import PrecisionChoice, choose_precision
from trials.trial import LatencyProtocol, Recipe, TrialJob

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10), operators=["add", "se"], reductions=[4])
PLAN = TrialPlan(
    SPACE, DataConfig(train_images=128, val_fraction=0.05), Recipe(epochs=1, batch_size=32), LatencyProtocol(), "cpu",
    screening=False,
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_locks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_NAS_LOCKS", str(tmp_path_factory.mktemp("locks")))


def test_without_bfloat16_in_hardware_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)
    choice = choose_precision(Bench(PLAN))
    assert choice == PrecisionChoice("float32", {})
    assert choice.ratio is None


@pytest.mark.parametrize(("worth_it", "chosen"), [(0.0, "bfloat16"), (1e9, "float32")])
def test_the_faster_one_is_chosen_where_that_is_worth_it(
    worth_it: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are measured by real steps, also where the hardware has only one of them: it emulates."""
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    monkeypatch.setattr(precision, "WORTH_IT", worth_it)
    monkeypatch.setattr(precision, "_ROUNDS", 1)
    choice = choose_precision(Bench(PLAN))
    assert choice.precision == chosen
    assert set(choice.images_per_second) == {"float32", "bfloat16"}
    assert all(1 < speed < 1e6 for speed in choice.images_per_second.values())
    assert choice.ratio == choice.images_per_second["bfloat16"] / choice.images_per_second["float32"]


def test_what_cannot_be_trained_is_left_to_the_first_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    bench = Bench(PLAN)
    monkeypatch.setattr(bench, "build", lambda *a, **k: torch.nn.Identity())
    assert choose_precision(bench) == PrecisionChoice("bfloat16", {})


def test_a_trial_records_what_it_was_trained_in() -> None:
    losses = {}
    for name, shown in (("float32", "float32"), ("bfloat16", "bfloat16 autocast")):
        bench = Bench(replace(PLAN, recipe=replace(PLAN.recipe, precision=name, cuda_graph=True)))
        *_, outcome = bench.judge(TrialJob(0, "baseline", SPACE.baseline, 0, 1, 1))
        assert isinstance(outcome, TrialOutcome)
        assert outcome.result.environment["training_precision"] == shown
        assert outcome.result.environment["cuda_graph"] == "none: there is no CUDA device"
        losses[name] = outcome.result.curve[0].train_loss
    assert losses["float32"] != losses["bfloat16"]
    assert losses["float32"] == pytest.approx(losses["bfloat16"], rel=0.05)
