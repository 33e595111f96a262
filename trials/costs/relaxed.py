"""Feasible sets with too many different sums to count: the count is bracketed, samples are uniform still."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trials.costs.feasible import FeasibleSet, Kinds, Options, Reduced
from trials.costs.sums import Bounds, Pair, Sums, TooManySums, of_variable, position, together

#: Cells of the grid; 1,024² under two budgets.
CELLS = 1 << 20
#: Variables are put together exactly while they have at most so many different sums: each rounds once.
PIECE = 400
#: Draws after which a set is taken to be empty, or too thin to hit.
MAX_DRAWS = 10_000

_CODED = 1 << 30

Grid = NDArray[np.float64]


class RelaxedSet:
    """As `FeasibleSet`, of costs rounded down to a grid: every member is within there, and a few more.

    Under bounds lowered by the largest total error of the rounding, only members are within. So the number of
    members is from `at_least` to `at_most` (each to 12 digits, as floating point). A sample is drawn
    uniformly from the rounded set and taken if its exact costs are within: it is uniform over the members.
    Source: Dyer, Approximate counting by dynamic programming, STOC 2003.
    """

    exact = False

    def __init__(self, options: Options, bounds: Pair) -> None:
        self._options, self._bounds = options, bounds
        reduced = Reduced.of(options, bounds)
        self.at_least = self.at_most = 0
        if reduced.empty:
            return
        costs, limits, sure = _coarsened(reduced)
        self._kinds = Kinds(costs)
        self._pieces = _pieces(self._kinds, limits)
        side = math.isqrt(CELLS) if all(limits) else CELLS
        self._units = [limit // side + 1 for limit in limits]
        self._cells = [self._rounded(piece) for piece in self._pieces]
        start = np.zeros([limit // unit + 1 for limit, unit in zip(limits, self._units, strict=True)])
        start[0, 0] = 1
        self._layers: list[Grid] = [start]
        for cells in self._cells:
            self._layers.append(_moved(self._layers[-1], cells))
        self._reached = np.cumsum(self._layers[-1])
        self.at_most = int(self._reached[-1])
        within = [
            max(0, (limit - error) // unit + 1)
            for limit, error, unit in zip(sure, self._errors(), self._units, strict=True)
        ]
        self.at_least = int(self._layers[-1][: within[0], : within[1]].sum())

    def _errors(self) -> list[int]:
        """The most that the rounding of all pieces can take from each sum."""
        first, second = ([getattr(piece, name) for piece in self._pieces] for name in ("first", "second"))
        return [
            sum(int((sums % unit).max(initial=0)) for sums in cost)
            for cost, unit in zip((first, second), self._units, strict=True)
        ]

    def _rounded(self, piece: Sums) -> dict[Pair, float]:
        """The ways of a piece's sums, by their cells."""
        cells: dict[Pair, float] = {}
        for cell, ways in zip(self._cell_of(piece), piece.ways.tolist(), strict=True):
            cells[cell] = cells.get(cell, 0.0) + ways
        return cells

    def _cell_of(self, piece: Sums) -> list[Pair]:
        first, second = piece.first // self._units[0], piece.second // self._units[1]
        return list(zip(first.tolist(), second.tolist(), strict=True))

    def sample(self, rng: random.Random) -> list[int] | None:
        """A uniformly random member, None where there is none or none was hit."""
        for _ in range(MAX_DRAWS if self.at_most else 0):
            drawn = self._draw(rng)
            chosen = [costs[option] for costs, option in zip(self._options, drawn, strict=True)]
            totals = [sum(metric) for metric in zip(*chosen, strict=True)]
            if all(total <= bound for total, bound in zip(totals, self._bounds, strict=True)):
                return drawn
        return None

    def _draw(self, rng: random.Random) -> list[int]:
        """A uniformly random architecture of the rounded set."""
        at = _pick(rng, self._reached)
        first, second = divmod(at, self._layers[-1].shape[1])
        chosen: list[tuple[int, int]] = []
        for piece, cells, before in zip(reversed(self._pieces), reversed(self._cells), reversed(self._layers[:-1]),
                                        strict=True):  # fmt: skip
            reachable = [cell for cell in cells if cell[0] <= first and cell[1] <= second]
            weights = [cells[cell] * before[first - cell[0], second - cell[1]] for cell in reachable]
            cell = rng.choices(reachable, weights)[0]
            first, second = first - cell[0], second - cell[1]
            sums = [index for index, other in enumerate(self._cell_of(piece)) if other == cell]
            reached = np.cumsum(piece.ways[sums])
            index, way = position(reached, rng.randrange(int(reached[-1])))
            chosen += piece.choices(sums[index], way)
        return self._kinds.assign(chosen)


def feasible_set(options: Options, bounds: Pair) -> FeasibleSet | RelaxedSet:
    """The feasible set, counted exactly where it has few enough different sums, else between bounds."""
    try:
        return FeasibleSet(options, bounds)
    except TooManySums:
        return RelaxedSet(options, bounds)


def _pick(rng: random.Random, reached: NDArray[Any]) -> int:
    """An index with a probability in proportion to what it adds to the cumulated `reached`."""
    return min(int(np.searchsorted(reached, rng.random() * reached[-1], "right")), len(reached) - 1)


def _coarsened(reduced: Reduced) -> tuple[list[list[Pair]], Pair, Pair]:
    """Options and limits small enough for a pair of sums to fit one code, and the limits that are sure to hold.

    The identity but for sums above 10⁹ on both sides.
    """
    one, other = (limit // _CODED + 1 for limit in reduced.limits)
    options = [[(first // one, second // other) for first, second in costs] for costs in reduced.options]
    lost = [
        sum(max(cost[which] % unit for cost in costs) for costs in reduced.options)
        for which, unit in enumerate((one, other))
    ]
    limits = reduced.limits[0] // one, reduced.limits[1] // other
    return options, limits, ((reduced.limits[0] - lost[0]) // one, (reduced.limits[1] - lost[1]) // other)


def _pieces(kinds: Kinds, limits: Pair) -> list[Sums]:
    """The variables in pieces of few different sums, alike ones together."""
    bounds = Bounds(*limits)
    pieces: list[Sums] = []
    for kind, costs in enumerate(kinds.costs):
        variable = of_variable(kind, costs, bounds)
        for _ in kinds.variables[kind]:
            joined = together(pieces[-1], variable) if pieces else None
            if joined is not None and len(joined) <= PIECE:
                pieces[-1] = joined
            else:
                pieces.append(variable)
    return pieces


def _moved(grid: Grid, cells: dict[Pair, float]) -> Grid:
    """The grid after one more piece: what is at a cell moves on by each of the piece's cells."""
    moved = np.zeros_like(grid)
    height, width = grid.shape
    for (down, right), ways in cells.items():
        moved[down:, right:] += ways * grid[: height - down, : width - right]
    return moved
