"""What Optuna's sampler learns from: all trials while they are few, then the best and the most recent of them.

What a sampler does grows with the trials that it sees; so it sees at most `CAPACITY`, and below that all of them.
Which these are follows from the trials and their order alone, so that a resumed search sees what an uninterrupted one
would have.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable
from typing import Any

import moocore
import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

#: Ended trials that are shown at most, about half of them the best and half the most recent.
CAPACITY = 1_000
#: After so many more, the best are chosen anew.
_RENEWAL = 250
_SHOWN = (OptunaState.COMPLETE, OptunaState.PRUNED)


class Remembered(optuna.storages.InMemoryStorage):
    """Remembers every trial of one study, and takes those that are added to it as they are: nobody else has them, and
    their distributions are the same for all. Optuna's copies each, with all of its own."""

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        trial_id = super().create_new_trial(study_id)
        if template_trial is not None:
            template_trial.number, template_trial._trial_id = self._get_trial(trial_id).number, trial_id
            self._set_trial(trial_id, template_trial)
            self._update_cache(trial_id, study_id)
        return trial_id


class Window(Remembered):
    """Lists of the trials those that run and those in the window."""

    def __init__(self) -> None:
        super().__init__()
        self._ended: list[FrozenTrial] = []
        self._running: dict[int, FrozenTrial] = {}
        self._best: list[FrozenTrial] = []
        self._ranked = 0

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        trial_id = super().create_new_trial(study_id, template_trial)
        self._sort_in(trial_id)
        return trial_id

    def set_trial_state_values(self, trial_id: int, state: OptunaState, values: Any = None) -> bool:
        changed = super().set_trial_state_values(trial_id, state, values)
        self._sort_in(trial_id)
        return changed

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[OptunaState] | None = None
    ) -> list[FrozenTrial]:
        """Those of the window, by number, which is the order in which they were begun."""
        running = [self._get_trial(trial_id) for trial_id in self._running]
        shown = [t for t in (*self._window(study_id), *running) if states is None or t.state in states]
        shown.sort(key=lambda trial: trial.number)
        return copy.deepcopy(shown) if deepcopy else shown

    def _sort_in(self, trial_id: int) -> None:
        trial = self._get_trial(trial_id)
        self._running.pop(trial_id, None)
        if trial.state in _SHOWN:
            self._ended.append(trial)
        elif not trial.state.is_finished():
            self._running[trial_id] = trial

    def _window(self, study_id: int) -> Iterable[FrozenTrial]:
        if len(self._ended) <= CAPACITY:
            return self._ended
        due = CAPACITY + (len(self._ended) - CAPACITY) // _RENEWAL * _RENEWAL
        while self._ranked < due:
            upto = max(self._ranked + _RENEWAL, CAPACITY)
            rivals = [*self._best, *self._ended[self._ranked : upto]]
            self._best = best(rivals, CAPACITY // 2, self.get_study_directions(study_id))
            self._ranked = upto
        recent = self._ended[-CAPACITY // 2 :]
        return {trial.number: trial for trial in (*self._best, *recent)}.values()


def best(trials: list[FrozenTrial], count: int, directions: list[StudyDirection]) -> list[FrozenTrial]:
    """The best by the ranks of fronts, then those least over the budgets; the older of equals first."""
    excess = [sum(max(value, 0.0) for value in trial.constraints.values()) for trial in trials]
    complete = [i for i, trial in enumerate(trials) if trial.state is OptunaState.COMPLETE and not excess[i]]
    ranks = np.full(len(trials), np.inf)
    if complete:
        values = np.array([trials[i].values for i in complete], float)
        maximise = [direction is StudyDirection.MAXIMIZE for direction in directions]
        single = values[:, 0] * (-1 if maximise[0] else 1)
        ranks[complete] = single if len(maximise) == 1 else moocore.pareto_rank(values, maximise=maximise)
    order = sorted(range(len(trials)), key=lambda i: (ranks[i], excess[i], trials[i].number))
    return [trials[i] for i in order[:count]]


class ReusedTPE(optuna.samplers.TPESampler):
    """One sampler for all proposals, that is given the space in place of working it out from every trial."""

    def __init__(self, distributions: dict[str, BaseDistribution]) -> None:
        super().__init__(multivariate=True)
        self._fixed = dict(sorted(distributions.items()))  # in the order in which Optuna would have found them

    def reseed(self, seed: int) -> None:
        """As a new sampler with this seed would draw."""
        self._rng.rng.seed(seed)
        self._random_sampler._rng.rng.seed(seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        seen = study.get_trials(deepcopy=False, states=_SHOWN)
        return self._fixed if seen else {}
