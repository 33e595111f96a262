"""What every registered engine guarantees, see `nas.engines.engine.Engine`."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from nas.engines.engine import Engine, calibrate, open_engine
from nas.engines.interruption import Interruption
from nas.registry import ENGINES
from nas.settings.loading import load_config
from search_spaces import InputSpec, SearchSpace
from trials.data import DataConfig
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.trial import EpochPoint, Failure, LatencyProtocol, Recipe, TrialJob, TrialResult, TrialState

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
PLAN = TrialPlan(
    SPACE, DataConfig(train_images=128, val_fraction=0.05), Recipe(epochs=2, batch_size=64, precision="float32"),
    LatencyProtocol(), "cpu", screening=False,
)  # fmt: skip
JOBS = [
    TrialJob(0, "baseline", SPACE.baseline, 1, 2, 1, 1),
    TrialJob(1, "sampler", SPACE.uniform("se", 4), 1, 1, 1, 1),
    TrialJob(-1, "repeat", SPACE.uniform("cbam", 4), 2, 2, 1, 1),
]


class Ledger:
    """Hands out jobs and keeps what is told of each, and by which thread."""

    def __init__(self, jobs: list[TrialJob]) -> None:
        self._waiting = list(jobs)
        self._open: set[int] = set()
        self.epochs: dict[int, list[EpochPoint]] = {}
        self.results: dict[int, TrialResult] = {}
        self.threads: set[int] = set()

    @property
    def finished(self) -> bool:
        return not self._waiting and not self._open

    def next_job(self) -> TrialJob | None:
        self.threads.add(threading.get_ident())
        if not self._waiting:
            return None
        job = self._waiting.pop(0)
        self._open.add(job.number)
        return job

    def advance(self, number: int, point: EpochPoint) -> None:
        self.threads.add(threading.get_ident())
        assert number in self._open
        self.epochs.setdefault(number, []).append(point)

    def record(self, result: TrialResult, weights: bytes | None) -> None:
        self.threads.add(threading.get_ident())
        self._open.remove(result.number)  # told once, or it is a KeyError
        assert (weights is not None) == (result.state is TrialState.COMPLETE)
        self.results[result.number] = result

    def fail(self, number: int, failure: Failure, error: str) -> None:
        raise AssertionError(f"job {number} was lost: {error}")


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow if name == "ray" else ()) for name in ENGINES
    ]  # Ray takes a while
)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    config = load_config(None, {"engine": request.param, "device": "cpu", "workers": 1})
    with open_engine(config, Interruption(), lambda line: None) as opened:
        yield opened


def test_each_job_is_told_back_once_and_comes_to_what_it_comes_to_by_any_engine(engine: Engine) -> None:
    ledger = Ledger(JOBS)
    engine.run(PLAN, ledger)
    assert ledger.finished
    assert ledger.results.keys() == {job.number for job in JOBS}
    bench = Bench(PLAN)
    for job in JOBS:
        *_, here = bench.judge(job)
        assert isinstance(here, TrialOutcome)
        there = ledger.results[job.number]
        assert (there.state, there.architecture, there.seed, there.epochs) == (
            TrialState.COMPLETE, job.architecture, job.seed, job.epochs,
        )  # fmt: skip
        assert (there.loss, there.score) == (here.result.loss, here.result.score)
        assert [point.epoch for point in ledger.epochs[job.number]] == list(range(1, job.epochs + 1))
    assert len(ledger.threads) == 1
    assert engine.workers >= 1


def test_a_job_that_fails_is_told_back_as_failed_and_the_next_one_runs(engine: Engine) -> None:
    diverging = TrialPlan(
        SPACE, PLAN.data, Recipe(epochs=1, batch_size=64, peak_lr=1e30, precision="float32"), PLAN.protocol, "cpu",
        screening=False,
    )  # fmt: skip
    ledger = Ledger(JOBS[:2])
    engine.run(diverging, ledger)
    assert {result.state for result in ledger.results.values()} == {TrialState.FAILED}
    assert all(result.failure in (Failure.DIVERGED, Failure.EXPLODING_GRADIENTS) for result in ledger.results.values())
    again = Ledger(JOBS[:1])
    engine.run(PLAN, again)
    assert again.results[0].state is TrialState.COMPLETE


def test_it_asks_a_worker_on_the_device_of_its_trials(engine: Engine) -> None:
    assert 0 < engine.ask(calibrate, PLAN).p50_ms < 1000
