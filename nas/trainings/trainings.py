"""Trainings beside the trials of a search, whoever asks for them: what is wanted − what is known → engine → record.

By the same engines and the same `Bench.judge` as the trials, each recorded as soon as it has ended. What is recorded is
never trained again, so an interrupted command goes on when it is given again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Protocol

from nas.engines.engine import Engine
from nas.engines.interruption import Interruption
from nas.settings.errors import ConfigError
from nas.telling import Narrator
from nas.trainings.parent import check_parent, provide_parent
from nas.trainings.precision import in_precision, provide_precision
from nas.trainings.prepared import Prepared
from reports.noise import counted
from search_spaces.architecture import Architecture
from trials.judge import REPEAT, TrialPlan
from trials.record.training import Identity, Training
from trials.trial import EpochPoint, Failure, TrialJob, TrialResult, TrialState


@dataclass(frozen=True)
class Wanted:
    """A training that is wanted: an architecture, trained for `epochs` epochs under `seed`, from what a run's trials
    start from; a finalist's where it is `final`."""

    architecture: Architecture
    seed: int
    epochs: int
    final: bool = False

    def identity(self, start: str) -> Identity:
        """As that of the training that it becomes."""
        return self.architecture.key, self.seed, self.epochs, start


class Trainings(Protocol):
    """Keeps a training as soon as it has ended."""

    def append_training(self, training: Training) -> None: ...


class TrainingRecord(Trainings, Protocol):
    """Where trainings are kept: a run's record, or a file.

    Beside it, at `parent_path`, is what they start from, and `parent` holds its facts, None before it is made;
    `precision` is the choice of it, None before, or without, one. `start` is the name of what they start from, None
    before it is made.
    """

    @property
    def parent_path(self) -> Path: ...
    @property
    def parent(self) -> Mapping[str, object] | None: ...
    @property
    def precision(self) -> Mapping[str, object] | None: ...
    def known(self) -> tuple[Training, ...]: ...
    def keep_weights(self, training: Training, weights: bytes) -> None: ...
    def put(self, values: Mapping[str, object]) -> None: ...


def always(job: TrialJob) -> bool:
    """Where nothing is limited, a training may begin."""
    return True


class TrainingSource:
    """Hands an engine trainings that are wanted, and records what they come to.

    When all have ended it asks `more` for further ones, until that has none. What `may_begin` does not allow is never
    begun, nor what comes after it.
    """

    def __init__(
        self,
        wanted: Sequence[Wanted],
        start: str,
        prepared: Prepared,
        record: Trainings,
        ended: Callable[[Training], None],
        interruption: Interruption,
        more: Callable[[], Sequence[Wanted]] = tuple,
        numbers: Iterator[int] | None = None,
        may_begin: Callable[[TrialJob], bool] = always,
        keep: Callable[[Training, bytes], None] | None = None,
    ) -> None:
        """`numbers` of its jobs, below zero: sources that run side by side share them. `keep` is given the weights of
        each before it is recorded: what is known is never trained again, so after a kill none is known without them."""
        self._start, self._costs, self._more = start, prepared.costs, more
        self._numbers, self._over = numbers or count(-1, -1), False
        self._waiting = self._jobs(wanted)
        self._running: dict[int, TrialJob] = {}
        self._record = record
        self._ended = ended
        self._interruption = interruption
        self._may_begin = may_begin
        self._keep = keep

    def next_job(self) -> TrialJob | None:
        """The next training; None when all were handed out."""
        with self._interruption.shielded():
            if not self._waiting and not self._running and not self._over:
                self._waiting = self._jobs(self._more())
                self._over = not self._waiting
            if not self._waiting:
                return None
            if not self._may_begin(self._waiting[0]):
                self._waiting, self._over, self._more = [], True, tuple
                return None
            job = self._waiting.pop(0)
            self._running[job.number] = job
            return job

    def add(self, wanted: Sequence[Wanted]) -> None:
        """More is wanted, after what waits."""
        self._waiting += self._jobs(wanted)

    def has(self, number: int) -> bool:
        """Whether a job of that number runs, and is one of these."""
        return number in self._running

    @property
    def finished(self) -> bool:
        return not self._waiting and not self._running and (self._over or self._more is tuple)

    def advance(self, number: int, point: EpochPoint) -> None:
        """Nothing: what is told is the end of a training."""

    def record(self, result: TrialResult, weights: bytes | None) -> None:
        """A training has ended, well or not."""
        with self._interruption.shielded():
            del self._running[result.number]
            training = Training.of(result)
            if self._keep is not None and weights is not None:
                self._keep(training, weights)
            self._record.append_training(training)
            self._ended(training)

    def fail(self, number: int, failure: Failure, error: str) -> None:
        """A training's worker is gone. That is no fault of the architecture: not recorded, so tried again next time."""
        with self._interruption.shielded():
            lost = TrialResult.of(self._running.pop(number), TrialState.FAILED, failure=failure, error=error)
            self._ended(Training.of(lost))

    def _jobs(self, wanted: Sequence[Wanted]) -> list[TrialJob]:
        jobs = []
        for one in wanted:
            number = next(self._numbers)  # below zero: these are no trials of a search, beside which they may run
            costs, architecture = self._costs(one.architecture), one.architecture
            job = TrialJob(number, REPEAT, architecture, one.seed, one.epochs, costs.macs, costs.params)
            jobs.append(replace(job, start=self._start, final=one.final))
        return jobs


