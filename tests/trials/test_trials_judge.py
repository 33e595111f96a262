"""One trial from job to outcome: whatever happens, its last word is a result."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from shapes import wrong_on_purpose
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from search_spaces import Architecture, InputSpec, SearchSpace, register
from search_spaces.fusions import FusionSettings, unregister
from trials.costs import CostTable
from trials.data import DataConfig
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.machine.quiet import occupied, quiet
from trials.record.store import Store
from trials.trial import EpochPoint, Failure, Latency, LatencyProtocol, Recipe, TrialJob, TrialState

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
PLAN = TrialPlan(
    SPACE,
    DataConfig(train_images=256, val_fraction=0.05),
    Recipe(epochs=2, batch_size=64),
    LatencyProtocol(warmup=2, passes=20, attempts=1),
    "cpu",
)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(PLAN)


def job(architecture: Architecture, number: int = 3, seed: int = 1, epochs: int = 2) -> TrialJob:
    return TrialJob(number, "sampler", architecture, seed, epochs, 123, 45)


def judged(bench: Bench, given: TrialJob) -> tuple[list[EpochPoint], TrialOutcome]:
    *points, outcome = bench.judge(given)
    assert isinstance(outcome, TrialOutcome)
    assert all(isinstance(point, EpochPoint) for point in points)
    assert (outcome.result.number, outcome.result.architecture) == (given.number, given.architecture)
    assert (outcome.result.origin, outcome.result.seed) == (given.origin, given.seed)
    assert (outcome.result.macs, outcome.result.params) == (given.macs, given.params)
    assert outcome.result.curve == tuple(points)
    return points, outcome


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_job_comes_out_the_same_where_values_are_dropped_at_random(precision: Any) -> None:
    """Whatever was drawn and trained between: its dropout follows from its seed alone."""
    space = SearchSpace.named("resnet8", InputSpec(1, 28, 10), settings=FusionSettings(dropout=0.4))
    recipe = Recipe(epochs=2, batch_size=64, precision=precision)
    bench = Bench(replace(PLAN, space=space, recipe=recipe, screening=False))
    architecture = space.uniform("aff")
    found = []
    for between, seed in ((1, 5), (2, 5), (3, 6)):
        torch.manual_seed(between)
        points, outcome = judged(bench, job(architecture, seed=seed))
        found.append(([point.train_loss for point in points], outcome.result.loss, outcome.weights))
        judged(bench, job(space.uniform("add"), seed=between))
        torch.rand(between)
    assert found[0] == found[1]
    assert found[1][0] != found[2][0]
    dropless = Bench(replace(PLAN, recipe=recipe, screening=False))
    points, _ = judged(dropless, job(SPACE.uniform("aff"), seed=5))
    assert [point.train_loss for point in points] != found[0][0], "something was dropped"


def test_a_complete_trial(bench: Bench, tmp_path: Path) -> None:
    architecture = SPACE.architecture({"layer1.0": "cbam/4", "layer2.0": "aff/8", "layer3.0": "concat"})
    costs = CostTable(SPACE)(architecture)
    points, outcome = judged(bench, TrialJob(3, "sampler", architecture, 1, 2, costs.macs, costs.params))
    result = outcome.result
    assert result.state is TrialState.COMPLETE
    assert [point.epoch for point in points] == [1, 2]
    assert result.images == bench.trainer.validation_images == 500
    assert result.correct is not None
    assert result.score == result.correct / result.images
    assert result.loss is not None
    assert result.loss > 0
    assert result.latency is not None
    assert 0 < result.latency.p50_ms <= result.latency.p95_ms
    assert 0 < result.train_seconds < result.seconds
    assert result.images_per_second == pytest.approx(sum(point.images_per_second for point in points) / 2)
    assert result.error is None
    assert result.environment["threads"] == 1
    assert result.environment["process"] == os.getpid()
    assert result.attention is not None
    assert result.attention.epochs == (1, 2)
    assert {point for point, _ in result.attention.parts} == {"layer1.0", "layer2.0"}

    assert outcome.weights is not None
    weights = load(outcome.weights)
    assert sum(weights[name].numel() for name, _ in SPACE.build(architecture).named_parameters()) == costs.params
    network = SPACE.build(architecture).to(memory_format=torch.channels_last)
    network.load_state_dict(weights, strict=True)
    with occupied() as machine:
        again = bench.trainer.evaluate(network, machine)
    assert (again.correct, again.loss) == (result.correct, result.loss)

    with Store.create(tmp_path / "study.db", {}) as store:
        store.append(result)
        assert store.results() == (result,)
        assert store.results()[0].attention == result.attention


def test_a_trial_is_repeated_to_the_bit(bench: Bench) -> None:
    architecture = SPACE.uniform("se")
    torch.manual_seed(1)
    _, first = judged(bench, job(architecture))
    torch.manual_seed(2)
    _, again = judged(bench, job(architecture))
    _, other = judged(bench, job(architecture, seed=2))
    assert first.weights == again.weights
    assert first.result.loss == again.result.loss
    assert first.weights != other.weights


def test_batch_norms_are_judged_by_the_statistics_of_the_trained_weights(bench: Bench) -> None:
    architecture = SPACE.uniform("se")
    lagging = Bench(replace(PLAN, recipe=replace(PLAN.recipe, recalibrate=False)))
    states = [load(judged(each, job(architecture))[1].weights or b"") for each in (bench, lagging)]
    learnt = [name for name in states[0] if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert all(torch.equal(states[0][name], states[1][name]) for name in learnt)
    network = SPACE.build(architecture).to(memory_format=torch.channels_last)
    network.load_state_dict(states[1])
    with occupied() as machine:
        bench.trainer.recalibrate(network, 1, machine)
    anew = network.state_dict()
    assert all(torch.equal(anew[name], tensor) for name, tensor in states[0].items())
    assert not torch.allclose(states[1]["layer3.0.bn1.running_mean"], states[0]["layer3.0.bn1.running_mean"], rtol=0.01)


def test_a_trial_is_measured_in_one_attempt_and_what_was_not_steady_is_marked() -> None:
    never_steady = replace(PLAN.protocol, attempts=3, max_drift=-1.0)
    restless = Bench(replace(PLAN, protocol=never_steady, max_latency_ms=1e-6))
    _, outcome = judged(restless, job(SPACE.uniform("se")))
    latency = outcome.result.latency
    assert latency is not None
    assert (latency.attempts, latency.stable) == (1, False)
    assert outcome.result.state is TrialState.COMPLETE  # what is not sure gates nobody
    assert restless.latency(restless.reference).attempts == 3


def test_measuring_a_latency_changes_nothing_that_is_trained(bench: Bench) -> None:
    """So a repeat, which measures none, is held against a trial of the same seed to the bit."""
    unmeasured = Bench(replace(PLAN, screening=False))
    _, screened = judged(bench, job(SPACE.uniform("cbam")))
    _, repeated = judged(unmeasured, job(SPACE.uniform("cbam"), number=9))
    assert repeated.result.latency is None
    assert screened.weights == repeated.weights
    assert (screened.result.score, screened.result.loss) == (repeated.result.score, repeated.result.loss)


def test_candidates_of_a_seed_start_alike(bench: Bench) -> None:
    torch.manual_seed(4)
    before = torch.get_rng_state()
    trunks = []
    for op, seed in (("add", 6), ("concat", 6), ("iaff", 6), ("add", 7)):
        state = bench.build(SPACE.uniform(op), seed).state_dict()
        trunks.append({name: tensor for name, tensor in state.items() if ".fuse." not in name})
    assert torch.equal(torch.get_rng_state(), before)
    first, *alike, other = trunks
    for trunk in alike:
        assert trunk.keys() == first.keys()
        assert all(torch.equal(trunk[name], first[name]) for name in first)
    assert not torch.equal(other["conv1.weight"], first["conv1.weight"])


def test_what_diverges_has_failed(bench: Bench) -> None:
    diverging = Bench(replace(PLAN, recipe=replace(PLAN.recipe, peak_lr=1e30)))
    points, outcome = judged(diverging, job(SPACE.baseline))
    assert points == []
    assert outcome.weights is None
    assert outcome.result.state is TrialState.FAILED
    assert outcome.result.error is not None
    assert outcome.result.error.startswith("NonFiniteLoss: training loss is ")
    assert outcome.result.failure is Failure.DIVERGED
    assert outcome.result.score is None
    assert outcome.result.latency is not None


def test_what_is_too_slow_is_never_trained(bench: Bench) -> None:
    lenient = replace(PLAN.protocol, max_drift=1e9, max_spread=1e9)  # any measurement counts as stable
    strict = Bench(replace(PLAN, max_latency_ms=1e-6, protocol=lenient))
    steps: list[object] = []
    hook = register_optimizer_step_pre_hook(lambda *given: steps.append(given))
    try:
        points, outcome = judged(strict, replace(job(SPACE.uniform("se")), origin="uniform"))
    finally:
        hook.remove()
    assert steps == points == []
    assert outcome.weights is None
    assert outcome.result.state is TrialState.GATED
    assert outcome.result.latency is not None
    assert outcome.result.latency.p50_ms > 1e-6
    assert (outcome.result.score, outcome.result.train_seconds) == (None, 0.0)


def test_the_baseline_and_what_was_measured_in_a_noise_are_not_gated(bench: Bench) -> None:
    lenient = replace(PLAN.protocol, max_drift=1e9, max_spread=1e9)
    strict = Bench(replace(PLAN, max_latency_ms=1e-6, protocol=lenient))
    _, outcome = judged(strict, replace(job(SPACE.baseline), origin="baseline"))
    assert outcome.result.state is TrialState.COMPLETE
    never = Bench(replace(PLAN, max_latency_ms=1e-6, protocol=replace(PLAN.protocol, max_spread=1e-12, attempts=1)))
    _, outcome = judged(never, replace(job(SPACE.uniform("se")), origin="uniform"))
    assert outcome.result.state is TrialState.COMPLETE
    assert outcome.result.latency is not None
    assert not outcome.result.latency.stable


def test_a_wide_gate_and_a_nominal_figure() -> None:
    generous = Bench(replace(PLAN, max_latency_ms=1e9, nominal_latency_ms=1000.0, recipe=Recipe(epochs=1)))
    _, outcome = judged(generous, job(SPACE.baseline))
    assert outcome.result.state is TrialState.COMPLETE
    assert outcome.result.latency is not None
    assert outcome.result.latency.nominal_reference_p50_ms == 1000.0
    assert outcome.result.latency.p50_ms > 100


class Faulty(nn.Module):
    """Raises where it is told to."""

    where = ""

    def __init__(self, channels: int) -> None:
        super().__init__()
        if self.where == "construction":
            raise RuntimeError("no such layer\nand more about it")

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self.where == "training" and self.training:
            raise ValueError("x" * 1000)
        if self.where == "evaluation" and not self.training and len(x) > 1:
            raise MemoryError
        if self.where == "shape":
            return x[:, :3]
        if self.where == "hang" and self.training:
            while True:
                pass
        return x + y


@pytest.fixture
def faulty() -> Iterator[Callable[[str], Architecture]]:
    register("faulty")(Faulty)

    def raising(where: str) -> Architecture:
        Faulty.where = where
        return with_faulty().uniform("faulty")

    yield raising
    unregister("faulty")


def with_faulty() -> SearchSpace:
    return SearchSpace.named("resnet8", InputSpec(1, 28, 10), operators=("add", "faulty"))


@pytest.mark.parametrize(
    ("where", "error", "failure", "epochs"),
    [
        ("construction", "RuntimeError: no such layer", Failure.ERROR, 0),
        ("training", f"ValueError: {'x' * 300}", Failure.ERROR, 0),
        ("evaluation", "MemoryError", Failure.OUT_OF_MEMORY, 2),
        ("shape", "RuntimeError: ", Failure.ERROR, 0),
    ],
)
def test_an_operator_that_raises_has_failed(
    faulty: Callable[[str], Architecture], where: str, error: str, failure: Failure, epochs: int
) -> None:
    bench = Bench(replace(PLAN, space=with_faulty()))
    with wrong_on_purpose():
        points, outcome = judged(bench, job(faulty(where)))
    assert len(points) == epochs
    assert outcome.weights is None
    assert (outcome.result.state, outcome.result.failure) == (TrialState.FAILED, failure)
    assert outcome.result.error is not None
    assert outcome.result.error == error if where != "shape" else outcome.result.error.startswith(error)
    assert "\n" not in outcome.result.error
    _, well = judged(bench, job(faulty("")))
    assert well.result.state is TrialState.COMPLETE


def test_a_trial_ends_between_batches_when_its_time_is_over(bench: Bench) -> None:
    """As in a worker's thread, where no signal comes."""
    limited = Bench(replace(PLAN, timeout_seconds=0.5, screening=False, recipe=replace(PLAN.recipe, epochs=1000)))
    outcomes: list[TrialOutcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(judged(limited, job(SPACE.baseline, epochs=1000))[1]))
    thread.start()
    thread.join(30)
    (outcome,) = outcomes
    assert (outcome.result.state, outcome.result.failure) == (TrialState.FAILED, Failure.TIMED_OUT)
    assert outcome.result.error == "TrialTimedOut: over its time limit of 0.5 s"
    assert 0.5 <= outcome.result.seconds < 5
    assert len(outcome.result.curve) < 1000


