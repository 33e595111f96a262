"""What every log has of a trial, and which trials it has already."""

from __future__ import annotations

from pathlib import Path

from reports.trial_view import TrialView
from reports.view import RunView

_NAME = "logged.txt"


def figures_of(trial: TrialView, view: RunView) -> dict[str, float]:
    """By the names that all logs use: the task's leading figure by its own, costs with their units; not those that it
    has none of."""
    result = trial.result
    found = {
        view.metric: result.score, "loss": result.loss, "macs": result.macs, "params": result.params,
        "latency_ms": None if trial.latency is None else trial.latency.p50_ms, "seconds": result.seconds,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


class Numbers:
    """Those of the trials that a log has, a line each in a file of its folder: what was logged is not logged again by
    a later session, and what was recorded while the log failed is."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _NAME
        there = self._file.read_text(encoding="utf-8").splitlines() if self._file.is_file() else ()
        self._there = {int(line) for line in there if line.isdecimal()}

    def __contains__(self, number: int) -> bool:
        return number in self._there

    def add(self, number: int) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{number}\n")
        self._there.add(number)
