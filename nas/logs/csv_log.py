"""`--log csv`: `log/csv/trials.csv` and `epochs.csv` in the run's folder, a line as soon as something ends."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nas.logs.figures import figures_of
from reports.trial_view import TrialView
from reports.view import RunView
from trials.trial import EpochPoint
from trials.whole_files import write_whole

_EPOCHS = ("trial", "epoch", "train_loss", "images_per_second")
_TRIAL = ("trial", "state", "origin", "key", "choices")
_COSTS = ("loss", "macs", "params", "latency_ms", "feasible", "seconds", "epochs", "seed", "failure", "error")


class CsvLog:
    """What the record has is written anew when a session begins: each trial and epoch is there once."""

    def __init__(self, folder: Path, view: RunView) -> None:
        self._trials, self._epochs = folder / "trials.csv", folder / "epochs.csv"
        over = [trial for trial in view.trials if trial.result.over]
        points = ((trial.result.number, point) for trial in over for point in trial.result.curve)
        _begin(self._epochs, _EPOCHS, (_epoch(number, point) for number, point in points))
        _begin(self._trials, (*_TRIAL, view.metric, *_COSTS), (_trial(trial, view) for trial in over))

    def epoch(self, number: int, point: EpochPoint) -> None:
        _append(self._epochs, [_epoch(number, point)])

    def trial(self, trial: TrialView, view: RunView) -> None:
        _append(self._trials, [_trial(trial, view)])

    def close(self) -> None: ...


def _trial(trial: TrialView, view: RunView) -> Sequence[Any]:
    r = trial.result
    found = figures_of(trial, view) | {
        "feasible": {True: "yes", False: "no", None: ""}[trial.feasible], "epochs": r.epochs, "seed": r.seed,
        "failure": r.failure, "error": r.error,
    }  # fmt: skip
    choices = " ".join(f"{point}={choice}" for point, choice in r.architecture.labels().items())
    known = (found.get(name) for name in (view.metric, *_COSTS))
    return r.number, r.state, r.origin, r.architecture.key, choices, *known


def _epoch(number: int, point: EpochPoint) -> Sequence[Any]:
    return number, point.epoch, point.train_loss, point.images_per_second


def _begin(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    write_whole(path, _text([names, *rows]))


def _append(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(_text(rows))


def _text(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
