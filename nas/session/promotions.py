"""The rungs of a search: beside its trials, complete schedules of growing length of the most promising of them.

A promotion is a training of a trial's architecture under its seed and from the same start, for more epochs: a row of
the table of trainings, no trial. Whenever a worker is free the longest rung that is behind its share comes first, then
a trial; a rung's share of the one below is such that both take about as much. All-add comes to a rung before any other,
for the rest is held against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from nas.engines.interruption import Interruption
from nas.proposing.promotion import Promoter
from nas.session.driver import Driver, Look
from nas.settings.rungs import share
from nas.trainings.prepared import Prepared
from nas.trainings.trainings import Trainings, TrainingSource, Wanted
from reports.formatting import format_percent
from reports.noise import counted
from reports.trial_view import TrialView
from trials.record.training import Training
from trials.trial import EpochPoint, Failure, TrialJob, TrialResult


class Promotions:
    """Hands out the trials of a search, and promotions between them, until no rung is behind its share.

    What was lost with a worker is not tried again in this session; what failed by its own fault never.
    """

    def __init__(
        self,
        search: Driver,
        promoter: Promoter,
        look: Look,
        rungs: Sequence[int],
        prepared: Prepared,
        record: Trainings,
        say: Callable[[str], None],
        interruption: Interruption,
        numbers: Iterator[int],
        another: Callable[[int], bool] = lambda epochs: True,
    ) -> None:
        """`look` is a trial's; `rungs` the epochs of each, a trial's first. `another` says whether a look of so many
        epochs may be begun now; once it says no, none ever is."""
        self._another, self._refused = another, False
        self._gone = False  # whether what ends did so with its worker, which is recorded of nothing
        self._search, self._promoter, self._look, self._rungs = search, promoter, look, tuple(rungs)
        self._baseline = prepared.space.baseline
        self._say, self._interruption = say, interruption
        self._longer = TrainingSource(
            [], look.start, prepared, record, self._ended, interruption, numbers=numbers, keep=search.keep
        )
        #: By rung, what was looked at there, what was given to it, and what of that is gone with its worker, by the
        #: architectures' keys; nothing of the first rung.
        self._looked: list[dict[str, Training]] = [{} for _ in rungs]
        self._given: list[set[str]] = [set() for _ in rungs]
        self._lost: list[set[str]] = [set() for _ in rungs]
        for training in search.view.beside:
            self._note(training)

    def next_job(self) -> TrialJob | None:
        """The next promotion or trial; None when there is none, for now or for good."""
        with self._interruption.shielded():
            return self._promotion() or self._search.next_job() or self._promotion()

    @property
    def finished(self) -> bool:
        return self._search.finished and self._longer.finished and self._due() is None

    def advance(self, number: int, point: EpochPoint) -> None:
        self._of(number).advance(number, point)

    def record(self, result: TrialResult, weights: bytes | None) -> None:
        self._of(result.number).record(result, weights)

    def fail(self, number: int, failure: Failure, error: str) -> None:
        self._gone = True
        self._of(number).fail(number, failure, error)
        self._gone = False

    def _of(self, number: int) -> Driver | TrainingSource:
        return self._longer if self._longer.has(number) else self._search

    def _promotion(self) -> TrialJob | None:
        due = self._due()
        if due is None:
            return None
        rung, candidates = due
        if not self._another(self._rungs[rung]):
            self._refused = True
            return None
        base = self._search.view.baseline_trial
        if base is not None and self._baseline.key not in self._given[rung]:
            chosen = base
        else:
            chosen = self._promoter.choose(candidates, self._search.view, turn=len(self._given[rung]))
        architecture = chosen.result.architecture
        self._given[rung].add(architecture.key)
        self._longer.add([Wanted(architecture, self._look.seed, self._rungs[rung])])
        return self._longer.next_job()

    def _due(self) -> tuple[int, list[TrialView]] | None:
        """The longest rung that is behind its share, and who may be looked at there; None where none is."""
        if self._refused:
            return None
        over, below, found = self._search.finished, max(0, self._search.trained - 1), None
        for rung in range(1, len(self._rungs)):
            most = share(below, self._rungs[rung - 1], self._rungs[rung])
            behind = len(self._rivals(self._given[rung])) < (max(1, most) if over else most)
            if behind and (candidates := self._candidates(rung)):
                over, found = False, (rung, candidates)
            over = over and self._given[rung] <= self._looked[rung].keys() | self._lost[rung]
            below = len(self._rivals(self._looked[rung]))
        return found

    def _rivals(self, keys: Iterable[str]) -> set[str]:
        """Those of them that are not all-add."""
        return set(keys) - {self._baseline.key}

    def _candidates(self, rung: int) -> list[TrialView]:
        below, given = self._looked[rung - 1], self._given[rung]
        return [
            trial
            for trial in self._search.view.complete
            if trial.feasible is not False
            and (key := trial.result.architecture.key) != self._baseline.key
            and key not in given
            and trial.fails_longer is None
            and (rung == 1 or (key in below and below[key].score is not None))
        ]

    def _note(self, training: Training) -> None:
        """What a training that is recorded is to the rungs."""
        if training.known and (training.seed, training.start) == (self._look.seed, self._look.start):
            for rung in range(1, len(self._rungs)):
                if training.epochs == self._rungs[rung]:
                    self._looked[rung][training.architecture.key] = training
                    self._given[rung].add(training.architecture.key)

    def _ended(self, training: Training) -> None:
        key = training.architecture.key
        numbers = [t.result.number for t in self._search.view.complete if t.result.architecture.key == key]
        came_to = training.error or format_percent(training.score)
        self._say(f"trial {numbers[0]} again, {counted(training.epochs, 'epoch')}: {came_to}")
        if training.known and not self._gone:
            self._note(training)
            self._search.learn(training)
        else:
            self._lost[self._rungs.index(training.epochs)].add(key)
