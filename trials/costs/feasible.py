"""The architectures within FLOP and parameter budgets: how many there are, and uniform samples of them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from trials.costs.sums import (
    MAX_SUMS,
    Bounds,
    Counts,
    Pair,
    Sums,
    nothing,
    of_variable,
    position,
    repeated,
    together,
    ways_within,
)

#: Up to so many kinds of variables, every way to halve them is weighed.
MAX_PARTS_TO_WEIGH = 12
#: For each variable the pairs of costs of its options, such as (macs, params).
Options = Sequence[Sequence[Pair]]


@dataclass(frozen=True)
class Reduced:
    """The same question in the smallest numbers: options from 0, divided by what divides all of them.

    A cost that cannot go over its bound is 0 everywhere, and the pairs are turned where that is the first.
    `limits` are negative where nothing is within.
    """

    options: list[list[Pair]]
    limits: Pair

    @classmethod
    def of(cls, options: Options, bounds: Pair) -> Reduced:
        metrics, limits = [], []
        for metric, bound in enumerate(bounds):
            values = [[costs[metric] for costs in variable] for variable in options]
            least = [min(costs) for costs in values]
            above = [[cost - low for cost in costs] for costs, low in zip(values, least, strict=True)]
            limit = bound - sum(least)
            if limit >= sum(max(costs) for costs in above):
                above, limit = [[0] * len(costs) for costs in above], 0
            unit = math.gcd(*(cost for costs in above for cost in costs)) or 1
            metrics.append([[cost // unit for cost in costs] for costs in above])
            limits.append(limit // unit)
        if limits[0] == 0 and limits[1] > 0:
            metrics, limits = metrics[::-1], limits[::-1]
        both = [list(zip(*costs, strict=True)) for costs in zip(*metrics, strict=True)]
        return cls(both, (limits[0], limits[1]))

    @property
    def empty(self) -> bool:
        return min(self.limits) < 0


class FeasibleSet:
    """The ways to give every variable one of its options so that neither sum of costs is over its bound.

    `options[v]` are the costs of the options of variable `v`, pairs of whole numbers, `bounds` what the two
    sums may be at most. Members are numbered from 0 to `count` − 1: a random number is a uniform sample, all
    numbers are the whole set. `count` is exact, however large.

    Counted by meeting in the middle: the sums of each half of the variables, then for each sum of one half
    how many of the other leave both totals within.

    Raises:
        TooManySums: a half has too many different sums. `RelaxedSet` takes these.
    """

    exact = True

    def __init__(self, options: Options, bounds: Pair) -> None:
        reduced = Reduced.of(options, bounds)
        self.count = 0
        if reduced.empty:
            return
        self._kinds = Kinds(reduced.options)
        self._asking, self._table = _halves(self._kinds, Bounds(*reduced.limits))
        self._limits = reduced.limits
        first, second = self._room(slice(None))
        self._within = ways_within(self._table, first, second)
        total = math.prod(len(variable) for variable in options)
        self._table_reached: Counts = np.cumsum(self._table.ways)
        exact = np.int64 if total < 1 << 62 else object
        self._reached: Counts = np.cumsum(self._within.astype(exact) * self._asking.ways.astype(exact))
        self.count = int(self._reached[-1]) if len(self._reached) else 0

    @property
    def at_least(self) -> int:
        return self.count

    @property
    def at_most(self) -> int:
        return self.count

    def _room(self, which: slice | int) -> tuple[Any, Any]:
        """What the sums that ask leave of the bounds."""
        first, second = divmod(self._asking.codes[which], self._asking.bounds.stride)
        return self._limits[0] - first, self._limits[1] - second

    def _below(self, first: Any) -> Any:
        return np.searchsorted(self._table.first, first, "right")

    def member(self, index: int) -> list[int]:
        """Member `index`: the number of the option of each variable.

        Raises:
            IndexError: it is not from 0 to `count` − 1.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"member {index} of a set of {self.count}")
        asking, way = position(self._reached, index)
        of_table, of_asking = divmod(way, int(self._asking.ways[asking]))
        first, second = self._room(asking)
        if not self._limits[1]:  # one cost alone is cut: what is within is the first sums of the table
            return self._member(asking, of_asking, *position(self._table_reached, of_table))
        inside = np.flatnonzero(self._table.second[: self._below(first)] <= second)
        at, of_table = position(np.cumsum(self._table.ways[inside]), of_table)
        return self._member(asking, of_asking, int(inside[at]), of_table)

    def _member(self, asking: int, of_asking: int, at: int, of_table: int) -> list[int]:
        return self._kinds.assign(self._table.choices(at, of_table) + self._asking.choices(asking, of_asking))

    def smallest(self) -> list[int] | None:
        """A member of the least first cost that its bound cuts (of the second where only that is cut)."""
        return self._extreme(descending=False)

    def largest(self) -> list[int] | None:
        """A member of the greatest such cost."""
        return self._extreme(descending=True)

    def _extreme(self, descending: bool) -> list[int] | None:
        """Sums are asked in the order of the best that they might be part of, until none can be better."""
        if not self.count:
            return None
        first, second = self._room(slice(None))
        below = self._below(first)
        able = np.flatnonzero(self._within > 0)
        sign = -1 if descending else 1
        at_best = self._table.first[below[able] - 1] if descending else self._table.first[0]
        hoped = sign * (self._asking.first[able] + at_best)
        best, found = math.inf, (0, 0)
        for number in np.argsort(hoped, kind="stable"):
            if hoped[number] >= best:
                break
            asking = int(able[number])
            inside = np.flatnonzero(self._table.second[: below[asking]] <= second[asking])
            at = int(inside[-1 if descending else 0])
            value = sign * int(self._asking.first[asking] + self._table.first[at])
            if value < best:
                best, found = value, (asking, at)
        return self._member(found[0], 0, found[1], 0)

    def sample(self, rng: random.Random) -> list[int] | None:
        """A uniformly random member, None of an empty set."""
        return self.member(rng.randrange(self.count)) if self.count else None

    def members(self) -> Iterator[list[int]]:
        """All members, in a fixed order. Mind `count`."""
        return (self.member(index) for index in range(self.count))


