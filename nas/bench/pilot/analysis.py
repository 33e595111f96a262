"""What a pilot's trainings tell: how noisy each look is by each figure, how it ranks beside the long schedule, what a
decided pair costs, and how far operators move.

All by figures that are paired by seed, see `nas.bench.decomposition`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

from nas.bench.decomposition import Decomposition, decompose
from nas.bench.errors import BenchError
from nas.bench.pilot.readings import Reading, Way
from trials.ranks import kendall_tau, spearman

Values = NDArray[np.float64]
#: What is told apart, in units that are printed (points, nats); a sign, for which larger is better.
FIGURES = {"accuracy": 100.0, "loss": -1.0, "tempered_loss": -1.0}
#: From here on a schedule tells architectures apart.
TELLS = 0.5
#: Looks whose ρ is below the best one's by less than this are as good, and the cheapest of them is taken.
_AS_GOOD = 0.05
#: Of a normal distribution: the quantile of 95 %, and the median of what is above zero.
_Z95, _MEDIAN = 1.6449, 0.6745


@dataclass(frozen=True)
class Look:
    """What one way of starting tells by one figure.

    noise: its parts, see `Decomposition`. icc_low, icc_high: a 95 % interval of its ICC, of normal figures. pair: the
    standard deviation of the difference of two architectures under one seed that is noise. pair_images: those to train
    until the mean difference of a typical pair (the median of pairs) has the right sign with 95 %; None where no
    architectures differ. images, seconds: of one training. rho, tau: of one seed's ranks with the truth's, means over
    seeds; None of the truth, of too few architectures, and without a truth.
    """

    way: Way
    figure: str
    noise: Decomposition
    icc_low: float
    icc_high: float
    pair: float
    pair_images: int | None
    images: int
    seconds: float
    rho: float | None
    tau: float | None

    def to_json(self) -> dict[str, Any]:
        plain = {name: value for name, value in vars(self).items() if name not in ("way", "noise")}
        return _json({"way": self.way.name, **self.way.to_json(), **plain, "noise": self.noise.to_json()})


@dataclass(frozen=True)
class Move:
    """How far an operator moves under a way of starting: the change of its weights relative to their start, None where
    it has none; the mean over points of its gates' standard deviation over validation images, None where it has none,
    or they were not read; of so many fusions."""

    way: Way
    operator: str
    weights: float | None
    gates: float | None
    fusions: int

    def to_json(self) -> dict[str, Any]:
        return {"way": self.way.name, **{k: v for k, v in vars(self).items() if k != "way"}}


@dataclass(frozen=True)
class Long:
    """An architecture's accuracy at the truth in points, mean and standard error over seeds."""

    choices: tuple[str, ...]
    accuracy: float
    error: float


@dataclass(frozen=True)
class Analysis:
    """`truth`: the longest schedule from new weights, None where there is none yet; `waiting`: ways of which too little
    was trained."""

    architectures: int
    seeds: int
    truth: Way | None
    looks: tuple[Look, ...]
    moves: tuple[Move, ...]
    long: tuple[Long, ...]
    waiting: tuple[Way, ...]

    @property
    def tells(self) -> bool | None:
        """Whether accuracy at the truth tells architectures apart: ICC and τ between seeds of at least `TELLS`."""
        found = [look for look in self.looks if look.way == self.truth and look.figure == "accuracy"]
        return min(found[0].noise.icc, found[0].noise.between_seeds) >= TELLS if found else None

    @property
    def best(self) -> Look | None:
        """The cheapest look that ranks as the truth does, or nearly as well as the best."""
        ranked = [(look.rho, look) for look in self.looks if look.rho is not None]
        if not ranked:
            return None
        most = max(rho for rho, _ in ranked)
        good = [(look.images, -rho, look.figure, look) for rho, look in ranked if rho >= most - _AS_GOOD]
        return min(good, key=lambda one: one[:3])[3]

    def to_json(self) -> dict[str, Any]:
        best = self.best
        return {
            "architectures": self.architectures, "seeds": self.seeds,
            "truth": None if self.truth is None else self.truth.name, "tells": self.tells,
            "best": None if best is None else {"way": best.way.name, "figure": best.figure},
            "looks": [look.to_json() for look in self.looks], "moves": [move.to_json() for move in self.moves],
            "long": [asdict(one) for one in self.long], "waiting": [way.name for way in self.waiting],
        }  # fmt: skip


def analyse(readings: Sequence[Reading]) -> Analysis:
    """Of all ways of starting of which at least two architectures have every seed, and at least two seeds are there.

    Raises BenchError where that is so of none.
    """
    by_way: dict[Way, list[Reading]] = defaultdict(list)
    for reading in readings:
        by_way[reading.way].append(reading)
    grids = {way: grid for way, there in sorted(by_way.items()) if (grid := _Grid.of(there)) is not None}
    if not grids:
        raise BenchError(
            f"{len(readings)} trainings are too few for a pilot: two architectures under two seeds tell noise apart; "
            "the command that trains them goes on"
        )
    scratch = [way for way in grids if way.regime == "scratch"]
    truth = max(scratch, key=lambda way: way.epochs) if scratch else None
    long = None if truth is None else grids[truth]
    looks = [
        _look(way, figure, grid, None if way == truth else long) for way, grid in grids.items() for figure in FIGURES
    ]
    return Analysis(
        max(len(grid.keys) for grid in grids.values()), max(len(grid.seeds) for grid in grids.values()), truth,
        tuple(looks), tuple(move for way, there in sorted(by_way.items()) for move in _moves(way, there)),
        () if long is None else _long(long), tuple(way for way in sorted(by_way) if way not in grids),
    )  # fmt: skip


