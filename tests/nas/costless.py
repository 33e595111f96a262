"""Searches whose trainings cost nothing: the session's own stages, drivers, proposers and record, with an engine that
answers by a formula. It may end at any event, as if the process had been killed there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch

from nas.engines.crashes import Crashes
from nas.engines.engine import Answer, DeviceBench, JobSource
from nas.engines.interruption import Interruption
from nas.planning.planner import Planner
from nas.session.admission import open_store
from nas.session.trials import Trials
from nas.settings.loading import load_config
from nas.settings.search import SearchConfig
from nas.stages.stage import Search
from nas.telling import Progress, Silence
from nas.trainings.prepared import Prepared
from reports.view import RunView
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.costs import CostTable
from trials.data import ImageData, Split
from trials.judge import Bench, TrialPlan
from trials.latency import Target
from trials.profile import DeviceProfile
from trials.profile.device_profile import PredictionError, Predictor, TargetPart
from trials.seeds import derive
from trials.training.trainer import Trainer
from trials.trial import Latency, LatencyProtocol, TrialJob, TrialResult, TrialState


class Killed(BaseException):
    """The process is gone: nothing that would be done on the way out is done."""


def part(*of: object) -> float:
    """From 0 to 1, the same for the same."""
    return (derive(0, *map(str, of)) % 10**9) / 10**9


def quality(architecture: Architecture, seed: int, epochs: int) -> float:
    """Operators differ, and by where they are; longer is better; every training has its noise."""
    own = sum(part(point, choice.op) for point, choice in architecture.choices.items()) / len(architecture.choices)
    return 0.6 + 0.1 * own + 0.02 * epochs**0.5 + 0.01 * part(architecture.key, seed, epochs)


class FormulaEngine:
    """One job after the other. With `latency_ms` workers measure before they train, and gate.

    `events`: after so many (a job handed out, a result recorded) the process is gone."""

    on_this_cpu = True
    workers = 1

    def __init__(self, latency_ms: Callable[[Architecture], float] | None = None, events: int | None = None) -> None:
        self._latency_ms, self._left = latency_ms, events
        self.handed_out: list[TrialJob] = []

    @classmethod
    def of(cls, config: SearchConfig, interruption: Interruption, say: Callable[[str], None]) -> Self:
        raise NotImplementedError

    def remember(self, crashes: Crashes) -> None: ...

    def ask(self, question: Callable[[Bench], Answer], plan: TrialPlan) -> Answer:
        raise NotImplementedError

    def bench(
        self, space: SearchSpace, target: Target, protocol: LatencyProtocol
    ) -> AbstractContextManager[DeviceBench]:
        raise NotImplementedError

    def close(self) -> None: ...

    def run(self, plan: TrialPlan, source: JobSource) -> None:
        while (job := source.next_job()) is not None:
            self.handed_out.append(job)
            self._event()
            source.record(self._result(plan, job), None)
            self._event()

    def _event(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise Killed

    def _result(self, plan: TrialPlan, job: TrialJob) -> TrialResult:
        latency, gate = None, plan.max_latency_ms
        if self._latency_ms is not None and job.number >= 0:
            p50 = self._latency_ms(job.architecture)
            latency = Latency(p50, p50, p50, p50, 1.0, 1.0, 0.0, 0.001, True, 100)
            if gate is not None and p50 > gate and job.origin != "baseline":
                return TrialResult.of(job, TrialState.GATED, latency=latency)
        score = quality(job.architecture, job.seed, job.epochs)
        return TrialResult.of(
            job, TrialState.COMPLETE, score=score, loss=1 - score, seconds=1.0, train_seconds=1.0, images=1_000,
            latency=latency,
        )  # fmt: skip


def prepared_of(settings: Mapping[str, Any], out: Path, profile: DeviceProfile | None = None) -> Prepared:
    """A configuration with data of which nothing is true: there is no image."""
    config = load_config(None, {
        "data": "fashion-mnist-mini", "engine": "local", "export": "none", "finalists": "none", "out": str(out),
        "training.regime": "scratch", "early_stop": "never", **settings,
    })  # fmt: skip
    space = SearchSpace.named(config.space)
    channels, size, _ = space.input_shape
    one = Split(torch.zeros(1, channels, size, size, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    data = ImageData(
        "none", ("none",), one, one, one, (0.5,) * channels, (0.5,) * channels, "0" * 16,
        unseen=torch.zeros(1, dtype=torch.int64),
    )  # fmt: skip
    return Prepared(config, Trainer(data, config.training.recipe()), space, costs_of(space), profile)


@cache
def costs_of(space: SearchSpace) -> CostTable:
    """Counted once for all searches of a space."""
    return CostTable(space)


def searched(
    prepared: Prepared,
    engine: FormulaEngine,
    baseline_ms: float | None = None,
    said: list[str] | None = None,
    progress: Progress | None = None,
) -> RunView:
    """One session of it, or what goes on in its folder; the run as it is recorded then. Raises Killed."""
    config, out = prepared.config, Path(prepared.config.out)
    baseline = replace(prepared.baseline, latency_ms=baseline_ms)
    limit = next((c.limit(baseline) for c in config.constraints() if c.metric == "latency_ms"), None)
    plan = replace(prepared.plan(), screening=False, max_latency_ms=limit if prepared.profile is None else None)
    progress = progress or Silence()
    if said is not None:
        progress.say = said.append  # type: ignore[method-assign]
    before = RunView.load(out).config if (out / "study.db").exists() else None
    with open_store(out, prepared, baseline, before, lambda line: None) as store:
        planner = Planner(prepared, store, lambda: RunView.of(out, store), progress.say, 1)
        search = Search(out, store, prepared, plan, engine, progress, Interruption(), planner)
        Trials().run(search)
        return search.view


def planted_profile(space: SearchSpace, seed: int = 0) -> DeviceProfile:
    """A device on which every choice but add takes its time, and neighbouring operators some more or less."""
    ops = sorted({choice.op for point in space.points for choice in point.choices})
    choices = {
        point.name: {
            str(c): 0.0 if c.op == "add" else 0.01 + 0.1 * part(seed, point.name, c) for c in point.choices
        }
        for point in space.points
    }  # fmt: skip
    pairs = {
        f"{a}>{b}": 0.02 * (part(seed, a, b) - 0.5) for a in ops for b in ops if (a, b) != ("add", "add")
    }  # fmt: skip
    error = PredictionError(architectures=20, mape=0.0, p90=0.0, spearman=1.0)
    return DeviceProfile(
        created_at="2026-01-01", space=space.to_json(), fingerprint=space.fingerprint,
        target=TargetPart(
            device="cpu", runtime="eager", dtype="float32", memory_format="channels_last", threads=1, batch_size=1
        ),
        protocol={}, device={"name": "planted"}, versions={}, baseline_ms=1.0,
        predictor=Predictor(choices_ms=choices, neighbours_ms=pairs, deviations={}, residual=0.0),
        error=error, flops_only_error=error, repeat_error=None, measurements=(),
    )  # fmt: skip


def plainly_predicted(profile: DeviceProfile, architecture: Architecture) -> float:
    """Once more, by hand."""
    ops = [choice.op for choice in architecture.choices.values()]
    own = sum(profile.predictor.choices_ms[point][str(c)] for point, c in architecture.choices.items())
    return 1.0 + own + sum(profile.predictor.neighbours_ms.get(f"{a}>{b}", 0.0) for a, b in pairwise(ops))


def proposals(view: RunView) -> list[tuple[int, str, str, Any]]:
    """Of every recorded trial its number, origin, architecture and score."""
    return [(r.number, r.origin, r.architecture.key, r.score) for r in view.results]


def longer_looks(view: RunView) -> Sequence[tuple[str, int, int]]:
    """Of every training that is no trial its architecture, seed and epochs, as they were recorded."""
    return [(t.architecture.key, t.seed, t.epochs) for t in view.beside]
