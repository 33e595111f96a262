"""Live progress on stderr: a table on a terminal, plain lines where it is piped."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reports.formatting import format_count, format_duration, format_percent
from reports.latency import latency_label
from reports.view import RunView, TrialView
from trials.repeat import Repeat
from trials.trial import EpochPoint, TrialJob, TrialResult, TrialState


class Progress(Protocol):
    """What a search tells while it runs. Used as a context manager around the search."""

    def say(self, line: str) -> None: ...
    def begin(self, view: RunView, wanted: int, epochs: int, workers: int) -> None: ...
    def started(self, job: TrialJob) -> None: ...
    def advanced(self, number: int, point: EpochPoint) -> None: ...
    def ended(self, result: TrialResult, view: RunView) -> None: ...
    def __enter__(self) -> Progress: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Tally:
    """What both forms of progress keep: the run as last recorded, and the trials that run."""

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


def choices_text(job: TrialJob | TrialResult | Repeat) -> str:
    """The choices in forward order; equal ones in a row are counted: `add x3, aff/4`."""
    runs: list[tuple[str, int]] = []
    for label in job.architecture.labels().values():
        if runs and runs[-1][0] == label:
            runs[-1] = label, runs[-1][1] + 1
        else:
            runs.append((label, 1))
    return ", ".join(label if count == 1 else f"{label} x{count}" for label, count in runs)


def result_text(result: TrialResult, view: RunView) -> str:
    """How a trial ended, in one line."""
    head = f"trial {result.number:>3} {result.state:<8}"
    trial = next(t for t in view.trials if t.result.number == result.number)
    costs = f"{format_count(result.macs)} FLOPs"
    if trial.latency is not None:
        costs += f"  {latency_label(trial.latency)}"
    if result.state is TrialState.COMPLETE:
        mark = "  over budget" if trial.feasible is False else ""
        body = f"{format_percent(result.score)}  {costs}  {format_duration(result.seconds)}{mark}"
    elif result.state is TrialState.GATED:
        over = ", ".join(f"{metric} {value:+.1%}" for metric, value in trial.violations.items() if value > 0)
        body = f"{costs}  over budget: {over}, not trained"
    else:
        body = f"{costs}  {result.error}"
    return f"{head}  {body}  [{choices_text(result)}]"


class PlainProgress(_Tally):
    """One line when a trial ends, for pipes and logs."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def ended(self, result: TrialResult, view: RunView) -> None:
        super().ended(result, view)
        self.say(result_text(result, view))
        if result.state is not TrialState.GATED:
            self.say(f"          {self.summary()}")

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put away."""


class LiveProgress(_Tally):
    """A table that is redrawn in place, ended trials scrolling above it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._began = time.monotonic()
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=4, transient=True)

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False)

    def ended(self, result: TrialResult, view: RunView) -> None:
        super().ended(result, view)
        styles = {TrialState.FAILED: "red", TrialState.GATED: "bright_black"}
        self._console.print(Text(result_text(result, view), style=styles.get(result.state, "")))

    def _draw(self) -> Group:
        if self.view is None:
            return Group()
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name in ("running", "epoch", "loss", "images/s", "FLOPs", "choices"):
            table.add_column(name, header_style="bright_black", justify="left" if name == "choices" else "right")
        for number, (job, points) in sorted(self.running.items()):
            last = points[-1] if points else None
            table.add_row(
                str(number),
                f"{len(points)}/{self.epochs}",
                f"{last.train_loss:.3f}" if last else "",
                f"{last.images_per_second:,.0f}" if last else "",
                format_count(job.macs),
                choices_text(job),
            )
        done = self.trained + sum(len(points) / self.epochs for _, points in self.running.values())
        bar = Table.grid()  # on a line of its own: a bar ends without one
        bar.add_row(ProgressBar(total=self.wanted, completed=done, width=60))
        elapsed = format_duration(time.monotonic() - self._began)
        waiting = Text("waiting for workers to start" if not self.running and done < self.wanted else "")
        return Group(table if self.running else waiting, bar, Text(f"{self.summary()} · {elapsed} gone"))

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


class Silence(_Tally):
    """Says nothing: for use as a library."""

    def say(self, line: str) -> None: ...

    def __enter__(self) -> Silence:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def progress_on(console: Console) -> Progress:
    """Live on a terminal, lines elsewhere."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)
