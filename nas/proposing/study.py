"""What to try next: Optuna proposes, the record answers what is known already.

Optuna's study lives in memory and is rebuilt by replaying the record, so that budgets can change
between sessions and no trial is ever left running. Each proposal draws from a stream of its own,
derived from (seed, number, attempt): a resumed search proposes what an uninterrupted one would have.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState as OptunaState

from nas.proposing.window import ReusedTPE, Window
from reports.view import OBJECTIVES
from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.space import SearchSpace
from trials.budgets.feasibility import Feasibility
from trials.budgets.pricing import Pricing
from trials.seeds import derive
from trials.tasks.metrics import ALL_FIGURES
from trials.trial import TrialResult, TrialState

#: Proposals that the record answers (duplicates) before a neighbour of the first is taken instead; once so many
#: architectures are known that the sampler takes its time and repeats itself, one.
MAX_DUPLICATES, FEW_KNOWN = 10, 200
#: Neighbours that are drawn at each distance beyond the first.
_DRAWN = 200


@dataclass(frozen=True)
class Proposal:
    """What to try, and why: origin is `sampler` or `random`."""

    architecture: Architecture
    origin: str


class Study:
    """Proposes architectures of one space under the budgets; told every result, replayed or new."""

    def __init__(
        self,
        space: SearchSpace,
        feasibility: Feasibility,
        pricing: Pricing,
        objectives: tuple[str, ...],
        sampler: str,
        seed: int,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._feasibility = feasibility
        self._pricing = pricing
        self._objectives = objectives
        self._sampler = sampler
        self._seed = seed
        self._distributions = {
            variable.name: CategoricalDistribution([str(choice) for choice in variable.choices])
            for variable in space.variables
        }
        self._tpe = ReusedTPE(dict(self._distributions))
        self._study = optuna.create_study(
            storage=Window(), sampler=self._tpe,
            directions=["maximize" if OBJECTIVES[name] else "minimize" for name in objectives],
        )  # fmt: skip
        self._asked: dict[str, optuna.Trial] = {}
        self._known: set[str] = set()

    def replay(self, results: Iterable[TrialResult]) -> None:
        """Tell recorded results, in the order of their numbers."""
        for result in results:
            self.tell(result)

    def reserve(self, architecture: Architecture) -> bool:
        """Take an architecture that was not proposed here (a control); False when it is known already."""
        if architecture.key in self._known:
            return False
        self._known.add(architecture.key)
        return True

    def propose(self, number: int) -> Proposal | None:
        """An architecture that was neither proposed nor recorded before; None when there is none left."""
        first: Architecture | None = None
        attempts = MAX_DUPLICATES if len(self._known) < FEW_KNOWN else 1
        for attempt in range(attempts if self._sampler == "tpe" else 0):
            trial = self._ask(derive(self._seed, "proposal", number, attempt))
            values = {name: str(trial.suggest_categorical(name, d.choices)) for name, d in self._distributions.items()}
            architecture = self._space.assign({name: FusionChoice.parse(value) for name, value in values.items()})
            if self.reserve(architecture):
                self._asked[architecture.key] = trial
                return Proposal(architecture, "sampler")
            first = first or architecture
            self._study.tell(trial, state=OptunaState.FAIL)
        neighbour = None if first is None else self._neighbour(first, random.Random(derive(self._seed, "near", number)))
        if neighbour is not None and self.reserve(neighbour):
            return Proposal(neighbour, "sampler")
        return self.propose_within_budget(number)

    def _neighbour(self, architecture: Architecture, rng: random.Random) -> Architecture | None:
        """A nearest architecture that is unknown and within the budgets: one variable changed, else some more."""
        near = list(self._space.neighbours(architecture))
        rng.shuffle(near)
        for found in near:
            if self._wanted(found):
                return found
        variables = self._space.variables
        for distance in range(2, len(variables) + 1):
            for _ in range(_DRAWN):
                values = {v.name: architecture.choices[v.points[0]] for v in variables}
                for v in rng.sample(variables, distance):
                    values[v.name] = rng.choice([choice for choice in v.choices if choice != values[v.name]])
                found = self._space.assign(values)
                if self._wanted(found):
                    return found
        return None

    def _wanted(self, architecture: Architecture) -> bool:
        return (
            architecture.key not in self._known and self._feasibility(architecture) and self.fast_enough(architecture)
        )

    def propose_within_budget(self, number: int) -> Proposal | None:
        """A random unseen architecture within the budgets that are known without measuring."""
        rng = random.Random(derive(self._seed, "random", number))
        architecture = self._feasibility.sample(rng, lambda a: a.key not in self._known and self.fast_enough(a))
        if architecture is None:
            return None
        self.reserve(architecture)
        return Proposal(architecture, "random")

    def fast_enough(self, architecture: Architecture) -> bool:
        """Whether a prediction, where there is one, lets it be trained."""
        gate, profile = self._pricing.gate_ms(), self._pricing.profile
        return gate is None or profile is None or profile.predict_ms(architecture) <= gate

    def tell(self, result: TrialResult) -> None:
        """Teach the sampler a result: values of a complete trial, the violation alone of a gated one."""
        if result.state is TrialState.STOPPED:
            return
        found = self._pricing.violations(result)
        if result.state is TrialState.GATED and all(value <= 0 for value in found.values()):
            return  # a wider budget has made it feasible: it is as unknown as any other
        self._known.add(result.architecture.key)
        trial = self._asked.pop(result.architecture.key, None)
        values = self._values(result)
        state = {TrialState.COMPLETE: OptunaState.COMPLETE, TrialState.GATED: OptunaState.PRUNED}.get(
            result.state, OptunaState.FAIL
        )
        if state is OptunaState.COMPLETE and values is None:
            state = OptunaState.FAIL
        if trial is not None:
            for metric, violation in found.items():
                trial.set_constraint(metric, violation)
            self._study.tell(trial, values if state is OptunaState.COMPLETE else None, state=state)
            return
        self._study.add_trial(
            optuna.trial.create_trial(
                state=state,
                values=values if state is OptunaState.COMPLETE else None,
                params={v.name: str(result.architecture.choices[v.points[0]]) for v in self._space.variables},
                distributions=dict(self._distributions),
                constraints=found,
            )
        )

    def _ask(self, seed: int) -> optuna.Trial:
        self._tpe.reseed(seed % 2**32)
        return self._study.ask()

    def _values(self, result: TrialResult) -> list[float] | None:
        """The objectives' values, None when one of them was not measured."""
        values = []
        for name in self._objectives:
            value = result.figure(name) if name in ALL_FIGURES else getattr(self._pricing.costs(result), name)
            if value is None:
                return None
            values.append(float(value))
        return values
