"""Trainings beside the trials of a run, for noise and trust: by the same engines, the same `Bench.judge`, one by one.

What is recorded is never trained again, so an interrupted command goes on when it is given again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nas.engines.engine import make_engine
from nas.engines.interruption import Interruption
from nas.settings.errors import ConfigError
from nas.trainings.parent import check_parent, provide_parent
from nas.trainings.precision import in_precision, provide_precision
from nas.trainings.prepared import Prepared
from reports.formatting import format_duration, format_percent
from reports.noise import counted
from search_spaces.architecture import Architecture
from trials.budgets.feasibility import in_short
from trials.judge import REPEAT
from trials.record.repeat import Repeat
from trials.trial import EpochPoint, Failure, TrialJob, TrialResult, TrialState


@dataclass(frozen=True)
class Training:
    """What is wanted: an architecture, trained for `epochs` epochs under `seed`."""

    architecture: Architecture
    seed: int
    epochs: int

    @property
    def identity(self) -> tuple[str, int, int]:
        """As that of the repeat that it becomes."""
        return self.architecture.key, self.seed, self.epochs


class Repeats(Protocol):
    """Keeps a repeat as soon as it is trained."""

    def append_repeat(self, repeat: Repeat) -> None: ...


class RepeatRecord(Repeats, Protocol):
    """Where repeats are kept, each as soon as it is trained: a run's `Store`, or a file.

    Beside it, at `parent_path`, is what they start from, and `parent` holds its facts, None before it is made;
    `precision` is the choice of it, None before, or without, one.
    """

    @property
    def parent_path(self) -> Path: ...
    @property
    def parent(self) -> Mapping[str, Any] | None: ...
    @property
    def precision(self) -> Mapping[str, Any] | None: ...
    def known(self) -> tuple[Repeat, ...]: ...
    def put(self, values: Mapping[str, Any]) -> None: ...


class RepeatSource:
    """Hands an engine the trainings of one fidelity, and records what they come to."""

    def __init__(
        self,
        wanted: Sequence[Training],
        prepared: Prepared,
        record: Repeats,
        ended: Callable[[Repeat], None],
        interruption: Interruption,
    ) -> None:
        # Numbers below zero: these are no trials of a search, beside which they may run.
        self._waiting = [(-1 - index, training) for index, training in enumerate(wanted)]
        self._running: dict[int, tuple[Training, TrialJob]] = {}
        self._prepared = prepared
        self._record = record
        self._ended = ended
        self._interruption = interruption

    def next_job(self) -> TrialJob | None:
        """The next training; None when all were handed out."""
        with self._interruption.shielded():
            if not self._waiting:
                return None
            number, training = self._waiting.pop(0)
            costs = self._prepared.costs(training.architecture)
            job = TrialJob(number, REPEAT, training.architecture, training.seed, costs.macs, costs.params)
            self._running[number] = training, job
            return job

    @property
    def finished(self) -> bool:
        return not self._waiting and not self._running

    def advance(self, number: int, point: EpochPoint) -> None:
        """Nothing: what is told is the end of a training."""

    def record(self, result: TrialResult, weights: bytes | None) -> None:
        """A training has ended, well or not. Its weights are not kept."""
        with self._interruption.shielded():
            training, _ = self._running.pop(result.number)
            repeat = Repeat.of(result, training.epochs)
            self._record.append_repeat(repeat)
            self._ended(repeat)

    def fail(self, number: int, failure: Failure, error: str) -> None:
        """A training's worker is gone. That is no fault of the architecture: not recorded, so tried again next time."""
        with self._interruption.shielded():
            training, job = self._running.pop(number)
            self._ended(
                Repeat.of(TrialResult.of(job, TrialState.FAILED, failure=failure, error=error), training.epochs)
            )


def missing(wanted: Iterable[Training], known: Iterable[Repeat]) -> list[Training]:
    """What is not known yet (what failed is: it would again), each once, the cheapest fidelity first, seed by seed."""
    there = {repeat.identity for repeat in known}
    new = {training.identity: training for training in wanted if training.identity not in there}
    return sorted(new.values(), key=lambda training: (training.epochs, training.seed))


def train_missing(
    wanted: Sequence[Training], prepared: Prepared, record: RepeatRecord, stderr: Console, interruption: Interruption
) -> int:
    """Train what `missing` returned, one fidelity after the other, recording and telling of each; returns how many
    were trained side by side.

    Whatever the fidelity and the seed, under `inherit` and `supernet` all start from the weights that the trials
    started from: more epochs are a longer fine-tuning.

    Raises:
        ConfigError: a schedule of a single step.
        CheckpointError, ParentError: there is nothing to start from.
        Interrupted: everything that was trained is recorded.
    """
    _check_steps(wanted, prepared)
    check_parent(prepared, record.parent_path)
    plan = prepared.plan()
    engine = make_engine(prepared.config, interruption)
    try:
        say = partial(stderr.print, soft_wrap=True, markup=False)
        precision = provide_precision(plan, record.precision, bool(record.known()), engine, say)
        if precision is not None:
            record.put({"precision": precision})
            plan = in_precision(plan, precision)
        parent = provide_parent(prepared, plan, record.parent_path, record.parent, engine, say)
        if parent is not None:
            record.put({"parent": parent.facts.model_dump()})
            plan = replace(plan, start=parent.start)
        with _telling(stderr, len(wanted)) as ended:
            for epochs, some in groupby(wanted, key=lambda training: training.epochs):
                interruption.check()
                source = RepeatSource(list(some), prepared, record, ended, interruption)
                engine.run(plan.lasting(epochs), source)
    finally:
        engine.close()
    return engine.workers


def _check_steps(wanted: Sequence[Training], prepared: Prepared) -> None:
    """As `prepare` does of a search's epochs: a schedule of a single step trains nothing."""
    steps = len(prepared.data.train) // prepared.config.training.batch_size
    for training in wanted:
        if training.epochs * steps < 2:
            raise ConfigError(
                f"{counted(training.epochs, 'epoch')} of {len(prepared.data.train)} images in batches of "
                f"{prepared.config.training.batch_size} are a single step, which trains nothing: give more epochs"
            )


@contextmanager
def _telling(stderr: Console, total: int) -> Iterator[Callable[[Repeat], None]]:
    """Tell of each training that ends, with a bar below on a terminal."""
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as bar:
        task = bar.add_task("training", total=total)
        done = 0

        def ended(repeat: Repeat) -> None:
            nonlocal done
            done += 1
            bar.update(task, completed=done)
            found = repeat.error or f"{format_percent(repeat.score)}, loss {repeat.loss:.4f}"
            bar.console.print(
                f"{done:>3} of {total}: {counted(repeat.epochs, 'epoch')}, seed {repeat.seed}: {found}, "
                f"{format_duration(repeat.train_seconds)}  [{in_short(repeat.architecture)}]",
                soft_wrap=True,
                markup=False,  # or what stands in brackets would be taken for a style
            )

        yield ended
