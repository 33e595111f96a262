"""Which of the trials that wait Ray Tune begins: as they come, but never at the cost of a worker that starts."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from nas.engines.ray_tune.searcher import DriverSearcher


class WarmFirst(FIFOScheduler):
    """Leaves the choice to Tune, which gives a warm worker to a trial that has none yet.

    `FIFOScheduler` gives it to the trial that has waited longest, and ends the worker that was starting for that one: a
    node that joins would never come to have a worker while trials elsewhere take less time than a worker's start.
    """

    def __init__(self, searcher: DriverSearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        dropped = self._searcher.crowded_out()
        for trial in tune_controller.get_trials() if dropped is not None else ():
            if trial.trial_id == dropped:
                if trial.status == Trial.PENDING:
                    # `stop_trial` alone leaves Tune expecting one with these resources, and keeping a worker for it.
                    tune_controller._unstage_trial_with_resources(trial)
                tune_controller.stop_trial(trial)
        return None
