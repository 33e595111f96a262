"""Ray Tune asks our driver, or another source of jobs, for trials, and is watched for how they end.

Tune swallows what its searcher raises at a trial's end, and keeps what a trial's last step returned for as long as it
runs. So `Watch` tells of the end of a trial, and takes the result out of Tune's hands; and what our driver raises is
held until Tune can be ended by it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from nas.engines.interruption import Interruption
from nas.engines.lost_workers import kernel_kills, node_died, why_lost
from nas.engines.ray_tune.actors import Begun, Broken
from nas.engines.ray_tune.cluster import Needs
from nas.engines.retrying import Attempt, Place, Retrying
from trials.trial import Failure, TrialJob, TrialResult

#: Seconds beyond twice its time limit after which a worker is ended that does not end itself, as one that was stopped
#: cannot. What it waits for others on its machine does not count for the limit, and is not known here.
HUNG_AFTER_S = 60.0


class Stuck(Exception):
    """Ray Tune waits for nodes that are there no more."""


class DriverSearcher(Searcher):
    """Hands Ray Tune the jobs of a source, and tells it what became of them. `failure` is what telling it raised: from
    then on it is told nothing, and no job begins."""

    def __init__(self, source: Retrying, needs: Needs, most: int) -> None:
        """It hands out `most` jobs, and says then that it has finished."""
        super().__init__(metric="score", mode="max")
        self._source, self._needs, self._left = source, needs, most
        self._jobs: dict[str, TrialJob] = {}
        #: When each began, where, and how many processes this machine's kernel had killed for memory by then.
        self._begun: dict[str, tuple[float, Begun, int]] = {}
        self._kernel_kills = 0  # those that were found to be a worker's
        self.failure: BaseException | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher at the start, for a restoration that study.db makes needless."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        if not self._left:
            return str(Searcher.FINISHED)
        attempts: list[Attempt | None] = []
        self._telling(lambda: attempts.append(self._source.next_attempt(self._needs.room())))
        if self.failure is not None:
            return str(Searcher.FINISHED)
        (attempt,) = attempts
        if attempt is None:
            return str(Searcher.FINISHED) if self._source.finished else None
        self._left -= 1
        self._jobs[trial_id] = attempt.job
        return {"job": attempt.job, "bundle": self._needs.bundle(attempt), "avoided": list(attempt.avoided)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: `Watch` is told too, and hears more."""

    def told(self, trial_id: str, result: dict[str, Any]) -> None:
        """A step of a trial has ended; what it holds is taken out of `result`."""
        begun, point, outcome, broken = (result.pop(name, None) for name in ("begun", "point", "result", "broken"))
        weights = result.pop("weights", None)
        if trial_id not in self._jobs:
            return
        if isinstance(begun, Begun):
            self._begun[trial_id] = time.monotonic(), begun, kernel_kills()
            self._telling(lambda: self._source.begun(self._jobs[trial_id].number, begun.place))
        elif isinstance(broken, Broken):
            self._lost_to(broken.place, self._forget(trial_id).number, f"no worker can be had: {broken.reason}")
        elif point is not None:
            self._telling(lambda: self._source.advance(self._jobs[trial_id].number, point))
        elif isinstance(outcome, TrialResult):
            self._forget(trial_id)
            self._telling(lambda: self._source.record(outcome, _fetch(weights)))

    def lost(self, trial_id: str, reason: str, address: str | None) -> None:
        """The worker of a trial is gone, at that address where Ray says so."""
        place = None if address is None or trial_id in self._begun else self._needs.place_at(address)
        if trial_id in self._jobs and place is not None:
            self._lost_to(place, self._forget(trial_id).number, f"the worker died before it had begun: {reason}")
        elif trial_id in self._jobs:
            began, begun, kills = self._begun.get(trial_id, (time.monotonic(), None, 0))
            seconds, limit = time.monotonic() - began, None if begun is None else begun.limit_seconds
            for_memory = begun is not None and self._killed_for_memory(begun.place, kills)
            failure = why_lost(reason, seconds, limit, for_memory)
            error = f"the worker died: {reason}"
            if failure is Failure.TIMED_OUT:
                error = f"over its time limit of {limit:g} s, and hung: its worker was ended"
            number = self._forget(trial_id).number
            self._telling(lambda: self._source.lost(number, failure, error, node_died(reason)))

    def _killed_for_memory(self, place: Place, before: int) -> bool:
        """Whether the kernel has killed for memory there since a trial began, and that was no other worker: it is asked
        on this machine alone, whose count says nothing of the workers of others."""
        if not self._needs.is_here(place):
            return False
        before, self._kernel_kills = max(before, self._kernel_kills), kernel_kills()
        return self._kernel_kills > before

    def crowded_out(self) -> str | None:
        """A trial that Tune is to drop, for it has waited in vain for a device to itself: its job comes anew."""
        numbers: list[int | None] = [None]
        self._telling(lambda: numbers.append(self._source.crowded_out()))
        dropped = next((trial_id for trial_id, job in self._jobs.items() if job.number == numbers[-1]), None)
        if dropped is not None:
            self._forget(dropped)
        return dropped

    def look(self) -> None:
        """See whether a worker hangs that does not end itself, and which devices are to be set aside; and whether all
        that waits does so in vain, while there are nodes: `failure` is Stuck then."""
        for trial_id, (began, begun, kills) in self._begun.items():
            may_take = math.inf if begun.limit_seconds is None else 2 * begun.limit_seconds + HUNG_AFTER_S
            if begun.worker is not None and time.monotonic() - began > may_take:
                ray.kill(begun.worker)  # Tune will say that it is lost
                self._begun[trial_id] = began, replace(begun, worker=None), kills
        for place in self._needs.set_aside(self._source.sick):
            self._source.set_aside(place)
        if self._needs.room() and self._source.stuck(self._needs.fits):
            self.failure = self.failure or Stuck()

    def _lost_to(self, place: Place, number: int, error: str) -> None:
        """To a node on which nothing begins."""
        self._telling(lambda: self._source.begun(number, place))
        self._telling(lambda: self._source.lost(number, Failure.WORKER_LOST, error, True))

    def _forget(self, trial_id: str) -> TrialJob:
        self._begun.pop(trial_id, None)
        return self._jobs.pop(trial_id)

    def _telling(self, tell: Callable[[], None]) -> None:
        if self.failure is None:
            try:
                tell()
            except BaseException as error:  # whatever it is: raised where Tune does not swallow it
                self.failure = error

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the record of a run is study.db."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the record of a run is study.db."""


