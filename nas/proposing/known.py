"""What is known already is never proposed again; what is not can be drawn from within the budgets, or near another."""

from __future__ import annotations

import random

from nas.proposing.proposer import Problem, Proposal
from search_spaces.architecture import Architecture
from trials.seeds import derive
from trials.trial import TrialResult, TrialState

#: Neighbours that are drawn at each distance beyond the first.
_DRAWN = 200


class Known:
    """The architectures of a search that were proposed, reserved or recorded."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._keys: set[str] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def has(self, architecture: Architecture) -> bool:
        """Whether it is known."""
        return architecture.key in self._keys

    def reserve(self, architecture: Architecture) -> bool:
        """Take an architecture; False when it is known already."""
        if architecture.key in self._keys:
            return False
        self._keys.add(architecture.key)
        return True

    def learn(self, result: TrialResult) -> bool:
        """Take the architecture of a result; False where it stays as unknown as any other: its trial was stopped, or
        gated by a budget that was widened since."""
        if result.state is TrialState.STOPPED:
            return False
        over = any(value > 0 for value in self._problem.pricing.violations(result).values())
        if result.state is TrialState.GATED and not over:
            return False
        self._keys.add(result.architecture.key)
        return True

    def fast_enough(self, architecture: Architecture) -> bool:
        """Whether a prediction, where there is one, lets it be trained."""
        gate, profile = self._problem.pricing.gate_ms(), self._problem.pricing.profile
        return gate is None or profile is None or profile.predict_ms(architecture) <= gate

    def within_budget(self, number: int) -> Proposal | None:
        """A random unseen architecture within the budgets that are known without measuring, and takes it."""
        rng = random.Random(derive(self._problem.seed, "random", number))
        found = self._problem.feasibility.sample(rng, lambda a: a.key not in self._keys and self.fast_enough(a))
        if found is None:
            return None
        self.reserve(found)
        return Proposal(found, "random")

    def neighbour(self, architecture: Architecture, number: int) -> Architecture | None:
        """A nearest architecture that is unknown and within the budgets: one variable changed, else some more."""
        rng, space = random.Random(derive(self._problem.seed, "near", number)), self._problem.space
        near = list(space.neighbours(architecture))
        rng.shuffle(near)
        for found in near:
            if self._wanted(found):
                return found
        variables = space.variables
        for distance in range(2, len(variables) + 1):
            for _ in range(_DRAWN):
                values = {v.name: architecture.choices[v.points[0]] for v in variables}
                for v in rng.sample(variables, distance):
                    values[v.name] = rng.choice([choice for choice in v.choices if choice != values[v.name]])
                found = space.assign(values)
                if self._wanted(found):
                    return found
        return None

    def _wanted(self, architecture: Architecture) -> bool:
        known = architecture.key in self._keys
        return not known and self._problem.feasibility(architecture) and self.fast_enough(architecture)
