"""What is known already is never proposed again; what is not can be drawn from within the budgets, or near another."""

from __future__ import annotations

import random

from nas.proposing.proposer import Problem, Proposal
from search_spaces.architecture import Architecture
from trials.seeds import derive
from trials.trial import TrialResult, TrialState

#: Neighbours that are drawn at each distance beyond the first; one-point changes of what is within a measured latency.
_DRAWN, _CHANGED = 200, 1_000
#: So many in a row turned out to be too slow, measured: the next random ones are near what was not.
_FRUITLESS = 10


class Known:
    """The architectures of a search that were proposed, reserved or recorded."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._keys: set[str] = set()
        #: What was trained within the budgets, and how many in a row were measured to be over the latency's since.
        self._passed: list[Architecture] = []
        self._too_slow = 0

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
        if result.trained:
            self._too_slow = 0
            self._passed += [] if over else [result.architecture]
        elif result.latency is not None:
            self._too_slow += over
        if result.state is TrialState.GATED and not over:
            return False
        self._keys.add(result.architecture.key)
        return True

    def within_budget(self, number: int) -> Proposal | None:
        """A random unseen architecture within the budgets that are known without measuring, and takes it.

        Where latencies are measured before training, and those at random turn out to be too slow, it is a one-point
        change of one that was not: None where all of these were tried.
        """
        rng = random.Random(derive(self._problem.seed, "random", number))
        if self._problem.candidates.measured_first and self._too_slow >= _FRUITLESS:
            found = self._changed(rng)
        else:
            found = self._problem.candidates.sample(rng, lambda a: a.key not in self._keys)
        if found is None:
            return None
        self.reserve(found)
        return Proposal(found, "random")

    @property
    def nothing_left(self) -> bool:
        """Whether it is proven that no unseen architecture is within the budgets."""
        return self._problem.candidates.nothing_left(lambda a: a.key not in self._keys)

    def _changed(self, rng: random.Random) -> Architecture | None:
        """What was within a measured latency, or all-add, with one variable changed; None where all that is known."""
        space, parents = self._problem.space, self._passed or [self._problem.space.baseline]
        for _ in range(_CHANGED):
            parent, variable = rng.choice(parents), rng.choice(space.variables)
            found = Architecture(
                parent.space, {**parent.choices, **dict.fromkeys(variable.points, rng.choice(variable.choices))}
            )
            if self._wanted(found):
                return found
        left = [near for parent in parents for near in space.neighbours(parent) if self._wanted(near)]
        return rng.choice(left) if left else None

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
        return architecture.key not in self._keys and self._problem.candidates(architecture)
