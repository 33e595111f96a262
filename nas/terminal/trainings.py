"""Trainings beside a search, as they end: a line each, with a bar below on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nas.terminal.console import console
from reports.formatting import format_duration, format_percent
from reports.noise import counted
from trials.budgets.feasibility import in_short
from trials.record.training import Training


class TrainingsShown:
    """A `nas.telling.Narrator` on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False)

    @contextmanager
    def counting(self, total: int) -> Iterator[Callable[[Training], None]]:
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = self._console
        with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
            task = bar.add_task("training", total=total)
            done = 0

            def ended(training: Training) -> None:
                nonlocal done
                done += 1
                bar.update(task, completed=done)
                found = training.error or f"{format_percent(training.score)}, loss {training.loss:.4f}"
                bar.console.print(
                    f"{done:>3} of {total}: {counted(training.epochs, 'epoch')}, seed {training.seed}: {found}, "
                    f"{format_duration(training.train_seconds)}  [{in_short(training.architecture)}]",
                    soft_wrap=True,
                    markup=False,  # or what stands in brackets would be taken for a style
                )

            yield ended


def narrator() -> TrainingsShown:
    """On stderr."""
    return TrainingsShown(console(stderr=True))
