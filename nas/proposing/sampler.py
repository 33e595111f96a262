"""Our samplers' common part: an Optuna sampler of whole architectures, for our `Study` as for anybody's own.

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=EHVISampler(problem))

A study has a direction for each of the problem's objectives, in their order, and its objective suggests one categorical
choice for each variable of the space, as `asked` does. Beside the values a trial may carry, as attributes
of its user, what its training was (`loss`, `tempered_loss`, `seed`, `epochs`, `start`, `images`), and as constraints
what it is over.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from nas.proposing.proposer import Problem
from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.space import SearchSpace
from trials.record.training import Training
from trials.seeds import derive
from trials.tasks.metrics import FIGURES
from trials.trial import TrialResult

#: Of a trial's user attributes: what is kept of its training.
_KEPT = ("loss", "tempered_loss", "seed", "epochs", "start", "images")
#: Trials that have ended and tell something.
TOLD = (OptunaState.COMPLETE, OptunaState.PRUNED)
#: As a constraint of its own: that a trial failed by its own fault.
FAILED = "failed"
_LEADING = {figures[0] for figures in FIGURES.values()}


def distributions_of(space: SearchSpace) -> dict[str, CategoricalDistribution]:
    """One categorical choice for each variable of a space, by the variables' names."""
    return {v.name: CategoricalDistribution([str(choice) for choice in v.choices]) for v in space.variables}


def asked(space: SearchSpace, trial: optuna.Trial) -> Architecture:
    """What a trial is of, defined by run: one categorical choice for each variable."""
    values = {name: str(trial.suggest_categorical(name, d.choices)) for name, d in distributions_of(space).items()}
    return space.assign({name: FusionChoice.parse(value) for name, value in values.items()})


def attributes_of(result: TrialResult) -> dict[str, Any]:
    """What a trial carries of its training beside its values."""
    return {name: getattr(result, name) for name in _KEPT if getattr(result, name) is not None}


@dataclass(frozen=True)
class Told:
    """An ended trial: its values where it has them, how far it is over each limit (at most 0 within), its training.

    `key` is its architecture's, `choices` the number of each variable's choice.
    """

    architecture: Architecture
    key: str
    choices: tuple[int, ...]
    values: tuple[float, ...] | None
    violations: Mapping[str, float]
    training: Training | None

    @property
    def within(self) -> bool:
        return all(value <= 0 for value in self.violations.values())


@dataclass(frozen=True)
class Seen:
    """What a study holds as a proposal is made: what was told, by number, and the architectures that still run."""

    told: tuple[Told, ...]
    running: tuple[Architecture, ...]
    keys: frozenset[str] = field(default=frozenset())


class Sampler(optuna.samplers.BaseSampler):
    """Proposes whole architectures. What it draws follows from (seed, trial number) and from what was told."""

    def __init__(self, problem: Problem, seed: int | None = None) -> None:
        self.problem = problem
        self.distributions = distributions_of(problem.space)
        self._seed = problem.seed if seed is None else seed
        #: What else is never to be proposed: what our own search has reserved, or a device profile rules out.
        self.never: Callable[[Architecture], bool] = lambda architecture: False
        self._stream: int | None = None
        self._told: dict[int, Told] = {}

    @abstractmethod
    def choose(self, seen: Seen, rng: random.Random) -> Architecture | None:
        """What to try next; None where nothing is left."""

    def known(self, architecture: Architecture, seen: Seen) -> bool:
        """Whether it is not to be proposed: it was before, here or by anything else of our own search."""
        return architecture.key in seen.keys or self.never(architecture)

    def reseed(self, stream: int) -> None:
        """The next proposal draws from this stream, whatever its number."""
        self._stream = stream

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self.distributions)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        rng = self._rng(trial)
        found = self.choose(self.seen(study, trial), rng) or self.problem.space.sample(rng)
        labels = {v.name: str(found.choices[v.points[0]]) for v in self.problem.space.variables}
        return {name: labels[name] for name in search_space}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Of what is no variable of the space: at random, where it is a choice. Raises ValueError of anything else."""
        if not isinstance(param_distribution, CategoricalDistribution):
            raise ValueError(
                f"{param_name} is no choice of {self.problem.space.name}: this sampler proposes these alone"
            )
        return random.Random(derive(self._seed, "other", param_name, trial.number)).choice(param_distribution.choices)

    def seen(self, study: optuna.Study, trial: FrozenTrial | None) -> Seen:
        """What the study holds beside `trial`, which is being sampled."""
        told, running = [], []
        for one in study.get_trials(deepcopy=False):
            if trial is not None and one.number == trial.number:
                continue
            if one.state in TOLD:
                if one.number not in self._told:
                    self._told[one.number] = self._read(one)
                told.append(self._told[one.number])
            elif one.state is OptunaState.RUNNING and len(one.params) == len(self.distributions):
                running.append(self._architecture(one))
        keys = {t.key for t in told} | {a.key for a in running}
        return Seen(tuple(told), tuple(running), frozenset(keys))

    def _rng(self, trial: FrozenTrial) -> random.Random:
        stream, self._stream = self._stream, None
        return random.Random(derive(self._seed, "trial", trial.number) if stream is None else stream)

    def _architecture(self, trial: FrozenTrial) -> Architecture:
        return self.problem.space.assign(
            {name: FusionChoice.parse(str(trial.params[name])) for name in self.distributions}
        )

    def _read(self, trial: FrozenTrial) -> Told:
        architecture, training = self._architecture(trial), None
        values = tuple(trial.values) if trial.state is OptunaState.COMPLETE else None
        if values is not None:
            place = next(i for i, name in enumerate(self.problem.objectives) if name in _LEADING)
            kept = {"seed": 0, "epochs": 1} | {k: v for k, v in trial.user_attrs.items() if k in _KEPT}
            training = Training(architecture, score=values[place], **kept)
        choices = tuple(int(d.to_internal_repr(trial.params[name])) for name, d in self.distributions.items())
        return Told(architecture, architecture.key, choices, values, dict(trial.constraints), training)


def trainings_of(told: Sequence[Told]) -> list[Training]:
    """Those of them that came to a score."""
    return [one.training for one in told if one.training is not None]
