"""What a search tells while it runs, to whoever shows it: a terminal, or nobody."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from reports.formatting import format_duration, format_percent
from reports.trial_view import TrialView
from reports.view import RunView
from trials.record.training import Training
from trials.trial import EpochPoint, TrialJob, TrialResult, TrialState


class Observer(Protocol):
    """Is told what happens, to show it."""

    def started(self, job: TrialJob) -> None: ...
    def advanced(self, number: int, point: EpochPoint) -> None: ...
    def ended(self, result: TrialResult, view: RunView) -> None: ...


class Narrator(Protocol):
    """Is told what happens in trainings beside a search."""

    def say(self, line: str) -> None: ...
    def counting(self, total: int) -> AbstractContextManager[Callable[[Training], None]]:
        """Gives what is to be called with each of `total` trainings that ends."""


class Progress(Observer, Protocol):
    """What a search tells while it runs. Used as a context manager around the search."""

    def say(self, line: str) -> None: ...
    def begin(self, view: RunView, wanted: int, epochs: int, workers: int) -> None: ...
    def __enter__(self) -> Progress: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Tally:
    """What every form of progress keeps: the run as last recorded, and the trials that run."""

    def __init__(self) -> None:
        self.view: RunView | None = None
        self.wanted = 0
        self.epochs = 1
        self.workers = 1
        self.running: dict[int, tuple[TrialJob, list[EpochPoint]]] = {}
        self._seconds: list[float] = []

    def begin(self, view: RunView, wanted: int, epochs: int, workers: int) -> None:
        self.view, self.wanted, self.epochs, self.workers = view, wanted, epochs, workers
        self._seconds = [trial.result.seconds for trial in view.complete]

    def started(self, job: TrialJob) -> None:
        self.running[job.number] = job, []

    def advanced(self, number: int, point: EpochPoint) -> None:
        if number in self.running:
            self.running[number][1].append(point)

    def ended(self, result: TrialResult, view: RunView) -> None:
        self.view = view
        self.running.pop(result.number, None)
        if result.state is TrialState.COMPLETE:
            self._seconds.append(result.seconds)

    @property
    def trained(self) -> int:
        if self.view is None:
            return 0
        return self.view.count(TrialState.COMPLETE) + self.view.count(TrialState.FAILED)

    @property
    def images_per_second(self) -> float:
        """Training throughput of all workers together, by each one's last epoch."""
        rates = [points[-1].images_per_second for _, points in self.running.values() if points]
        if rates:
            return sum(rates) / len(rates) * min(self.workers, len(self.running))
        last = [r.images_per_second for r in (self.view.results if self.view else ()) if r.images_per_second]
        return last[-1] * self.workers if last else 0.0

    @property
    def seconds_left(self) -> float | None:
        if not self._seconds:
            return None
        mean = sum(self._seconds) / len(self._seconds)
        left = self.wanted - self.trained - sum(len(p) / self.epochs for _, p in self.running.values())
        return max(0.0, left) * mean / self.workers

    def best(self) -> TrialView | None:
        front = self.view.front if self.view else ()
        return front[0] if front else None

    def summary(self) -> str:
        """Done, running, gated, failed, best, front, throughput, time left: one line."""
        view = self.view
        gated, failed = (view.count(s) if view else 0 for s in (TrialState.GATED, TrialState.FAILED))
        best = self.best()
        left = self.seconds_left
        parts = [
            f"{self.trained}/{self.wanted} trained",
            f"{len(self.running)} running",
            f"{gated} gated",
            f"{failed} failed",
            f"best {format_percent(best.result.score if best else None)}",
            f"front {len(view.front) if view else 0}",
            f"{self.images_per_second:,.0f} images/s",
            f"{format_duration(left)} left" if left is not None else "time left unknown yet",
        ]
        return " · ".join(parts)


class Silence(Tally):
    """Says nothing: for use as a library."""

    def say(self, line: str) -> None: ...

    def __enter__(self) -> Silence:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
