"""Which part of a space is within the budgets that are known without measuring, and samples from that part."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.space import SearchSpace, Variable
from trials.budgets.constraints import Constraint, Costs, violations
from trials.costs import CostTable, FeasibleSet, RelaxedSet, feasible_set

#: Up to so many members, all are looked at for one that is wanted.
ENUMERABLE = 100_000
#: Draws that may be unwanted before that.
DRAWS = 1_000


@dataclass(frozen=True)
class Share:
    """How many architectures of a space are within the budgets: exactly, where `at_least` is `at_most`."""

    at_least: int
    at_most: int
    size: int

    @property
    def value(self) -> float:
        return (self.at_least + self.at_most) / (2 * self.size)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"value": self.value}


class Feasibility:
    """The budgets on multiply-adds and parameters, on one space.

    The set of what is within them is worked out when it is first asked for: at once for most spaces, in some
    seconds for large ones.
    """

    def __init__(
        self, space: SearchSpace, costs: CostTable, constraints: tuple[Constraint, ...], baseline: Costs
    ) -> None:
        self._space = space
        self._costs = costs
        self._baseline = baseline
        self._constraints = tuple(c for c in constraints if c.metric in ("macs", "params"))

    def __call__(self, architecture: Architecture) -> bool:
        return self._within(self._costs(architecture))

    def _within(self, costs: Costs) -> bool:
        return all(value <= 0 for value in violations(self._constraints, costs, self._baseline).values())

    @property
    def costs(self) -> CostTable:
        """What every architecture of the space costs."""
        return self._costs

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """The most multiply-adds and parameters that are within the budgets; the space's own where none bounds them."""
        return self._bound("macs", 1.0), self._bound("params", 1.0)

    def draw(self, rng: random.Random) -> list[int] | None:
        """A uniformly random architecture within the budgets, as the number of each variable's choice; None where
        there is none or none was hit."""
        return self._members.sample(rng)

    def impossible(self) -> str | None:
        """Why no architecture can be within the budgets, with the closest one and its figures; None if some are."""
        for constraint in self._constraints:
            closest = self._costs.cheapest(constraint.metric)
            if constraint.violation(getattr(self._costs(closest), constraint.metric), self._baseline) > 0:
                return self._none_within(f"{constraint} (a limit of {constraint.limit(self._baseline):,.0f})", closest)
        cheapest = (self._costs.cheapest(constraint.metric) for constraint in self._constraints)
        if len(self._constraints) < 2 or any(map(self, cheapest)) or self.share().at_most:
            return None
        limits = " and ".join(f"{c} (a limit of {c.limit(self._baseline):,.0f})" for c in self._constraints)
        return self._none_within(f"{limits} together", self._closest())

    def _none_within(self, budgets: str, closest: Architecture) -> str:
        costs = self._costs(closest)
        return (
            f"no architecture of {self._space.name} is within {budgets}: "
            f"the closest, {in_short(closest)}, has macs {costs.macs:,} and params {costs.params:,}"
        )

    def _closest(self) -> Architecture:
        """The architecture whose larger excess over the two budgets, in parts of each, is least (to 0.01 %)."""
        limits = [constraint.limit(self._baseline) for constraint in self._constraints]
        low, high = 1.0, max(
            getattr(self._costs(self._costs.cheapest("macs")), c.metric) / limit
            for c, limit in zip(self._constraints, limits, strict=True)
        )  # fmt: skip
        while high - low > 1e-4 * low:
            middle = (low + high) / 2
            low, high = (low, middle) if self._set(middle).at_least else (middle, high)
        return self._architecture(self._set(high).sample(random.Random(0))) or self._costs.cheapest()

    def share(self) -> Share:
        """How much of the space is within the budgets."""
        return Share(self._members.at_least, self._members.at_most, self._space.size)

    def alone(self) -> dict[str, Share]:
        """How much of the space each of the budgets leaves by itself, by its metric."""
        if len(self._constraints) == 1:
            return {self._constraints[0].metric: self.share()}
        return {
            c.metric: Feasibility(self._space, self._costs, (c,), self._baseline).share() for c in self._constraints
        }

    def extremes(self) -> tuple[Architecture, Architecture] | None:
        """The smallest and the largest within the budgets, by multiply-adds (by parameters, where only these are
        cut); None where they were not counted exactly."""
        if not isinstance(self._members, FeasibleSet) or not self._members.count:
            return None
        smallest, largest = map(self._architecture, (self._members.smallest(), self._members.largest()))
        return None if smallest is None or largest is None else (smallest, largest)

    def out_of_reach(self) -> tuple[str, ...]:
        """The operators that are over a budget even at their cheapest point with the cheapest elsewhere."""
        found = []
        for name in self._space.operators:
            places = [(v, choice) for v in self._space.variables for choice in v.choices if choice.op == name]
            if places and not any(self._affordable(variable, choice) for variable, choice in places):
                found.append(name)
        return tuple(found)

    def _affordable(self, variable: Variable, choice: FusionChoice) -> bool:
        """Of each budget by itself: together they may still be too tight."""
        for constraint in self._constraints:
            cheapest = self._costs.cheapest(constraint.metric)
            changed = Architecture(cheapest.space, {**cheapest.choices, **dict.fromkeys(variable.points, choice)})
            if violations((constraint,), self._costs(changed), self._baseline)[constraint.metric] > 0:
                return False
        return True

    def sample(self, rng: random.Random, wanted: Callable[[Architecture], bool]) -> Architecture | None:
        """A uniformly random architecture of those within the budgets that are `wanted`; None when none was found.

        Drawn from within the budgets. Where nearly all of a small set is unwanted, it is drawn from those
        that are wanted.
        """
        for _ in range(DRAWS):
            architecture = self._architecture(self._members.sample(rng))
            if architecture is None or wanted(architecture):
                return architecture
        if isinstance(self._members, FeasibleSet) and self._members.count <= ENUMERABLE:
            members = (self._architecture(member) for member in self._members.members())
            remaining = [architecture for architecture in members if architecture is not None and wanted(architecture)]
            return rng.choice(remaining) if remaining else None
        return None

    @cached_property
    def _members(self) -> FeasibleSet | RelaxedSet:
        return self._set(1.0)

    def _set(self, factor: float) -> FeasibleSet | RelaxedSet:
        """What is within so many times the budgets."""
        options = [self._costs.options(variable) for variable in self._space.variables]
        macs, params = (self._bound(metric, factor) for metric in ("macs", "params"))
        return feasible_set(options, (macs - self._costs.fixed[0], params - self._costs.fixed[1]))

    def _bound(self, metric: str, factor: float) -> int:
        """The largest whole cost within the budget of a metric, the costliest architecture's without one."""
        for constraint in self._constraints:
            if constraint.metric == metric:
                limit = math.floor(constraint.limit(self._baseline) * factor) + 1
                # As violations are, in floating point, so that both say the same of every architecture.
                while limit > 0 and limit / (constraint.limit(self._baseline) * factor) - 1.0 > 0:
                    limit -= 1
                return limit
        return int(getattr(self._costs(self._costs.costliest(metric)), metric))

    def _architecture(self, member: list[int] | None) -> Architecture | None:
        if member is None:
            return None
        variables = self._space.variables
        return self._space.assign({v.name: v.choices[number] for v, number in zip(variables, member, strict=True)})


def in_short(architecture: Architecture) -> str:
    """Its choices by how often each is made: `add at 7 points, se/16 at 2`."""
    counts: dict[str, int] = {}
    for label in architecture.labels().values():
        counts[label] = counts.get(label, 0) + 1
    (first, number), *others = sorted(counts.items(), key=lambda item: -item[1])
    if not others:
        return f"{first} at every point"
    return ", ".join([f"{first} at {number} points", *(f"{label} at {count}" for label, count in others)])
