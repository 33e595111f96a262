"""A log of trials in the form of some tool, and the progress that keeps logs beside showing itself.

A log that cannot be written is said once, and is not written any more: it ends no search.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Protocol

from nas.registry import LOGS, load
from nas.settings.errors import ConfigError
from nas.telling import Progress
from reports.trial_view import TrialView
from reports.view import RunView
from trials.trial import EpochPoint, TrialJob, TrialResult

#: In a run's folder: where logs are.
LOG_NAME = "log"
#: What the logs need that is not a part of this package.
_PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow"}


class Log(Protocol):
    """Made with the folder that is its own in a run, and the run as it is then: of that each trial that is over is to
    be in it once, whether an earlier session has logged it or not. Then it is told the epochs of a trial, each once,
    and the trial when it is over."""

    def __init__(self, folder: Path, view: RunView) -> None: ...
    def epoch(self, number: int, point: EpochPoint) -> None: ...
    def trial(self, trial: TrialView, view: RunView) -> None: ...
    def close(self) -> None: ...


def check_logs(names: Sequence[str]) -> None:
    """Raises ConfigError where the package of one of these logs is missing."""
    for name in names:
        package = _PACKAGES.get(name)
        if package is not None and find_spec(package) is None:
            raise ConfigError(f"--log {name} needs the package {package}: pip install {package}, or --log csv")


class Logged:
    """A progress beside which logs of these names are kept, from when the run is there. Raises as `check_logs`."""

    def __init__(self, progress: Progress, names: Sequence[str]) -> None:
        check_logs(names)
        self._progress, self._names = progress, tuple(names)
        self._logs: dict[str, Log] = {}
        self._made = False
        self._epochs: dict[int, set[int]] = {}  # of trials under way, those that were told

    def say(self, line: str) -> None:
        self._progress.say(line)

    def begin(self, view: RunView, wanted: int, epochs: int, workers: int) -> None:
        self._progress.begin(view, wanted, epochs, workers)
        if self._made:  # the plan has changed
            return
        self._made = True
        for name in self._names:
            self._try(name, partial(self._open, name, view))

    def _open(self, name: str, view: RunView) -> None:
        folder = view.path / LOG_NAME / name
        folder.mkdir(parents=True, exist_ok=True)
        self._logs[name] = load(LOGS[name])(folder, view)

    def started(self, job: TrialJob) -> None:
        self._progress.started(job)

    def advanced(self, number: int, point: EpochPoint) -> None:
        self._progress.advanced(number, point)
        self._log_epoch(number, point)

    def _log_epoch(self, number: int, point: EpochPoint) -> None:
        told = self._epochs.setdefault(number, set())
        if point.epoch in told:  # its worker was lost, and it was begun again
            return
        told.add(point.epoch)
        for name, log in tuple(self._logs.items()):
            self._try(name, partial(log.epoch, number, point))

    def ended(self, result: TrialResult, view: RunView) -> None:
        self._progress.ended(result, view)
        for point in result.curve if result.over else ():
            self._log_epoch(result.number, point)
        self._epochs.pop(result.number, None)
        if not self._logs or not result.over:
            return
        trial = view.trials[bisect_left(view.trials, result.number, key=lambda one: one.result.number)]
        for name, log in tuple(self._logs.items()):
            self._try(name, partial(log.trial, trial, view))

    def __enter__(self) -> Logged:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, log in tuple(self._logs.items()):
            self._try(name, log.close)
        self._progress.__exit__(kind, error, trace)

    def _try(self, name: str, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # a full disk, a server that is gone: the search goes on
            self._logs.pop(name, None)
            said = " ".join(str(error).split())[:200]
            self.say(f"--log {name}: nothing more is logged ({type(error).__name__}: {said}); the search goes on")
