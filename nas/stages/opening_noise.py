"""The opening of a search: within its first trials, how much its scores depend on the seed.

The baseline and the first control that is within the budgets are trained under further seeds, between the trials, by
the same workers. They tell a sampler with a model of trainings of the noise too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from nas.engines.engine import JobSource
from nas.engines.interruption import Interruption
from nas.proposing.controls import first_controls
from nas.trainings.prepared import Prepared
from nas.trainings.trainings import TrainingSource, Wanted, always, missing
from reports.formatting import format_percent
from reports.lines import choices_text
from reports.view import RunView
from trials.record.store import Store
from trials.record.training import Training
from trials.trial import EpochPoint, Failure, TrialJob, TrialResult

#: Trials that are handed out before the repeats: the two that are repeated.
_FIRST = 2


def repeats(prepared: Prepared, view: RunView) -> list[Wanted]:
    """The trainings that the noise of a search is known from, those that it has not."""
    config = prepared.config
    pair = [architecture for _, architecture in first_controls(prepared.space, prepared.feasibility)]
    seeds = [(config.seed + k) % 2**63 for k in range(1, config.seeds_for_noise)]
    wanted = [Wanted(architecture, seed, config.training.epochs) for seed in seeds for architecture in pair]
    return missing(wanted, view.trainings)


def with_noise(
    search: JobSource,
    todo: Sequence[Wanted],
    prepared: Prepared,
    store: Store,
    start: str,
    say: Callable[[str], None],
    interruption: Interruption,
    learn: Callable[[Training], None],
    numbers: Iterator[int],
    may_begin: Callable[[TrialJob], bool] = always,
    handed_out: int = 0,
) -> JobSource:
    """The search, with the trainings `todo` between its jobs; it alone where there are none. `learn` is called with
    each; `numbers` are those of their jobs; `handed_out` counts the trials of earlier sessions."""
    if not todo:
        return search

    def ended(training: Training) -> None:
        found = training.error or f"{format_percent(training.score)}"
        say(f"noise, seed {training.seed}: {found}  [{choices_text(training.architecture)}]")
        if training.known:
            learn(training)

    source = TrainingSource(
        todo, start, prepared, store, ended, interruption, numbers=numbers, may_begin=may_begin
    )  # fmt: skip
    return Opening(search, source, handed_out)


class Opening:
    """Hands out two trials of the search, then the repeats, then the rest of the search."""

    def __init__(self, search: JobSource, repeats: TrainingSource, handed_out: int = 0) -> None:
        """`handed_out`: trials that ended in earlier sessions."""
        self._search, self._repeats = search, repeats
        self._handed_out = handed_out

    def next_job(self) -> TrialJob | None:
        """The next trial or repeat; None when there is none, for now or for good."""
        job = self._repeats.next_job() if self._handed_out >= _FIRST else None
        if job is None:
            job = self._search.next_job()
            self._handed_out += 1
        return job or self._repeats.next_job()  # a search that ends at once is repeated all the same

    @property
    def finished(self) -> bool:
        return self._search.finished and self._repeats.finished

    def advance(self, number: int, point: EpochPoint) -> None:
        self._of(number).advance(number, point)

    def record(self, result: TrialResult, weights: bytes | None) -> None:
        self._of(result.number).record(result, weights)

    def fail(self, number: int, failure: Failure, error: str) -> None:
        self._of(number).fail(number, failure, error)

    def _of(self, number: int) -> JobSource:
        return self._repeats if self._repeats.has(number) else self._search
