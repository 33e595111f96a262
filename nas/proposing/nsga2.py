"""NSGA-II as Optuna has it, told what is over the budgets, its generations those of the record.

Source: Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE TEC 2002.
"""

from __future__ import annotations

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from nas.proposing.proposer import Problem
from nas.proposing.sampler import distributions_of
from nas.proposing.study import Study
from nas.proposing.window import Remembered
from trials.seeds import derive

#: Of a generation. Optuna's 50 would not see a second one in most searches.
POPULATION = 10


class NSGA2Sampler(optuna.samplers.NSGAIISampler):
    """An Optuna sampler of a problem's architectures. Trained trials are counted off into generations by their order,
    wherever they came from: so those of a record that is replayed are parents as any others."""

    def __init__(self, problem: Problem, seed: int | None = None) -> None:
        super().__init__(population_size=POPULATION)
        self.distributions = distributions_of(problem.space)
        self._seed = problem.seed if seed is None else seed
        self._stream: int | None = None

    def reseed(self, stream: int) -> None:
        """The next proposal draws from this stream, whatever its number."""
        self._stream = stream

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        stream, self._stream = self._stream, None
        stream = derive(self._seed, "trial", trial.number) if stream is None else stream
        self._rng.rng.seed(stream % 2**32)
        self._random_sampler._rng.rng.seed(derive(stream, "alone") % 2**32)
        super().before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {name: d for name, d in self.distributions.items() if not d.single()}

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        complete = self._complete(study)
        numbers = [one.number for one in complete]
        return (numbers.index(trial.number) if trial.number in numbers else len(numbers)) // POPULATION

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        return self._complete(study)[generation * POPULATION : (generation + 1) * POPULATION]

    def select_parent(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        return sorted(super().select_parent(study, generation), key=lambda one: one.number)  # as Optuna keeps them

    def _complete(self, study: optuna.Study) -> list[FrozenTrial]:
        return list(study.get_trials(deepcopy=False, states=(OptunaState.COMPLETE,)))


class NSGA2(Study):
    """One sampler for all proposals."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._nsga2 = NSGA2Sampler(problem)

    def storage(self) -> optuna.storages.BaseStorage:
        return Remembered()  # generations are counted from the first

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        self._nsga2.reseed(seed)
        return self._nsga2
