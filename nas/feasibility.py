"""Which part of a space is within a budget, and samples from that part. Costs are exact sums, so this is quick."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.constraints import Constraint, Costs, violations
from trials.flops import CostTable

ENUMERABLE = 100_000
SAMPLES = 10_000


@dataclass(frozen=True)
class Share:
    """A share of a space, with its standard error (0 where every architecture was counted)."""

    value: float
    standard_error: float


class Feasibility:
    """The budgets that are known without measuring (multiply-adds, parameters), on one space."""

    def __init__(
        self, space: SearchSpace, costs: CostTable, constraints: tuple[Constraint, ...], baseline: Costs
    ) -> None:
        self._space = space
        self._costs = costs
        self._baseline = baseline
        self._constraints = tuple(c for c in constraints if c.metric != "latency_ms")

    def __call__(self, architecture: Architecture) -> bool:
        found = violations(self._constraints, self._costs(architecture), self._baseline)
        return all(value <= 0 for value in found.values())

    def impossible(self) -> str | None:
        """Why no architecture can be within the budgets, with the cheapest one's figures; None if some may."""
        for constraint in self._constraints:
            costs = self._costs(self._costs.cheapest(constraint.metric))
            if constraint.violation(getattr(costs, constraint.metric), self._baseline) > 0:
                limit = constraint.limit(self._baseline)
                return (
                    f"no architecture of {self._space.name} is within {constraint} (a limit of {limit:,.0f}): "
                    f"the cheapest one has macs {costs.macs:,} and params {costs.params:,}"
                )
        return None

    def share(self) -> Share:
        """The share of the space that is within the budgets: exact for small spaces, else sampled."""
        if self._space.size <= ENUMERABLE:
            inside = sum(self(architecture) for architecture in self._space.enumerate())
            return Share(inside / self._space.size, 0.0)
        rng = random.Random(0)
        value = sum(self(self._space.sample(rng)) for _ in range(SAMPLES)) / SAMPLES
        return Share(value, (value * (1 - value) / SAMPLES) ** 0.5)

    def sample(self, rng: random.Random, wanted: Callable[[Architecture], bool]) -> Architecture | None:
        """A random architecture within the budgets that is `wanted`; None when none was found.

        Rejection first, which is uniform; where the budget leaves too little for that, random steps up
        from the cheapest; in a small space, at last, a look at every one.
        """
        for _ in range(1_000):
            architecture = self._space.sample(rng)
            if wanted(architecture) and self(architecture):
                return architecture
        for _ in range(200):
            architecture = self._climb(rng)
            if wanted(architecture) and self(architecture):
                return architecture
        if self._space.size <= ENUMERABLE:
            remaining = [a for a in self._space.enumerate() if wanted(a) and self(a)]
            return rng.choice(remaining) if remaining else None
        return None

    def _climb(self, rng: random.Random) -> Architecture:
        architecture = self._costs.cheapest()
        for variable in rng.sample(self._space.variables, len(self._space.variables)):
            choice = dict.fromkeys(variable.points, rng.choice(variable.choices))
            changed = Architecture(self._space.name, {**architecture.choices, **choice})
            if self(changed):
                architecture = changed
        return architecture


def in_short(architecture: Architecture) -> str:
    """Its choices by how often each is made: `add at 7 points, se/16 at 2`."""
    counts: dict[str, int] = {}
    for label in architecture.labels().values():
        counts[label] = counts.get(label, 0) + 1
    (first, number), *others = sorted(counts.items(), key=lambda item: -item[1])
    if not others:
        return f"{first} at every point"
    return ", ".join([f"{first} at {number} points", *(f"{label} at {count}" for label, count in others)])
