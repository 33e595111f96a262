"""`nas bench compare`: every method in the same worlds, under the same noise; figures with their intervals."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.bench.arena.judging import Judged, judge
from nas.bench.arena.methods import METHODS, SLOW, method
from nas.bench.arena.playing import brief_of
from nas.bench.arena.worlds import World, table_world
from nas.bench.errors import BenchError
from nas.bench.table import Table

Values = NDArray[np.float64]
#: In the known world: points of accuracy that an operator is worth at a point. The best has the first two.
PLANTED: Mapping[tuple[str, str], float] = {
    ("layer3.0", "cbam"): 0.6, ("layer2.0", "se"): 0.4, ("layer1.0", "concat"): -0.4,
}  # fmt: skip
RESAMPLES = 2000
#: The 5 % quantiles of the studentised range of so many means over √2, infinite degrees of freedom (Demšar, JMLR 2006).
_NEMENYI = (
    1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164, 3.219, 3.268, 3.313, 3.354, 3.391, 3.426, 3.458,
    3.489, 3.517, 3.544,
)  # fmt: skip
MOST_METHODS = len(_NEMENYI) + 1


@dataclass(frozen=True)
class Setting:
    """Under what a search is made: a budget of multiply-adds in multiples of all-add's (None: none), so many looks of
    the cheap fidelity, and workers side by side."""

    max_flops: float | None
    looks: int
    workers: int

    @property
    def name(self) -> str:
        budget = "any FLOPs" if self.max_flops is None else f"FLOPs ≤ {self.max_flops:g}x"
        return f"{budget}, {self.looks} looks, {self.workers} worker{'s' * (self.workers > 1)}"


@dataclass(frozen=True)
class Comparison:
    """What is compared."""

    methods: tuple[str, ...]
    settings: tuple[Setting, ...]
    seeds: int
    look: str = "inherit-3"


QUICK = Comparison(tuple(METHODS), (Setting(1.05, 24, 1),), 20)
WHOLE = Comparison(
    (*METHODS, *SLOW), tuple(Setting(flops, looks, workers) for flops, looks, workers in product(
        (1.03, 1.06), (16, 64), (1, 8),
    )), 50,
)  # fmt: skip


def comparison_of(quick: bool, methods: Sequence[str] = (), seeds: int | None = None) -> Comparison:
    """The quick or the whole comparison, of these methods and so many seeds where they are given.

    Raises BenchError where one is unknown, or they are fewer than two or too many to be ranked.
    """
    chosen = QUICK if quick else WHOLE
    for name in methods:
        method(name)
    names = tuple(dict.fromkeys(methods)) or chosen.methods
    if not 2 <= len(names) <= MOST_METHODS:
        raise BenchError(f"--methods: given {len(names)}; from 2 to {MOST_METHODS} can be compared by their ranks")
    return replace(chosen, methods=names, seeds=chosen.seeds if seeds is None else seeds)


@dataclass(frozen=True)
class Estimate:
    """A figure over searches, and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """One method under one setting: over searches in the table's world, but for `null` and `known`, shares of searches
    in those worlds that name a winner, and that find the planted one or its equal. `rank` is the mean rank by true gain
    among the methods, 1 the best."""

    method: str
    setting: Setting
    gain: Estimate
    spread: Estimate
    regret: Estimate
    volume: Estimate
    anytime: Estimate
    against_time: Estimate
    null: Estimate
    known: Estimate
    wasted: Estimate
    infeasible: Estimate
    modelled: float
    own_seconds: float
    rank: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Result:
    """All lines, and by setting the difference of mean ranks that two methods must have to differ (Nemenyi, .05)."""

    comparison: Comparison
    table: Mapping[str, Any]
    lines: tuple[Line, ...]
    critical: float

    def to_json(self) -> dict[str, Any]:
        return {
            "table": dict(self.table), "comparison": asdict(self.comparison), "critical_difference": self.critical,
            "lines": [line.to_json() for line in self.lines],
        }  # fmt: skip