@dataclass(frozen=True)
class _Grid:
    """Readings of one way, [architectures][seeds], of the architectures that have every seed."""

    keys: tuple[str, ...]
    seeds: tuple[int, ...]
    readings: tuple[tuple[Reading, ...], ...]

    @classmethod
    def of(cls, there: Iterable[Reading]) -> _Grid | None:
        """None where it would be smaller than 2 × 2. A seed that has only begun is left out."""
        table = {(one.architecture, one.seed): one for one in there}
        seeds = sorted({seed for _, seed in table})
        for some in (seeds, seeds[:-1]):
            keys = [key for key in dict.fromkeys(key for key, _ in table) if all((key, seed) in table for seed in some)]
            if len(keys) >= 2 and len(some) >= 2:
                return cls(tuple(keys), tuple(some), tuple(tuple(table[key, seed] for seed in some) for key in keys))
        return None

    def values(self, figure: str, keys: Sequence[str] | None = None) -> Values:
        """[architectures, seeds], larger is better."""
        rows = self.readings if keys is None else [self.readings[self.keys.index(key)] for key in keys]
        return np.array([[FIGURES[figure] * getattr(one, figure) for one in row] for row in rows])

    @property
    def regime(self) -> str:
        return self.readings[0][0].way.regime

    @property
    def right(self) -> NDArray[np.bool_]:
        """[architectures, seeds, images]"""
        return np.array([[one.right for one in row] for row in self.readings])


def _look(way: Way, figure: str, grid: _Grid, long: _Grid | None) -> Look:
    noise = decompose(grid.values(figure), grid.right if figure == "accuracy" else None)
    if noise.images is not None:
        noise = replace(noise, images=noise.images * FIGURES["accuracy"])
    if FIGURES[figure] < 0:
        noise = replace(noise, mean=-noise.mean)
    low, high = icc_interval(noise)
    flat = [one for row in grid.readings for one in row]
    images = flat[0].images
    seeds = pair_seeds(noise)
    rho, tau = (None, None) if long is None else _against(figure, grid, long)
    return Look(
        way, figure, noise, low, high, 2**0.5 * noise.interaction, None if seeds is None else 2 * seeds * images,
        images, float(np.mean([one.train_seconds for one in flat])), rho, tau,
    )  # fmt: skip


def pair_seeds(noise: Decomposition) -> int | None:
    """Under how many seeds both of a pair are trained until the mean of their paired differences has the right sign
    with 95 %, for the pair whose true difference is the median of all pairs'; None where nothing differs."""
    if noise.architecture == 0:
        return None
    return max(1, math.ceil((_Z95 * noise.interaction / (_MEDIAN * noise.architecture)) ** 2))


def icc_interval(noise: Decomposition) -> tuple[float, float]:
    """A 95 % interval of ICC(3,1), of normal figures: Shrout and Fleiss, 1979."""
    rows, columns = noise.architectures, noise.seeds
    if noise.interaction == 0:
        return noise.icc, noise.icc
    ratio = 1 + columns * noise.architecture**2 / noise.interaction**2
    low, high = (float(fdtri(rows - 1, (rows - 1) * (columns - 1), p)) for p in (0.025, 0.975))
    least, most = (max(0.0, (f - 1) / (f + columns - 1)) for f in (ratio / high, ratio / low))
    return least, most


@cache
def _against(figure: str, grid: _Grid, long: _Grid) -> tuple[float | None, float | None]:
    """ρ and τ of each seed's ranks with those of the truth's mean accuracy, means over seeds. A short look from scratch
    begins with the weights that the truth begins with under its seed: it is held against the other seeds."""
    keys = [key for key in grid.keys if key in long.keys]
    if len(keys) < 3:
        return None, None
    here, truth = grid.values(figure, keys), long.values("accuracy", keys)
    found = []
    for place, seed in enumerate(grid.seeds):
        own = [grid.regime == "scratch" and seed == other for other in long.seeds]
        mean = truth[:, ~np.array(own)].mean(1)
        found.append((float(spearman(here[:, place], mean)), float(kendall_tau(here[:, place], mean))))
    told = [pair for pair in found if not math.isnan(sum(pair))]  # ranks of equal figures agree with nothing
    if not told:
        return None, None
    rho, tau = np.mean(told, axis=0)
    return float(rho), float(tau)


def _moves(way: Way, there: Iterable[Reading]) -> list[Move]:
    weights: dict[str, list[float]] = defaultdict(list)
    gates: dict[str, list[float]] = defaultdict(list)
    fusions: dict[str, int] = defaultdict(int)
    for one in there:
        for point, choice in one.choices.items():
            operator = choice.partition("/")[0]
            norm, change = one.moved.get(point, (0.0, 0.0))
            if norm > 0:
                weights[operator].append(change / norm)
            if point in one.gates:
                gates[operator] += [spread for _, spread in one.gates[point].values()]
            if norm > 0 or point in one.gates:
                fusions[operator] += 1
    return [Move(way, op, _mean(weights[op]), _mean(gates[op]), count) for op, count in sorted(fusions.items())]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _long(grid: _Grid) -> tuple[Long, ...]:
    """The best first."""
    scores = grid.values("accuracy")
    errors = scores.std(1, ddof=1) / len(grid.seeds) ** 0.5
    return tuple(
        Long(tuple(grid.readings[place][0].choices.values()), float(scores[place].mean()), float(errors[place]))
        for place in np.argsort(-scores.mean(1), kind="stable")
    )


def by_way(looks: Iterable[Look]) -> list[tuple[Way, list[Look]]]:
    """Looks of one way after the other, as they are printed."""
    return [(way, list(some)) for way, some in groupby(looks, key=lambda look: look.way)]


def _json(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
