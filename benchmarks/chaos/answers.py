"""An engine whose trainings cost nothing: answers are read from the packaged table, as in the arena.

The session, its stages, proposers and record are the program's own; what a worker would do is not there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from safetensors.numpy import save

from nas.bench import load
from nas.bench.arena import World, table_world
from nas.engines.crashes import Crashes
from nas.engines.engine import Answer, DeviceBench, JobSource
from nas.engines.interruption import Interruption
from nas.engines.local import LocalEngine
from nas.settings.search import SearchConfig
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.errors import LatencyError
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.latency import Measurement, Target
from trials.latency.conditions import Conditions
from trials.machine.device import environment, resolve
from trials.seeds import derive
from trials.trial import EpochPoint, Latency, LatencyProtocol, TrialJob, TrialResult, TrialState


@cache
def world() -> World:
    """What every answer is read from."""
    return table_world(load())


def answer(job: TrialJob) -> TrialOutcome:
    """What a training would have come to: the same in every process."""
    here = world()
    fidelity = min(
        (name for name in here.fidelities if name.startswith("inherit-")),
        key=lambda name: abs(int(name.rpartition("-")[2]) - job.epochs),
    )
    look = here.look(job.architecture, fidelity, job.seed, derive(1, "finals") if job.final else 1)
    result = TrialResult.of(
        job, TrialState.COMPLETE, score=look.accuracy, loss=look.loss, tempered_loss=look.loss, temperature=1.0,
        seconds=look.seconds, train_seconds=look.seconds, images_per_second=1000.0,
        correct=round(look.accuracy * here.validation_images), images=here.validation_images,
        curve=(EpochPoint(1, look.loss, 1000.0),), environment=environment(resolve("cpu")),
    )  # fmt: skip
    return TrialOutcome(result, save({}, {"architecture": job.architecture.key, "seed": str(job.seed)}))


@dataclass(frozen=True)
class Journal:
    """Where an engine says, in one line each, what it was handed and what it was told to be safe: a pipe that is read
    when its process is gone."""

    file: int | None = None

    def say(self, what: str, job: TrialJob, **more: Any) -> None:
        if self.file is None:
            return
        said = {
            "what": what, "number": job.number, "origin": job.origin, "key": job.architecture.key, "seed": job.seed,
            "epochs": job.epochs, "final": job.final, **more,
        }  # fmt: skip
        os.write(self.file, (json.dumps(said) + "\n").encode())


class Told:
    """A source of jobs that keeps a journal: `begun` before a job is run, `safe` as soon as its end was taken."""

    def __init__(self, source: JobSource, journal: Journal) -> None:
        self._source, self._journal = source, journal
        self._jobs: dict[int, TrialJob] = {}

    @property
    def finished(self) -> bool:
        return self._source.finished

    def next_job(self) -> TrialJob | None:
        job = self._source.next_job()
        if job is not None:
            self._jobs[job.number] = job
            self._journal.say("begun", job)
        return job

    def record(self, result: TrialResult, weights: bytes | None) -> None:
        self._source.record(result, weights)
        self._journal.say("safe", self._jobs[result.number], score=result.score)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


#: That of this process, set by whoever forks.
JOURNAL = Journal()


class TrainingEngine(LocalEngine):
    """The program's own engine, with a journal."""

    def run(self, plan: TrialPlan, source: JobSource) -> None:
        super().run(plan, Told(source, JOURNAL))


class AnsweringEngine:
    """One answer after the other. An `Engine`."""

    workers = 1
    on_this_cpu = True

    @classmethod
    def of(cls, config: SearchConfig, interruption: Interruption, say: Callable[[str], None]) -> Self:  # noqa: ARG003
        return cls()

    def remember(self, crashes: Crashes) -> None:
        """Nothing: there are no workers."""

    def ask(self, question: Callable[[Bench], Answer], plan: TrialPlan) -> Answer:
        raise LatencyError("there is no device to ask")

    def run(self, plan: TrialPlan, source: JobSource) -> None:
        told = Told(source, JOURNAL)
        while (job := told.next_job()) is not None:
            outcome = answer(job)
            for point in outcome.result.curve:
                told.advance(job.number, point)
            told.record(outcome.result, outcome.weights)

    @contextmanager
    def bench(self, space: SearchSpace, target: Target, protocol: LatencyProtocol) -> Iterator[DeviceBench]:
        yield AnsweringBench(space)

    def close(self) -> None:
        """Nothing to let go of."""


class AnsweringBench:
    """Latencies in proportion to multiply-adds."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space

    def device_name(self) -> str:
        return "none: answers"

    def measure(self, architecture: Architecture, nominal_reference_p50_ms: float | None) -> Measurement:
        price, baseline = world().price(architecture).macs, world().price(self._space.baseline).macs
        p50, reference = price / 1e7, baseline / 1e7
        nominal = nominal_reference_p50_ms or reference
        latency = Latency(p50, 1.1 * p50, p50, 1.1 * p50, reference, nominal, 0.01, 0.01, True, 200)
        return Measurement(architecture, latency, 0.0, Conditions(None, None, None, None))
