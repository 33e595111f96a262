"""Sums of one cost for each variable: which totals there are, and in how many ways each is reached.

A cost is a pair, such as (macs, params). Variables that cost alike are gathered by multiset, halves of a space are
put together only where they are counted, and what is over a bound is dropped as soon as it is: that is
what keeps spaces of 10³⁰ architectures countable. All counts are exact integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]
Integers = NDArray[np.int64]
#: Counts: int64 where they fit, Python's integers else.
Counts = NDArray[Any]

#: Sums that may be looked at in one step: a few seconds and 1 GB; of Python's integers fewer.
MAX_SUMS = 1 << 24
MAX_LARGE_SUMS = 1 << 21
_FITS_INT64 = 1 << 62


class TooManySums(Exception):
    """There are more different sums than can be held."""


@dataclass(frozen=True)
class Bounds:
    """The largest sums of a pair's first and second; a pair of sums has the code first · (largest second + 1) + second.

    Raises TooManySums when that code does not fit 62 bits.
    """

    first: int
    second: int

    def __post_init__(self) -> None:
        if (self.first + 1) * (self.second + 1) >= _FITS_INT64:
            raise TooManySums

    @property
    def stride(self) -> int:
        return self.second + 1


@dataclass(frozen=True)
class Sums:
    """The different sums of some variables within the bounds, ascending by code, each with its `ways`.

    `combinations` are those of the variables' options, within the bounds or not. `parts` are the two that
    these are sums of; of a single variable, `options` are the numbers of its options, ascending by code.
    """

    bounds: Bounds
    codes: Integers
    ways: Counts
    combinations: int
    parts: tuple[Sums, Sums] | None = None
    kind: int = 0
    options: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def first(self) -> Integers:
        return self.codes // self.bounds.stride

    @cached_property
    def second(self) -> Integers:
        return self.codes % self.bounds.stride

    def choices(self, index: int, way: int) -> list[tuple[int, int]]:
        """The `way`-th of the ways to reach sum `index`: for each variable its kind and the number of its option."""
        if self.combinations == 1 and self.parts is None and not self.options:
            return []
        if self.parts is None:
            return [(self.kind, self.options[int(self.ways[:index].sum()) + way])]
        larger, smaller = self.parts
        first, second = divmod(int(self.codes[index]), self.bounds.stride)
        found, ways = _ways_to(larger, first - smaller.first, second - smaller.second)
        exact = self.ways.dtype
        at, way = position(np.cumsum(ways.astype(exact) * smaller.ways.astype(exact)), way)
        of_smaller, of_larger = divmod(way, int(ways[at]))
        return larger.choices(int(found[at]), of_larger) + smaller.choices(at, of_smaller)


def position(reached: Counts, index: int) -> tuple[int, int]:
    """Where `index` falls among cumulated counts, and how far behind the start of that place it is."""
    at = int(np.searchsorted(reached, index, "right"))
    return at, index - (int(reached[at - 1]) if at else 0)


def _ways_to(sums: Sums, first: Integers, second: Integers) -> tuple[Integers, Counts]:
    """Where in `sums` each wanted sum is, and its ways; 0 ways where it is none."""
    wanted = first * sums.bounds.stride + second
    at = np.minimum(np.searchsorted(sums.codes, wanted), len(sums) - 1)
    there = (sums.codes[at] == wanted) & (first >= 0) & (second >= 0)
    return at, np.where(there, sums.ways[at], 0)


def nothing(bounds: Bounds) -> Sums:
    """The one sum of no variables."""
    return Sums(bounds, np.zeros(1, np.int64), np.ones(1, np.int64), 1)


def of_variable(kind: int, costs: Sequence[Pair], bounds: Bounds) -> Sums:
    """The options of one variable; those over a bound are left out. `kind` is told of every one like it."""
    coded = sorted(
        (first * bounds.stride + second, option)
        for option, (first, second) in enumerate(costs)
        if first <= bounds.first and second <= bounds.second
    )
    codes, ways = np.unique(np.array([code for code, _ in coded], np.int64), return_counts=True)
    options = tuple(option for _, option in coded)
    return Sums(bounds, codes, ways.astype(np.int64), len(costs), None, kind, options)


def together(one: Sums, other: Sums) -> Sums:
    """All sums of a sum of each. Raises TooManySums when there are too many to look at."""
    larger, smaller = (one, other) if len(one) >= len(other) else (other, one)
    bounds, combinations = one.bounds, one.combinations * other.combinations
    exact: Any = np.int64 if combinations < _FITS_INT64 else object
    first, second = larger.first, larger.second
    ends = np.searchsorted(first, bounds.first - smaller.first, "right")
    if ends.sum() > (MAX_SUMS if exact is np.int64 else MAX_LARGE_SUMS):
        raise TooManySums
    larger_ways = larger.ways.astype(exact)
    codes, ways = [larger.codes[:0]], [larger_ways[:0]]
    for code, room, way, end in zip(smaller.codes, bounds.second - smaller.second, smaller.ways, ends, strict=True):
        within = second[:end] <= room
        codes.append(larger.codes[:end][within] + code)
        ways.append(larger_ways[:end][within] * (int(way) if exact is object else way))
    return _gathered(np.concatenate(codes), np.concatenate(ways), combinations, (larger, smaller))


def _gathered(codes: Integers, ways: Counts, combinations: int, parts: tuple[Sums, Sums]) -> Sums:
    order = np.argsort(codes)
    codes, ways = codes[order], ways[order]
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    return Sums(parts[0].bounds, codes[starts], np.add.reduceat(ways, starts), combinations, parts)


def repeated(variable: Sums, times: int, known: dict[int, Sums]) -> Sums:
    """The sums of so many variables that cost alike. `known` keeps what was worked out, by the number."""
    if times not in known:
        half = times // 2
        known[times] = (
            variable if times == 1
            else together(repeated(variable, times - half, known), repeated(variable, half, known))
        )  # fmt: skip
    return known[times]


def ways_within(table: Sums, first: Integers, second: Integers) -> Counts:
    """For each pair of bounds, in how many ways a sum of `table` is within both."""
    exact = table.ways.dtype
    below = np.searchsorted(table.first, first, "right")
    within: Counts = np.concatenate([np.zeros(1, exact), np.cumsum(table.ways)])[below]
    tight = np.flatnonzero((second < table.second.max(initial=0)) & (below > 0))
    if len(tight):
        within[tight] = _dominated(table, below[tight], second[tight])
    return within


def _dominated(table: Sums, below: Integers, second: Integers) -> Counts:
    """Of the first `below` sums, the ways of those whose second is within the bound; for each such pair.

    A wavelet matrix: the sums in the order of their seconds, parted stably by one binary digit of their place
    after the other, the highest first. Where that digit of `below` is 1, those with a 0 are all before it.
    Source: Claude et al., The wavelet matrix, Information Systems 47 (2015).
    """
    place = np.argsort(table.second, kind="stable")
    starts, ends = np.zeros(len(below), np.int64), np.searchsorted(table.second[place], second, "right")
    ways = table.ways[place]
    found = np.zeros(len(below), ways.dtype)
    for digit in reversed(range(len(table).bit_length())):
        ones = (place >> digit) & 1 == 1
        zeros_before = np.concatenate([np.zeros(1, np.int64), np.cumsum(~ones)])
        parted = np.concatenate([np.flatnonzero(~ones), np.flatnonzero(ones)])
        place, ways = place[parted], ways[parted]
        summed = np.concatenate([np.zeros(1, ways.dtype), np.cumsum(ways)])
        zeros_to_start, zeros_to_end = zeros_before[starts], zeros_before[ends]
        one = (below >> digit) & 1 == 1
        found += np.where(one, summed[zeros_to_end] - summed[zeros_to_start], 0)
        starts = np.where(one, zeros_before[-1] + starts - zeros_to_start, zeros_to_start)
        ends = np.where(one, zeros_before[-1] + ends - zeros_to_end, zeros_to_end)
    return found