def compare(table: Table, comparison: Comparison, processes: int, progress: Callable[[int, int], None]) -> Result:
    """Run every method under every setting in the three worlds, each with the same noise for all methods.

    Raises BenchError: a table that is too small for a world, or an unknown method.
    """
    world = table_world(table)
    worlds = {"table": world, "null": world.null(), "known": world.known(PLANTED)}
    jobs = list(product(comparison.methods, comparison.settings, worlds, range(comparison.seeds)))
    found: dict[tuple[str, Setting, str], list[Judged]] = {}
    for done, (job, judged) in enumerate(zip(jobs, _judged(worlds, comparison.look, jobs, processes), strict=True)):
        found.setdefault(job[:3], []).append(judged)
        progress(done + 1, len(jobs))
    lines = tuple(
        _line(name, setting, comparison, found) for setting in comparison.settings for name in comparison.methods
    )
    facts = {
        "name": table.name, "architectures": len(list(table.architectures(world.truth))), "size": world.space.size,
        "truth": world.truth, "look": comparison.look,
        "deviations": len(world.deviations), "measured": float(world.measured[:, -2].mean()),
    }  # fmt: skip
    return Result(comparison, facts, lines, critical_difference(len(comparison.methods), comparison.seeds))


Job = tuple[str, Setting, str, int]
_worlds: dict[str, World] = {}
_look = ""


def _begin(worlds: dict[str, World], look: str) -> None:
    """In a process of its own."""
    global _look
    _worlds.update(worlds)
    _look = look
    import torch

    torch.set_num_threads(1)


def _one(job: Job) -> Judged:
    name, setting, world_name, number = job
    world = _worlds[world_name]
    images = setting.looks * world.images(_look)
    brief = brief_of(world, setting.max_flops, _look, images, setting.workers, number)
    return judge(method(name).play(brief, world, number), brief, world)


def _judged(worlds: dict[str, World], look: str, jobs: Sequence[Job], processes: int) -> Iterator[Judged]:
    if processes == 1:
        _begin(worlds, look)
        yield from map(_one, jobs)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (worlds, look)) as pool:
        yield from pool.map(_one, jobs, chunksize=4)


def _line(
    name: str, setting: Setting, comparison: Comparison, found: Mapping[tuple[str, Setting, str], list[Judged]]
) -> Line:
    there, null, known = (found[name, setting, world] for world in ("table", "null", "known"))
    gains = np.array([[one.gain for one in found[other, setting, "table"]] for other in comparison.methods])
    ranks = _ranks(gains)

    def of(figure: Callable[[Judged], float]) -> Estimate:
        return mean_of(np.array([figure(one) for one in there]))

    return Line(
        name, setting, of(lambda one: one.gain), spread_of(np.array([one.gain for one in there])),
        of(lambda one: one.regret), of(lambda one: one.volume), of(lambda one: float(np.mean(one.by_images))),
        of(lambda one: float(np.mean(one.by_time))), share_of([one.named for one in null]),
        share_of([one.found for one in known]), of(lambda one: one.wasted),
        share_of([one.infeasible for one in there]), float(np.mean([one.modelled for one in there])),
        float(np.mean([one.own_seconds for one in there])), float(ranks[comparison.methods.index(name)].mean()),
    )  # fmt: skip


def _ranks(values: Values) -> Values:
    """Of [methods, searches], within each search: 1 the highest, ties at their mean."""
    higher = (values[None] > values[:, None]).sum(1)
    equal = (values[None] == values[:, None]).sum(1)
    return np.asarray(higher + (equal + 1) / 2, float)


def mean_of(values: Values) -> Estimate:
    """The mean, with a percentile bootstrap's interval."""
    return _bootstrapped(values, lambda drawn: drawn.mean(-1))


def spread_of(values: Values) -> Estimate:
    """The standard deviation, likewise."""
    return _bootstrapped(values, lambda drawn: drawn.std(-1, ddof=1))


def _bootstrapped(values: Values, statistic: Callable[[Values], Values]) -> Estimate:
    rng = np.random.default_rng(0)
    drawn = statistic(values[rng.integers(0, len(values), (RESAMPLES, len(values)))])
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(float(statistic(values)), float(low), float(high))


def share_of(events: Sequence[bool]) -> Estimate:
    """A share, with Wilson's interval."""
    n, z = len(events), 1.96
    share = sum(events) / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))


def critical_difference(methods: int, searches: int) -> float:
    """Of mean ranks. Raises ValueError for fewer than 2 methods, or more than 20."""
    if not 2 <= methods <= MOST_METHODS:
        raise ValueError(f"{methods} methods: from 2 to {MOST_METHODS} can be compared by ranks")
    return float(_NEMENYI[methods - 2] * (methods * (methods + 1) / (6 * searches)) ** 0.5)
