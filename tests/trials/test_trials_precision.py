"""The precision of a run is a measurement of real training steps, or there is nothing to measure."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from nas.trainings import precision
from nas.trainings.precision import PrecisionChoice, choose_precision, timed_steps
from search_spaces.networks import InputSpec
from search_spaces.space import SearchSpace
from trials.data import DataConfig
from trials.errors import PrecisionError
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.trial import LatencyProtocol, Recipe, TrialJob

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10), operators=["add", "se"], reductions=[4])
RECIPE = Recipe(epochs=1, batch_size=32, precision="fastest")
DATA = DataConfig(train_images=128, val_fraction=0.05)
PLAN = TrialPlan(SPACE, DATA, RECIPE, LatencyProtocol(), "cpu", screening=False)


@pytest.fixture(autouse=True)
def own_locks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_NAS_LOCKS", str(tmp_path_factory.mktemp("locks")))


@pytest.fixture
def bfloat16_in_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or emulated, as torch does where it is not."""
    monkeypatch.setattr(precision.devices, "has_bf16", lambda device: True)
    monkeypatch.setattr(precision, "_ROUNDS", 1)


def test_without_bfloat16_in_hardware_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision.devices, "has_bf16", lambda device: False)
    choice = choose_precision(Bench(PLAN))
    assert choice == PrecisionChoice("float32", {})


@pytest.mark.usefixtures("bfloat16_in_hardware")
@pytest.mark.parametrize(("worth_it", "chosen"), [(0.0, "bfloat16"), (1e9, "float32")])
def test_the_faster_one_is_chosen_where_that_is_worth_it(
    worth_it: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are measured by real steps, also where the hardware has only one of them: it emulates."""
    monkeypatch.setattr(precision, "WORTH_IT", worth_it)
    choice = choose_precision(Bench(PLAN))
    assert choice.precision == chosen
    assert set(choice.images_per_second) == {"float32", "bfloat16"}
    assert all(1 < speed < 1e6 for speed in choice.images_per_second.values())


@pytest.mark.usefixtures("bfloat16_in_hardware")
def test_on_a_cpu_nothing_is_measured_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed gives the same result there, whatever the speeds of the day."""
    bench = Bench(replace(PLAN, recipe=replace(PLAN.recipe, precision="auto")))
    monkeypatch.setattr(bench, "build", lambda *given, **more: pytest.fail("measured"))
    assert choose_precision(bench) == PrecisionChoice("bfloat16", {})


class Rounding(nn.Module):
    """What has no bfloat16, as a kernel may not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("not implemented for 'BFloat16'")
        return x


@pytest.mark.usefixtures("bfloat16_in_hardware")
def test_where_bfloat16_alone_fails_it_is_float32() -> None:
    bench = Bench(PLAN)
    build = bench.build
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bench, "build", lambda *given, **more: nn.Sequential(Rounding(), build(*given, **more)))
        choice = choose_precision(bench)
    assert choice.precision == "float32"
    assert list(choice.images_per_second) == ["float32"]


@pytest.mark.usefixtures("bfloat16_in_hardware")
def test_what_cannot_be_trained_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(PLAN)
    monkeypatch.setattr(bench, "build", lambda *given, **more: nn.Sequential(nn.Flatten(), nn.Linear(3, 10)))
    with pytest.raises(PrecisionError, match="mat1 and mat2 shapes"):
        choose_precision(bench)


class Endless(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(600)
        return x


@pytest.mark.usefixtures("bfloat16_in_hardware")
def test_what_hangs_takes_no_longer_than_a_trial_may(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(replace(PLAN, timeout_seconds=0.5))
    monkeypatch.setattr(bench, "build", lambda *given, **more: nn.Sequential(nn.Conv2d(1, 1, 1), Endless()))
    with pytest.raises(PrecisionError, match=r"TrialTimedOut: over its time limit of 0\.5 s"):
        choose_precision(bench)


@pytest.mark.usefixtures("bfloat16_in_hardware")
def test_timing_draws_none_of_the_trials_random_numbers() -> None:
    dropping = replace(SPACE, settings=replace(SPACE.settings, dropout=0.5))
    bench = Bench(replace(PLAN, space=dropping))
    torch.manual_seed(3)
    choose_precision(bench)
    found = torch.rand(4)
    assert torch.equal(found, torch.rand(4, generator=torch.Generator().manual_seed(3)))


def test_a_trial_records_what_it_was_trained_in() -> None:
    losses = {}
    for name, shown in (("float32", "float32"), ("bfloat16", "bfloat16 autocast")):
        bench = Bench(replace(PLAN, recipe=replace(PLAN.recipe, precision=name, cuda_graph=True)))
        *_, outcome = bench.judge(TrialJob(0, "baseline", SPACE.baseline, 0, bench.plan.recipe.epochs, 1, 1))
        assert isinstance(outcome, TrialOutcome)
        assert outcome.result.environment["training_precision"] == shown
        assert outcome.result.environment["cuda_graph"] == "none: there is no CUDA device"
        losses[name] = outcome.result.curve[0].train_loss
    assert losses["float32"] != losses["bfloat16"]
    assert losses["float32"] == pytest.approx(losses["bfloat16"], rel=0.05)


@pytest.mark.parametrize(
    ("recipe", "images", "on", "steps"),
    [
        (Recipe(epochs=3, batch_size=32), 4000, "cuda", (2, 2)),  # no graph is asked for
        (Recipe(epochs=3, batch_size=32, cuda_graph=True), 4000, "cpu", (2, 2)),
        (Recipe(epochs=3, batch_size=32, cuda_graph=True), 4000, "cuda", (25, 2)),
        (Recipe(epochs=9, batch_size=32, cuda_graph=True), 320, "cuda", (10, 5)),
        (Recipe(epochs=3, batch_size=32, cuda_graph=True), 320, "cuda", (2, 2)),  # trials are too short for one
    ],
)
def test_a_precision_is_timed_with_the_graph_that_trials_use(
    recipe: Recipe, images: int, on: str, steps: tuple[int, int]
) -> None:
    assert timed_steps(recipe, images, torch.device(on)) == steps
