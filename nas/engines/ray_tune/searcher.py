"""Ray Tune asks our driver, or another source of jobs, for trials, and tells it how they ended."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from nas.engines.engine import JobSource
from nas.engines.interruption import Interruption
from nas.engines.lost_workers import kernel_kills, why_lost
from trials.trial import Failure, TrialJob


class DriverSearcher(Searcher):
    """Lets Ray Tune ask our driver, or another source of jobs, for trials, and tells it how they ended."""

    def __init__(self, driver: JobSource, timeout_seconds: float | None) -> None:
        super().__init__(metric="score", mode="max")
        self._driver = driver
        self._timeout_seconds = timeout_seconds
        self._numbers: dict[str, int] = {}
        self._began: dict[str, float] = {}
        self._kernel_kills = kernel_kills()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher at the start, for a restoration that study.db makes needless."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        job: TrialJob | None = self._driver.next_job()
        if job is not None:
            self._numbers[trial_id] = job.number
            self._began[trial_id] = time.monotonic()
            return {"job": job}
        return str(Searcher.FINISHED) if self._driver.finished else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if "point" in result:
            self._driver.advance(self._numbers[trial_id], result["point"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if error or result is None:
            return  # `Watch` is told next, and knows why
        self._numbers.pop(trial_id)
        self._driver.record(result["result"], _fetch(result["weights"]))

    def lost(self, trial_id: str, reason: str) -> None:
        """The worker of a trial is gone."""
        if trial_id in self._numbers:
            before, self._kernel_kills = self._kernel_kills, kernel_kills()
            seconds = time.monotonic() - self._began[trial_id]
            failure = why_lost(reason, seconds, self._timeout_seconds, self._kernel_kills > before)
            error = f"the worker died: {reason}"
            if failure is Failure.TIMED_OUT:
                error = f"over its time limit of {self._timeout_seconds:g} s, and hung: its worker was ended"
            self._driver.fail(self._numbers.pop(trial_id), failure, error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the record of a run is study.db."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the record of a run is study.db."""


class Watch(tune.Callback):
    """Between Tune's steps: raises an interruption, and records trials whose worker died or did not start."""

    def __init__(self, searcher: DriverSearcher, interruption: Interruption) -> None:
        self._searcher = searcher
        self._interruption = interruption

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._interruption.check()

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        # Tune's own `get_error` looks where nothing is written to yet.
        path = trial.error_file
        lines = Path(path).read_text().strip().splitlines() if path and Path(path).is_file() else []
        self._searcher.lost(trial.trial_id, lines[-1].strip()[:300] if lines else "no reason given")


def _fetch(weights: ray.ObjectRef[bytes] | None) -> bytes | None:
    """The weights a worker has put into the object store; None when it died with them (the result stands)."""
    try:
        return None if weights is None else ray.get(weights)
    except ray.exceptions.RayError:
        return None
