"""Our own search in the arena: the same session, stages, proposers and record, its trainings answered from a table."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import nn

from nas.bench.arena.playing import Ask, Brief, Clock, Final, Ledger, Play
from nas.bench.arena.worlds import World
from nas.bench.editions import Schedule
from nas.engines.crashes import Crashes
from nas.engines.engine import Answer, DeviceBench, JobSource
from nas.engines.interruption import Interruption
from nas.planning.planner import Planner
from nas.registry import STAGES, load
from nas.session.admission import open_store
from nas.settings.loading import load_config
from nas.settings.rungs import planned_looks
from nas.settings.search import SearchConfig
from nas.stages.stage import Search
from nas.telling import Silence
from nas.trainings.prepared import Prepared
from reports.estimates import sure_of_gain
from reports.finalists import finals_of
from reports.verdict import Verdict, verdict_of
from reports.view import RunView
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.data import ImageData, Split
from trials.errors import LatencyError
from trials.judge import Bench, TrialPlan
from trials.latency import Target
from trials.record.evidence import Evidence
from trials.seeds import derive
from trials.training.trainer import Trainer
from trials.trial import LatencyProtocol, TrialJob, TrialResult, TrialState

#: Stages that need a network: what trainings start from is the table's, and so is what it measured.
_WITHOUT = ("starts", "front_latency")
#: Folders in memory, where there is such a place: a search here is a few hundred transactions and nothing else.
_MEMORY = Path("/dev/shm")


class TableEngine:
    """An engine that answers from a world, at simulated times. An `Engine`, but for benches: nothing is built."""

    on_this_cpu = True

    @classmethod
    def of(cls, config: SearchConfig, interruption: Interruption, say: Callable[[str], None]) -> Self:  # noqa: ARG003
        raise LatencyError("the arena's engine is made with a world, not from a configuration")

    def __init__(self, ledger: Ledger, finals: Ledger, workers: int, regime: str) -> None:
        self.workers = workers
        self._ledger, self._finals = ledger, finals
        self._regime = regime
        self._clock = Clock[TrialJob](workers)

    def remember(self, crashes: Crashes) -> None:
        """Nothing: there are no workers."""

    def ask(self, question: Callable[[Bench], Answer], plan: TrialPlan) -> Answer:
        raise LatencyError("the arena has no device to ask")

    def run(self, plan: TrialPlan, source: JobSource) -> None:
        def next_job() -> TrialJob | None:
            job = source.next_job()
            if job is not None:
                self._ledger_of(job).hand_out(self._asked(job))
            return job

        def ended(job: TrialJob) -> None:
            look = self._ledger_of(job).end(self._asked(job), self._clock.now)
            result = TrialResult.of(
                job, TrialState.COMPLETE, score=look.accuracy, loss=look.loss, seconds=look.seconds,
                train_seconds=look.seconds, images=self._ledger.world.validation_images,
            )  # fmt: skip
            source.record(result, None)

        self._clock.run(next_job, lambda job: self._ledger_of(job).look(self._asked(job)).seconds, ended)

    def _ledger_of(self, job: TrialJob) -> Ledger:
        return self._finals if job.final else self._ledger

    def _asked(self, job: TrialJob) -> Ask:
        return Ask(job.architecture, f"{self._regime}-{job.epochs}", job.seed)

    def bench(
        self, space: SearchSpace, target: Target, protocol: LatencyProtocol
    ) -> AbstractContextManager[DeviceBench]:
        raise LatencyError("the arena has no device to measure on")

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass(frozen=True)
class _TableStart:
    """In place of what trainings start from: they were made."""

    recalibrates: ClassVar[bool] = False
    name: str

    def network(self, space: SearchSpace, architecture: Architecture, seed: int) -> nn.Module:
        raise NotImplementedError("nothing is trained in the arena")


@dataclass(frozen=True)
class House:
    """Our search with one of its samplers; with rungs where there are any, in epochs; with what counts of other runs;
    and with finalists, which train on images beside those of the brief."""

    sampler: str
    rungs: tuple[int, ...] = ()
    finalists: int = 0
    evidence: tuple[Evidence, ...] = ()
    early_stop: str = "never"

    def __call__(self, brief: Brief, world: World, realisation: int) -> Play:
        """As `nas.bench.arena.playing.play`. The trainings of the opening's noise count as any other.

        Finalists see a noise of their own, as they are judged by images of their own: where they name a winner, it is
        what is recommended.
        """
        began = time.process_time()
        schedule, ledger = Schedule.parse(brief.look), Ledger(world, realisation)
        finals = Ledger(world, derive(realisation, "finals"))
        with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
            out = Path(folder) / "run"
            prepared = _prepared(self._config(brief, schedule, out), world)
            plan = replace(prepared.plan(), start=_TableStart(f"{schedule.regime}:table"), screening=False)
            with open_store(out, prepared, prepared.baseline, None, lambda line: None, self.evidence) as store:
                engine = TableEngine(ledger, finals, brief.workers, schedule.regime)
                planner = Planner(prepared, store, lambda: RunView.of(out, store), Silence().say, brief.workers)
                search = Search(out, store, prepared, plan, engine, Silence(), Interruption(), planner)
                for name, place in STAGES.items():
                    stage = None if name in _WITHOUT else load(place)()
                    if stage is not None and stage.missing(search):
                        stage.run(search)
                view = search.view.estimated()
        best, own = view.front[0] if view.front else None, time.process_time() - began
        verdict = verdict_of(view)
        if verdict is None or verdict.gain is None:
            shipped = None if best is None else best.result.architecture
            return Play(tuple(ledger.events), shipped, sure_of_gain(view), own)
        named = next((t for t in view.complete if t.result.number == verdict.trial), best)
        shipped = None if named is None else named.result.architecture
        return Play(tuple(ledger.events), shipped, verdict.trial is not None, own, _final(verdict, view, finals))

    def _config(self, brief: Brief, schedule: Schedule, out: Path) -> SearchConfig:
        first = self.rungs[0] if self.rungs else schedule.epochs
        looks = brief.images // brief.looks[f"{schedule.regime}-{first}"]
        settings = {
            "space": brief.space.name, "operators": list(brief.space.operators),
            "reductions": list(brief.space.reductions), "data": "fashion-mnist-mini", "engine": "local",
            "sampler": self.sampler, "trials": looks, "seed": brief.seed, "out": str(out), "export": "none",
            "finalists": self.finalists or "none", "early_stop": self.early_stop,
            "training.regime": schedule.regime, "training.epochs": first, "rungs": list(self.rungs) or "none",
            "max_flops": None if brief.max_macs is None else str(int(brief.max_macs)),
        }  # fmt: skip
        config = load_config(None, settings)
        # Of the same images are two networks under further seeds, for the opening's noise, and longer looks.
        left, rungs = looks - 2 * (config.seeds_for_noise - 1), config.rung_epochs
        trials = max(1, left)
        while trials > 1 and _first_looks(rungs, trials) > left:
            trials -= 1
        return load_config(None, {**settings, "trials": trials, "noise_seeds": config.seeds_for_noise})


def _first_looks(rungs: Sequence[int], trials: int) -> float:
    """What a search of so many trials trains on in all, in first looks."""
    planned = planned_looks(rungs, trials)
    return sum(looks * epochs for looks, epochs in zip(planned, rungs, strict=True)) / rungs[0]


def _final(verdict: Verdict, view: RunView, finals: Ledger) -> Final:
    """Of the finalist that the verdict is about."""
    there = finals_of(view)
    assert there is not None
    assert verdict.low is not None
    assert verdict.high is not None
    about = next(
        one.trial.result.architecture
        for one, gain in zip(there.rivals, there.by_score, strict=True)
        if gain is not None and gain.low == verdict.low
    )
    return Final(about, 100 * verdict.low, 100 * verdict.high, verdict.by == "loss", finals.ended)


def _prepared(config: SearchConfig, world: World) -> Prepared:
    """A configuration with the world's space and costs, and data of which nothing is true: there is no image."""
    channels, size, _ = world.space.input_shape
    one = Split(torch.zeros(1, channels, size, size, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    data = ImageData(
        "fusionbench", ("none",), one, one, one, (0.5,) * channels, (0.5,) * channels, "0" * 16,
        unseen=torch.zeros(1, dtype=torch.int64),
    )  # fmt: skip
    return Prepared(config, Trainer(data, config.training.recipe()), world.space, world.costs, None)
