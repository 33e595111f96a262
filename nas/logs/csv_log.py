"""`--log csv`: `log/csv/trials.csv` and `epochs.csv` in the run's folder, a line as soon as something ends."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

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
        self._logged = {(result.number, point.epoch) for result in view.results for point in result.curve}
        points = ((result.number, point) for result in view.results for point in result.curve)
        _begin(self._epochs, _EPOCHS, (_epoch(number, point) for number, point in points))
        _begin(self._trials, (*_TRIAL, view.metric, *_COSTS), (_trial(trial, view) for trial in view.trials))

    def epoch(self, number: int, point: EpochPoint) -> None:
        self._logged.add((number, point.epoch))
        _append(self._epochs, [_epoch(number, point)])

    def trial(self, trial: TrialView, view: RunView) -> None:
        number = trial.result.number
        late = [point for point in trial.result.curve if (number, point.epoch) not in self._logged]
        _append(self._epochs, [_epoch(number, point) for point in late])
        self._logged |= {(number, point.epoch) for point in late}
        _append(self._trials, [_trial(trial, view)])

    def close(self) -> None: ...


def _trial(trial: TrialView, view: RunView) -> Sequence[Any]:
    r = trial.result
    choices = " ".join(f"{point}={choice}" for point, choice in r.architecture.labels().items())
    feasible = {True: "yes", False: "no", None: ""}[trial.feasible]
    latency = None if trial.latency is None else trial.latency.p50_ms
    return (
        r.number, r.state, r.origin, r.architecture.key, choices, r.score, r.loss, r.macs, r.params, latency, feasible,
        r.seconds, r.epochs, r.seed, r.failure, r.error,
    )  # fmt: skip


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
