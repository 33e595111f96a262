"""Which architectures are within a predicted latency and the computed budgets together: all of them where they are few,
else uniform samples.

The predictor is a sum over the variables and over neighbouring ones, multiply-adds and parameters are sums over the
variables. So the least that the rest can take is exact for latency at every variable (Viterbi), and what cannot end
within the budgets is dropped as soon as it begins: few members are listed by that. Many are counted on a grid of what
is left of each budget, costs rounded down, variable by variable backwards; a draw goes forwards in proportion to these
counts and is taken if its exact costs are within. It is uniform over the members.
Source: Dyer, Approximate counting by dynamic programming, STOC 2003; as `trials.costs.relaxed`, for a chain.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from search_spaces.space import SearchSpace
from trials.profile.device_profile import DeviceProfile

#: Row by row, the number of the choice of each variable: [n, variables].
Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Pair = tuple[int, int]

#: Up to so many members are listed.
LISTED = 100_000
#: Cells of the grid, by how many budgets bind.
_SIDES = {1: 4_096, 2: 128, 3: 25}
#: Draws at a time, and those after which nothing was hit.
_BATCH, MAX_DRAWS = 64, 40_000
#: Sums in another order differ by less than this, in milliseconds.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Terms:
    """What is added up: `constant` and, of each variable's choices, milliseconds of its `own` and of each `pair` of
    variables whose points are neighbours (the first before the second); `costs` [choices, 2] are multiply-adds and
    parameters; `ops` the operators of the choices."""

    constant: float
    own: list[Floats]
    pairs: dict[Pair, Floats]
    costs: list[NDArray[np.int64]]
    ops: list[list[str]]

    @classmethod
    def of(cls, space: SearchSpace, profile: DeviceProfile | None, costs: Sequence[Sequence[Pair]]) -> Terms:
        """Of the variables of a space, `costs` those of their choices; without a profile no latency counts."""
        variables = space.variables
        own = [np.zeros(len(v.choices)) for v in variables]
        ops = [[choice.op for choice in v.choices] for v in variables]
        found = cls(0.0, own, {}, [np.array(one, np.int64) for one in costs], ops)
        if profile is None:
            return found
        where = {point: v for v, variable in enumerate(variables) for point in variable.points}
        fixed = {point.name: point.choices[0] for point in space.points}
        effects, neighbours = profile.predictor.choices_ms, profile.predictor.neighbours_ms
        constant = profile.baseline_ms
        for point, by_choice in effects.items():
            if point in where:
                own[where[point]] += [by_choice[str(choice)] for choice in variables[where[point]].choices]
            else:
                constant += by_choice[str(fixed[point])]
        for one, other in pairwise(effects):
            first, second = where.get(one), where.get(other)
            before = [fixed[one].op] if first is None else ops[first]
            after = [fixed[other].op] if second is None else ops[second]
            both = np.array([[neighbours.get(f"{a}>{b}", 0.0) for b in after] for a in before])
            if first is None and second is None:
                constant += float(both[0, 0])
            elif first == second:
                own[first or 0] += np.diag(both)
            elif first is None or second is None:
                own[second if first is None else first] += both.ravel()  # type: ignore[index]
            else:
                pair, both = ((first, second), both) if first < second else ((second, first), both.T)
                found.pairs[pair] = found.pairs.get(pair, 0.0) + both
        return cls(constant, own, found.pairs, found.costs, ops)

    def latency_ms(self, rows: Rows) -> Floats:
        """[n]: as the profile predicts, but for rounding."""
        total = np.full(len(rows), self.constant)
        for v, own in enumerate(self.own):
            total += own[rows[:, v]]
        for (one, other), both in self.pairs.items():
            total += both[rows[:, one], rows[:, other]]
        return total

    def sums(self, rows: Rows) -> NDArray[np.int64]:
        """[n, 2]: multiply-adds and parameters of the choices."""
        total = np.zeros((len(rows), 2), np.int64)
        for v, costs in enumerate(self.costs):
            total += costs[rows[:, v]]
        return total


class PredictedSet:
    """The architectures of a space whose predicted latency is at most `limit_ms`, and whose choices' multiply-adds and
    parameters are at most `bounds` in all. `costs` are those of each variable's choices. Without a profile the latter
    alone count."""

    def __init__(
        self, space: SearchSpace, costs: Sequence[Sequence[Pair]], bounds: Pair,
        profile: DeviceProfile | None = None, limit_ms: float = 0.0,
    ) -> None:  # fmt: skip
        self._space, self._profile, self._limit_ms = space, profile, limit_ms
        self._terms, self._bounds = Terms.of(space, profile, costs), np.array(bounds, np.int64)
        self._chain = _Chain.of(self._terms)

    def inside(self, rows: Rows) -> NDArray[np.bool_]:
        """[n]: whether each is within all of them."""
        found: NDArray[np.bool_] = np.asarray((self._terms.sums(rows) <= self._bounds).all(1))
        if self._profile is not None:
            found = found & (self._terms.latency_ms(rows) <= self._limit_ms + _ROUNDING)
        return found

    @cached_property
    def members(self) -> Rows | None:
        """All of them, in a fixed order; None where they are more than are listed."""
        found = self._chain.listed(self._slack_ms, self._bounds)
        return None if found is None else found[self.inside(found)]

    @cached_property
    def share(self) -> float:
        """How much of the space they are: exact where they are listed, else estimated from draws."""
        if self.members is not None:
            return len(self.members) / self._space.size
        rows = self._grid.drawn(np.random.default_rng(0), 2_000)
        return self._grid.at_most * float(self.inside(rows).mean()) / self._space.size if len(rows) else 0.0

    def drawn(self, rng: random.Random, count: int) -> Rows:
        """So many uniformly random members, repeated ones among them: fewer, or none, where they were not hit."""
        if self.members is not None:
            places = [rng.randrange(len(self.members)) for _ in range(count)] if len(self.members) else []
            return np.asarray(self.members[places])
        numbers = np.random.default_rng(rng.getrandbits(64))
        found: list[Rows] = []
        drawn = there = 0
        while there < count and drawn < max(MAX_DRAWS, 10 * count):
            rows = self._grid.drawn(numbers, max(_BATCH, count))
            rows, drawn = rows[self.inside(rows)], drawn + len(rows)
            found.append(rows)
            there += len(rows)
            if not drawn:
                break
        return np.concatenate([*found, np.zeros((0, len(self._terms.own)), np.int64)])[:count]

    @property
    def _slack_ms(self) -> float:
        """What the limit leaves above the least that any takes; infinite without a profile."""
        return np.inf if self._profile is None else self._limit_ms + _ROUNDING - self._chain.least_ms

    @cached_property
    def _grid(self) -> _Grid:
        return _Grid(self._chain, self._slack_ms, self._bounds)


@dataclass(frozen=True)
class _Chain:
    """Variables in forward order, each with what a choice adds to the least that all take together: never below 0.

    `extra_ms[v]` [states of v − 1, choices of v]; states are the operators of a variable's choices, `state[v]` that of
    each choice; the first variable has one state before it. Of pairs that are no neighbours in this order only the
    least counts, which is below what they take."""

    least_ms: float
    extra_ms: list[Floats]
    state: list[NDArray[np.int64]]
    costs: list[NDArray[np.int64]]

    @classmethod
    def of(cls, terms: Terms) -> _Chain:
        own = [one.copy() for one in terms.own]
        for (first, second), both in terms.pairs.items():
            if second != first + 1:
                own[first] += both.min(1)
        state, example = [], []
        for ops in terms.ops:
            names = list(dict.fromkeys(ops))
            state.append(np.array([names.index(op) for op in ops]))
            example.append([ops.index(name) for name in names])
        to_go: list[Floats] = [np.zeros(len(names)) for names in example]  # after a variable, by its state
        extra: list[Floats] = [np.zeros((0, 0))] * len(own)
        for v in range(len(own) - 1, -1, -1):
            here = (own[v] + to_go[v][state[v]])[None]
            if v and (v - 1, v) in terms.pairs:
                here = here + terms.pairs[v - 1, v][example[v - 1]]
            elif v:
                here = np.repeat(here, len(example[v - 1]), 0)
            least = here.min(1)
            extra[v] = here - least[:, None]
            if v:
                to_go[v - 1] = least
            else:
                constant = terms.constant + float(least[0])
        return cls(constant if own else terms.constant, extra, state, terms.costs)

    def listed(self, slack_ms: float, bounds: NDArray[np.int64]) -> Rows | None:
        """All that may be within, by bounds alone; None where they become too many."""
        rows, sums = np.zeros((1, 0), np.int64), np.zeros((1, 2), np.int64)
        spent, before = np.zeros(1), np.zeros(1, np.int64)
        least = np.array([costs.min(0) for costs in self.costs]).reshape(-1, 2)
        if slack_ms < 0:
            rows, sums, spent, before = rows[:0], sums[:0], spent[:0], before[:0]
        for v, costs in enumerate(self.costs):
            taken = spent[:, None] + self.extra_ms[v][before]
            added = sums[:, None] + costs
            kept = (taken <= slack_ms) & (added + least[v + 1 :].sum(0) <= bounds).all(2)
            if kept.sum() > LISTED:
                return None
            which, choice = np.nonzero(kept)
            rows = np.concatenate([rows[which], choice[:, None]], 1)
            sums, spent, before = added[kept], taken[kept], self.state[v][choice]
        return rows


class _Grid:
    """How many ways there are to go on from each variable, by its operator and by what is left of each budget that
    binds, in cells: never fewer than there are."""

    def __init__(self, chain: _Chain, slack_ms: float, bounds: NDArray[np.int64]) -> None:
        self._chain = chain
        above = [costs - costs.min(0) for costs in chain.costs]
        left = bounds - sum(costs.min(0) for costs in chain.costs)
        most = sum(costs.max(0) for costs in above)
        binding = [metric for metric in (0, 1) if left[metric] < most[metric]]
        timed = slack_ms < sum(float(extra.max()) for extra in chain.extra_ms)
        side = _SIDES.get(len(binding) + timed, 1)
        self._shape = (side,) * (len(binding) + timed) or (1,)
        self.at_most = 0.0
        if slack_ms < 0 or min(left) < 0:
            return
        strides = np.array([side**power for power in range(len(self._shape) - 1, -1, -1)], np.int64)
        #: By variable, what a choice takes of each budget after each state, in cells [states, choices, budgets].
        self._takes = []
        for extra, costs in zip(chain.extra_ms, above, strict=True):
            columns = [np.broadcast_to(costs[:, m] * side // (left[m] + 1), extra.shape) for m in binding]
            if timed:
                columns.append(np.floor(np.minimum(extra / max(slack_ms, 1e-12), 2.0) * (side - 1)).astype(np.int64))
            self._takes.append(np.stack(columns or [np.zeros(extra.shape, np.int64)], -1))
        self._strides = strides
        last = len(chain.costs) - 1
        ways = np.ones((int(chain.state[last].max()) + 1, *self._shape))
        self._ways: list[Floats] = [ways]  # of the last variable first
        for v in range(last, 0, -1):
            ways = self._before(v, ways)
            self._ways.append(ways)
        self._ways.reverse()
        self._ways = [ways.reshape(len(ways), -1) for ways in self._ways]
        self._full = np.array(self._shape, np.int64) - 1
        self.at_most = float(self._weights(0, np.zeros(1, np.int64), self._full[None]).sum())

    def _before(self, v: int, ways: Floats) -> Floats:
        """The ways before a variable, of those after it."""
        takes = self._takes[v]
        found = np.zeros((len(takes), *self._shape))
        for before, choices in enumerate(takes):
            counts: dict[tuple[int, ...], int] = {}
            for choice, cells in enumerate(choices):
                if (cells < self._shape).all():
                    key = (int(self._chain.state[v][choice]), *map(int, cells))
                    counts[key] = counts.get(key, 0) + 1
            for (state, *cells), times in counts.items():
                to = tuple(slice(cell, None) for cell in cells)
                of = tuple(slice(None, side - cell) for cell, side in zip(cells, self._shape, strict=True))
                found[before][to] += times * ways[state][of]
        return found

    def _weights(self, v: int, before: NDArray[np.int64], left: NDArray[np.int64]) -> Floats:
        """[n, choices]: the ways that each choice leaves."""
        after = left[:, None] - self._takes[v][before]
        there = (after >= 0).all(2)
        flat = np.where(there, after @ self._strides, 0)
        return np.asarray(np.where(there, self._ways[v][self._chain.state[v][None], flat], 0.0))

    def drawn(self, numbers: np.random.Generator, count: int) -> Rows:
        """Uniform draws of what is within by rounded costs; none of an empty set."""
        if not self.at_most:
            return np.zeros((0, len(self._chain.costs)), np.int64)
        left, before = np.repeat(self._full[None], count, 0), np.zeros(count, np.int64)
        rows = np.zeros((count, len(self._chain.costs)), np.int64)
        for v in range(len(self._chain.costs)):
            reached = self._weights(v, before, left).cumsum(1)
            at = (reached <= (numbers.random(count) * reached[:, -1])[:, None]).sum(1)
            rows[:, v] = at = np.minimum(at, reached.shape[1] - 1)
            left = left - self._takes[v][before, at]
            before = self._chain.state[v][at]
        return rows
