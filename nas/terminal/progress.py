"""Live progress on stderr: a table on a terminal, plain lines where it is piped."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.telling import Progress, Tally
from reports.budgets import missed_text
from reports.formatting import format_count, format_duration, format_percent
from reports.latency import latency_label
from reports.lines import choices_text
from reports.view import RunView
from trials.trial import TrialResult, TrialState


def result_text(result: TrialResult, view: RunView) -> str:
    """How a trial ended, in one line."""
    head = f"trial {result.number:>3} {result.state:<8}"
    trial = next(t for t in view.trials if t.result.number == result.number)
    costs = f"{format_count(result.macs)} FLOPs"
    if trial.latency is not None:
        costs += f"  {latency_label(trial.latency)}"
    if result.state is TrialState.COMPLETE:
        mark = "" if trial.feasible is None else f"  {missed_text(trial)}".rstrip()
        body = f"{format_percent(result.score)}  {costs}  {format_duration(result.seconds)}{mark}"
    elif result.state is TrialState.GATED:
        over = ", ".join(f"{metric} {value:+.1%}" for metric, value in trial.violations.items() if value > 0)
        body = f"{costs}  over budget: {over}, not trained"
    else:
        body = f"{costs}  {result.error}"
    return f"{head}  {body}  [{choices_text(result.architecture)}]"


class PlainProgress(Tally):
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


class LiveProgress(Tally):
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
                choices_text(job.architecture),
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


def progress_on(console: Console) -> Progress:
    """Live on a terminal, lines elsewhere."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)