class Watch(tune.Callback):
    """Between Tune's steps: raises an interruption and what the driver raised, and tells it of what workers did."""

    def __init__(self, searcher: DriverSearcher, interruption: Interruption) -> None:
        self._searcher = searcher
        self._interruption = interruption

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._interruption.check()
        self._searcher.look()
        if self._searcher.failure is not None:
            raise self._searcher.failure

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._searcher.told(trial.trial_id, result)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        # Tune's own `get_error` looks where nothing is written to yet.
        path = trial.error_file
        lines = Path(path).read_text().strip().splitlines() if path and Path(path).is_file() else []
        addresses = [line.split()[1] for line in lines if line.strip().startswith("ip: ")]
        self._searcher.lost(trial.trial_id, _reason(lines), addresses[-1] if addresses else None)


def _reason(lines: list[str]) -> str:
    """What Ray says of a worker's end: its last lines, which name the node where that has died."""
    text = next((line for line in reversed(lines) if "its node has died" in line), lines[-1] if lines else "")
    return text.strip()[:300] or "no reason given"


def _fetch(weights: ray.ObjectRef[bytes] | None) -> bytes | None:
    """The weights a worker has put into the object store; None when it died with them (the result stands)."""
    try:
        return None if weights is None else ray.get(weights)
    except ray.exceptions.RayError:
        return None