class Kinds:
    """Variables that cost alike are of one kind; their options are numbered in ascending order of cost."""

    def __init__(self, options: list[list[Pair]]) -> None:
        numbers: dict[tuple[Pair, ...], int] = {}
        self.costs: list[tuple[Pair, ...]] = []
        self.variables: list[list[tuple[int, list[int]]]] = []
        for variable, costs in enumerate(options):
            order = sorted(range(len(costs)), key=lambda option: costs[option])
            ascending = tuple(costs[option] for option in order)
            kind = numbers.setdefault(ascending, len(numbers))
            if kind == len(self.costs):
                self.costs.append(ascending)
                self.variables.append([])
            self.variables[kind].append((variable, order))

    def assign(self, chosen: list[tuple[int, int]]) -> list[int]:
        """The options in the order of the variables, of as many (kind, option) as there are variables."""
        waiting = [iter(variables) for variables in self.variables]
        assigned = [0] * len(chosen)
        for kind, option in chosen:
            variable, order = next(waiting[kind])
            assigned[variable] = order[option]
        return assigned


def _halves(kinds: Kinds, bounds: Bounds) -> tuple[Sums, Sums]:
    """The sums of two parts of the variables: those that ask, and those that are the table."""
    parts: list[Sums] = []
    for kind, costs in enumerate(kinds.costs):
        variable, known = of_variable(kind, costs, bounds), dict[int, Sums]()
        times = len(kinds.variables[kind])
        split = [times] if len(kinds.costs) > 1 or times == 1 else [times - times // 2, times // 2]
        parts += [repeated(variable, some, known) for some in split]
    parts.sort(key=len, reverse=True)
    if len(parts) > MAX_PARTS_TO_WEIGH:
        in_table = [number % 2 == 1 for number in range(len(parts))]
    else:
        ways = [list(way) for way in product((False, True), repeat=len(parts))]
        in_table = min(ways, key=lambda way: _work(parts, way))
    asking = [part for part, chosen in zip(parts, in_table, strict=True) if not chosen]
    table = [part for part, chosen in zip(parts, in_table, strict=True) if chosen]
    return _all_together(asking, bounds), _all_together(table, bounds)


def _work(parts: list[Sums], in_table: Sequence[bool]) -> float:
    """About how long it takes to make and count these halves: every sum is made, the tight ones are searched for."""
    asking = table = 1
    asking_second = table_second = 0
    for part, chosen in zip(parts, in_table, strict=True):
        largest = int(part.second.max(initial=0))
        if chosen:
            table, table_second = table * len(part), table_second + largest
        else:
            asking, asking_second = asking * len(part), asking_second + largest
    too_many = 100.0 * max(0, asking - MAX_SUMS, table - MAX_SUMS)  # unless the bounds make them fewer
    if not table_second:
        return asking + table + too_many
    tight = min(1.0, 2 * table_second / (table_second + asking_second))
    return asking + table + 0.5 * math.log2(table + 1) * (asking * tight + table) + too_many


def _all_together(parts: list[Sums], bounds: Bounds) -> Sums:
    sums = nothing(bounds)
    for part in reversed(parts):
        sums = together(sums, part)
    return sums
