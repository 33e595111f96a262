"""Optuna's ask and tell: what a proposer that is an Optuna sampler needs beside its sampler.

Optuna's study lives in memory and is rebuilt by replaying the record, so that budgets can change
between sessions and no trial is ever left running. Each proposal draws from a stream of its own,
derived from (seed, number, attempt): a resumed search proposes what an uninterrupted one would have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from nas.proposing.known import Known
from nas.proposing.proposer import Problem, Proposal
from nas.proposing.sampler import FAILED, TOLD, Sampler, asked, attributes_of, distributions_of
from nas.proposing.window import Window
from reports.trial_view import OBJECTIVES
from search_spaces.architecture import Architecture
from trials.record.training import OF_THE_MACHINE, Training
from trials.seeds import derive
from trials.tasks.metrics import ALL_FIGURES
from trials.trial import TrialResult, TrialState

OurSampler = TypeVar("OurSampler", bound=Sampler)
#: Proposals that the record answers (duplicates) before a neighbour of the first is taken instead; once so many
#: architectures are known that the sampler takes its time and repeats itself, one.
MAX_DUPLICATES, FEW_KNOWN = 10, 200


class Study(ABC):
    """A `Proposer` by an Optuna sampler, which a subclass gives. It samples define-by-run: one categorical choice for
    each variable of the space, in the order of `distributions`."""

    opens = False

    def __init__(self, problem: Problem) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._problem = problem
        self._known = Known(problem)
        self.distributions = distributions_of(problem.space)
        ways = {True: StudyDirection.MAXIMIZE, False: StudyDirection.MINIMIZE}
        directions = [ways[OBJECTIVES[name]] for name in problem.objectives]
        self._study = optuna.create_study(storage=self.storage(), directions=directions)
        self._asked: dict[str, optuna.Trial] = {}

    def storage(self) -> optuna.storages.BaseStorage:
        """Where its study remembers trials; by default all of them while they are few."""
        return Window()

    @abstractmethod
    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """What samples the next proposal, all that is random in it from `seed`, 32 bits."""

    def own(self, sampler: OurSampler) -> OurSampler:
        """One of our samplers, told what this search never proposes."""
        fast_enough = self._problem.candidates.fast_enough
        sampler.never = lambda architecture: self._known.has(architecture) or not fast_enough(architecture)
        return sampler

    def replay(self, results: Iterable[TrialResult]) -> None:
        for result in results:
            self._learn(result)

    def reserve(self, architecture: Architecture) -> bool:
        return self._known.reserve(architecture)

    def propose(self, number: int) -> Proposal | None:
        """What the sampler proposes; where the record answers that, what is nearest to it and unknown."""
        first: Architecture | None = None
        for attempt in range(MAX_DUPLICATES if len(self._known) < FEW_KNOWN else 1):
            self._study.sampler = self.sampler(derive(self._problem.seed, "proposal", number, attempt) % 2**32)
            trial = self._study.ask()
            architecture = asked(self._problem.space, trial)
            if self.reserve(architecture):
                self._asked[architecture.key] = trial
                return Proposal(architecture, "sampler")
            first = first or architecture
            self._study.tell(trial, state=OptunaState.FAIL)
        neighbour = None if first is None else self._known.neighbour(first, number)
        if neighbour is not None and self.reserve(neighbour):
            return Proposal(neighbour, "sampler")
        return self.propose_within_budget(number)

    def propose_within_budget(self, number: int) -> Proposal | None:
        return self._known.within_budget(number)

    @property
    def nothing_left(self) -> bool:
        return self._known.nothing_left

    def fast_enough(self, architecture: Architecture) -> bool:
        return self._problem.candidates.fast_enough(architecture)

    def tell(self, result: TrialResult) -> None:
        self._learn(result)

    def learn(self, training: Training) -> None:  # noqa: B027  # what has a model of trainings does
        """Nothing: Optuna's samplers learn from trials alone."""

    def _learn(self, result: TrialResult) -> bool:
        """Teach the sampler a result: values of a complete trial, the violation alone of a gated one, and of one that
        failed by its own fault that it did, so that what diverges is left alone. Whether it tells the sampler anything.
        """
        if not self._known.learn(result):
            return False
        found = self._problem.pricing.violations(result)
        values = self._values(result) if result.state is TrialState.COMPLETE else None
        state = OptunaState.PRUNED if result.state is TrialState.GATED else OptunaState.FAIL
        if values is not None:
            state = OptunaState.COMPLETE
        elif result.state is TrialState.FAILED and result.failure not in OF_THE_MACHINE:
            state, found = OptunaState.PRUNED, {**found, FAILED: 1.0}
        attributes = attributes_of(result)
        trial = self._asked.pop(result.architecture.key, None)
        if trial is not None:
            for metric, violation in found.items():
                trial.set_constraint(metric, violation)
            for name, value in attributes.items():
                trial.set_user_attr(name, value)
            self._study.tell(trial, values, state=state)
            return state in TOLD
        params = {v.name: str(result.architecture.choices[v.points[0]]) for v in self._problem.space.variables}
        self._study.add_trial(_ended(state, values, params, self.distributions, found, attributes))
        return state in TOLD

    def _values(self, result: TrialResult) -> list[float] | None:
        """The objectives' values, None when one of them was not measured."""
        values = []
        for name in self._problem.objectives:
            value = result.figure(name) if name in ALL_FIGURES else getattr(self._problem.pricing.costs(result), name)
            if value is None:
                return None
            values.append(float(value))
        return values


def _ended(
    state: OptunaState,
    values: list[float] | None,
    params: dict[str, Any],
    distributions: Mapping[str, BaseDistribution],
    violations: Mapping[str, float],
    attributes: dict[str, Any],
) -> FrozenTrial:
    """As `optuna.trial.create_trial`, which compares every distribution with itself, choice by choice: of thousands of
    trials that are replayed it takes a second."""
    now = datetime.now()
    trial = FrozenTrial(
        number=-1, trial_id=-1, state=state, value=None, values=values, datetime_start=now, datetime_complete=now,
        params=params, distributions=dict(distributions), user_attrs=attributes, system_attrs={},
        intermediate_values={},
    )  # fmt: skip
    for metric, violation in violations.items():
        trial.set_constraint(metric, violation)
    return trial