def test_a_hang_in_python_is_ended_and_the_next_trial_runs(faulty: Callable[[str], Architecture]) -> None:
    bench = Bench(replace(PLAN, space=with_faulty(), screening=False, timeout_seconds=1.0))
    _, outcome = judged(bench, job(faulty("hang")))
    assert outcome.result.failure is Failure.TIMED_OUT
    assert in_time(lambda: quiet().__enter__())  # the machine is let go of
    bench.plan = replace(bench.plan, timeout_seconds=None)
    _, well = judged(bench, job(faulty("")))
    assert well.result.state is TrialState.COMPLETE


def in_time(action: Callable[[], Any]) -> bool:
    worker = threading.Thread(target=action, daemon=True)
    worker.start()
    worker.join(5)
    return not worker.is_alive()


def test_a_trial_that_is_dropped_lets_go_of_the_machine(bench: Bench) -> None:
    def measure() -> None:
        with quiet():
            pass

    trial = bench.judge(job(SPACE.baseline))
    assert isinstance(next(trial), EpochPoint)
    trial.close()
    assert in_time(measure)


def test_waiting_for_others_on_the_machine_is_in_no_other_figure(bench: Bench) -> None:
    """Of a trial that stood still for a second before it was measured, before it trained, and in both of its epochs."""
    asked, given = threading.Event(), threading.Event()

    def measure() -> None:
        while asked.wait(30) and not over:
            asked.clear()
            with quiet():
                given.set()
                time.sleep(1.0)

    def hold_still() -> None:
        given.clear()
        asked.set()
        assert given.wait(10)

    class Held(Bench):
        def screened(self, network: nn.Module) -> Latency:
            hold_still()
            return super().screened(network)

    over: list[bool] = []
    neighbour = threading.Thread(target=measure)
    neighbour.start()
    try:
        _, alone = judged(bench, job(SPACE.baseline))
        held = Held(PLAN)
        steps = 0

        def step(*given: Any) -> None:
            nonlocal steps
            steps += 1
            if steps in (2, 6):  # the second of the first epoch's four, and of the second one's
                asked.set()

        hook = register_optimizer_step_pre_hook(step)
        _, outcome = judged(held, job(SPACE.baseline))
        hook.remove()
    finally:
        over.append(True)
        asked.set()
        neighbour.join()
    result = outcome.result
    assert result.timing is not None
    assert 2.8 < result.timing.wait_s < 6
    assert result.seconds > result.timing.wait_s
    assert result.timing.worker_s == pytest.approx(result.seconds, abs=0.3)
    own = result.seconds - result.timing.wait_s
    assert 0 < result.timing.latency_s + result.train_seconds + result.timing.evaluate_s < own
    assert sum(256 / point.images_per_second for point in result.curve) < result.train_seconds + 0.05
    assert outcome.weights == alone.weights


def test_a_longer_schedule_may_take_longer() -> None:
    limited = replace(PLAN, recipe=replace(PLAN.recipe, epochs=2), timeout_seconds=30.0)
    assert limited.time_limit(6) == 90.0
    assert replace(limited, timeout_seconds=None).time_limit(6) is None