def missing(wanted: Iterable[Wanted], known: Iterable[Training]) -> list[Wanted]:
    """What is not known yet (what failed is: it would again), each once, the cheapest fidelity first, seed by seed.

    All that a run trains starts from the same, so that the rest of an identity tells its trainings apart.
    """
    there = {(*training.look, training.final) for training in known if training.known}
    new = {(*one.identity("")[:3], one.final): one for one in wanted}
    return sorted(
        (one for identity, one in new.items() if identity not in there), key=lambda one: (one.epochs, one.seed)
    )


def train_missing(
    wanted: Sequence[Wanted],
    prepared: Prepared,
    record: TrainingRecord,
    engine: Engine,
    narrator: Narrator,
    interruption: Interruption,
) -> None:
    """Train what `missing` returned by `engine`, recording and telling of each.

    Whatever the fidelity and the seed, under `inherit` and `supernet` all start from the weights that the trials
    started from: more epochs are a longer fine-tuning. The weights of those that a trial may yet ask for, being under
    its seed and for its epochs, are kept.

    Raises:
        ConfigError: a schedule of a single step.
        CheckpointError, ParentError: there is nothing to start from.
        Interrupted: everything that was trained is recorded.
    """
    _check_steps(wanted, prepared)
    check_parent(prepared, record.parent_path)
    plan = complete_plan(prepared.plan(), prepared, record, engine, narrator.say)
    config = prepared.config
    with narrator.counting(len(wanted)) as tell:

        def keep(training: Training, weights: bytes) -> None:
            if (training.seed, training.epochs) == (config.seed, config.training.epochs):
                record.keep_weights(training, weights)

        interruption.check()
        engine.run(plan, TrainingSource(wanted, plan.start.name, prepared, record, tell, interruption, keep=keep))


def complete_plan(
    plan: TrialPlan, prepared: Prepared, record: TrainingRecord, engine: Engine, say: Callable[[str], None]
) -> TrialPlan:
    """The plan with what all trainings of a record have in common: its precision, and what they start from, each made
    where it is missing, and recorded.

    Raises:
        CheckpointError, ParentError: there is nothing to start from.
        ConfigError: what was recorded started from other weights.
    """
    precision = provide_precision(plan, record.precision, bool(record.known()), engine, say)
    if precision is not None:
        record.put({"precision": precision})
        plan = in_precision(plan, precision)
    parent = provide_parent(prepared, plan, record.parent_path, record.parent, engine, say)
    if parent is not None:
        record.put({"parent": parent.facts.model_dump()})
        plan = replace(plan, start=parent.start)
    return plan


def _check_steps(wanted: Sequence[Wanted], prepared: Prepared) -> None:
    """As `prepare` does of a search's epochs: a schedule of a single step trains nothing."""
    steps = len(prepared.data.train) // prepared.config.training.batch_size
    for one in wanted:
        if one.epochs * steps < 2:
            raise ConfigError(
                f"{counted(one.epochs, 'epoch')} of {len(prepared.data.train)} images in batches of "
                f"{prepared.config.training.batch_size} are a single step, which trains nothing: give more epochs"
            )
