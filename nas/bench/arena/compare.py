"""`nas bench compare`: every method in the same worlds, under the same noise; figures with their intervals."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from nas.bench.arena.estimates import (
    MOST_METHODS,
    Estimate,
    Reached,
    critical_difference,
    mean_of,
    ranks_of,
    reached_by,
    share_of,
    spread_of,
)
from nas.bench.arena.judging import CHECKPOINTS, EQUAL, Judged, expected_seconds, judge
from nas.bench.arena.kept import ByFidelity, Kept, Key, table_hash
from nas.bench.arena.methods import METHODS, OPTIONAL, method
from nas.bench.arena.playing import brief_of
from nas.bench.arena.worlds import World, table_world
from nas.bench.errors import BenchError
from nas.bench.table import Table
from trials.ranks import spearman

#: In the known world: points of accuracy that an operator is worth at a point. The best has the first two.
PLANTED: Mapping[tuple[str, str], float] = {
    ("layer3.0", "cbam"): 0.6, ("layer2.0", "se"): 0.4, ("layer1.0", "concat"): -0.4,
}  # fmt: skip


#: What searches are made with: a kept one is of these versions, of what is installed.
_VERSIONS = ("fusion-nas", "optuna", "numpy", "scipy", "moocore", "torch", "syne-tune", "neural-pipeline-search")
#: What users have without us: Ray's own search.
ORDINARY = "optuna-search"
#: Architectures that a look without noise ranks first: what it leads to is what these gain, not what one of them does.
TOP = 10


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
    """What is compared, and the fidelities that recommendations are judged by, each for itself (none: the table's long
    schedules). A method plays searches of at most `most_looks` where these are said."""

    methods: tuple[str, ...]
    settings: tuple[Setting, ...]
    seeds: int
    look: str = "inherit-3"
    truths: tuple[str, ...] = ()
    most_looks: Mapping[str, int] = field(default_factory=dict)

    def playing(self, setting: Setting) -> tuple[str, ...]:
        """The methods that play such searches."""
        return tuple(name for name in self.methods if setting.looks <= self.most_looks.get(name, setting.looks))

    def critical(self, setting: Setting) -> float:
        """The difference of mean ranks that two of these must have to differ (Nemenyi, .05)."""
        return critical_difference(len(self.playing(setting)), self.seeds)


QUICK = Comparison(tuple(METHODS), (Setting(1.05, 24, 1),), 20)
WHOLE = Comparison(
    (*METHODS, *OPTIONAL), tuple(Setting(flops, looks, workers) for flops, looks, workers in product(
        (1.03, 1.06), (16, 64), (1, 8),
    )), 50,
)  # fmt: skip


def comparison_of(
    quick: bool, methods: Sequence[str] = (), seeds: int | None = None, truths: Sequence[str] = ()
) -> Comparison:
    """The quick or the whole comparison, of these methods, seeds and truths where they are given. Of methods that
    nobody named those are left out whose libraries are not installed, `left_out` says so, and some play short searches
    alone.

    Raises BenchError where one is unknown or lacks its library, or they are fewer than two or too many to be ranked.
    """
    chosen = QUICK if quick else WHOLE
    for name in methods:
        if lacking := method(name).lacking():
            raise BenchError(f"method {name!r} {lacking}")
    names = tuple(dict.fromkeys(methods)) or tuple(name for name in chosen.methods if not method(name).lacking())
    if not 2 <= len(names) <= MOST_METHODS:
        raise BenchError(f"--methods: given {len(names)}; from 2 to {MOST_METHODS} can be compared by their ranks")
    limits = {} if methods else {name: most for name in names if (most := method(name).most_looks) is not None}
    return replace(
        chosen, methods=names, seeds=chosen.seeds if seeds is None else seeds, truths=tuple(dict.fromkeys(truths)),
        most_looks=limits,
    )  # fmt: skip


def left_out(quick: bool) -> Iterator[str]:
    """A line for each method that the comparison would have if its library were there."""
    for name in (QUICK if quick else WHOLE).methods:
        if lacking := method(name).lacking():
            yield f"{name} is left out: it {lacking}"


@dataclass(frozen=True)
class Line:
    """One method under one setting: over searches in the table's world, but for `null` and `known`, shares of searches
    in those worlds that name a winner, and that find the planted one or its equal. `rank` is the mean rank by true gain
    among the methods, 1 the best. `ordinary` is the share of the images after which its volume is what the ordinary
    set-up's is after all of them; None where that is not among the methods. `by_images` and `by_time` are volumes at
    the checkpoints of `judging`; a search has `images` to train on, and `seconds` is what its last checkpoint's clock
    says.
    """

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
    ordinary: Reached | None
    wasted: Estimate
    infeasible: Estimate
    modelled: float
    own_seconds: float
    rank: float
    by_images: tuple[Estimate, ...]
    by_time: tuple[Estimate, ...]
    images: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Prospect:
    """What there is to be found within a setting's budget in the table's world: points of true accuracy above all-add
    of a uniform draw on average, and of the best; how looks without noise rank the truth (Spearman), by either figure,
    and what the `TOP` that they rank first gain on average: what a search can come to that goes by such looks alone.
    """

    setting: Setting
    drawn: float
    best: float
    by_accuracy: float
    by_loss: float
    liked_by_accuracy: float
    liked_by_loss: float


@dataclass(frozen=True)
class ByTruth:
    """The same searches judged by one fidelity, to which so many `architectures` were trained."""

    truth: str
    architectures: int
    lines: tuple[Line, ...]
    prospects: tuple[Prospect, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "truth": self.truth, "architectures": self.architectures,
            "prospects": [asdict(one) for one in self.prospects], "lines": [line.to_json() for line in self.lines],
        }  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What every method came to, by each truth, and of what table."""

    comparison: Comparison
    table: Mapping[str, Any]
    truths: tuple[ByTruth, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "table": dict(self.table), "comparison": asdict(self.comparison),
            "critical_difference": {one.name: self.comparison.critical(one) for one in self.comparison.settings},
            "truths": [one.to_json() for one in self.truths],
        }  # fmt: skip


def compare(
    table: Table, comparison: Comparison, processes: int, progress: Callable[[int, int], None], out: Path | None = None
) -> Result:
    """Run every method under every setting in the three worlds, each with the same noise for all methods.

    A search in the table's world is judged by each of the truths; the planted worlds are of the first of them, and it
    says what is a look: whatever trains on fewer images.

    With a folder each finished search is kept there, and none is made twice; methods and seeds may become more.

    Raises BenchError: a table that is too small for a world or lacks a truth, an unknown method, or a folder of another
    comparison.
    """
    of_table = table_world(table)
    long = (of_table.truth, str(table.header["fidelities"]["tuned"]))
    by_truth = {one: of_table.judged_by(one) for one in comparison.truths or long}
    comparison, world = replace(comparison, truths=tuple(by_truth)), next(iter(by_truth.values()))
    worlds = {"table": by_truth, "null": {world.truth: world.null()}, "known": {world.truth: world.known(PLANTED)}}
    jobs = [
        job
        for job in product(comparison.methods, comparison.settings, worlds, range(comparison.seeds))
        if job[0] in comparison.playing(job[1])
    ]
    kept = None if out is None else Kept(out, _identity(table, comparison))
    searches: dict[Key, ByFidelity] = {}
    try:
        if kept is not None:
            searches.update(kept.searches)
        missing = [job for job in jobs if _key(job) not in searches]
        progress(len(jobs) - len(missing), len(jobs))
        for done, (job, judged) in enumerate(_judged(worlds, comparison.look, missing, processes), 1):
            searches[_key(job)] = judged
            if kept is not None:
                kept.keep(_key(job), judged)
            progress(len(jobs) - len(missing) + done, len(jobs))
    finally:
        if kept is not None:
            kept.close()
    found: Found = {}
    for job in jobs:
        for truth, one in searches[_key(job)].items():
            found.setdefault((*job[:3], truth), []).append(one)
    facts = {
        "name": table.name, "hash": table_hash(table), "trainings": sum(t.error is None for t in table.trainings),
        "size": world.space.size, "look": comparison.look, "deviations": len(world.deviations),
    }  # fmt: skip
    truths = tuple(_by_truth(table, comparison, found, one) for one in by_truth.values())
    return Result(comparison, facts, truths)


def _by_truth(table: Table, comparison: Comparison, found: Found, world: World) -> ByTruth:
    return ByTruth(
        world.truth, len(list(table.architectures(world.truth))),
        tuple(
            _line(name, setting, comparison, found, world)
            for setting in comparison.settings for name in comparison.playing(setting)
        ),
        tuple(_prospect(setting, world, comparison.look) for setting in comparison.settings),
    )  # fmt: skip


Job = tuple[str, Setting, str, int]
#: By the name of a world: it by each of its truths.
Worlds = Mapping[str, Mapping[str, World]]
#: By method, setting, world and truth: its searches.
Found = dict[tuple[str, Setting, str, str], list[Judged]]
_worlds: dict[str, Mapping[str, World]] = {}
_look = ""


def _key(job: Job) -> Key:
    name, setting, world, number = job
    return name, setting.name, world, number


def _identity(table: Table, comparison: Comparison) -> dict[str, Any]:
    """What a kept search depends on beside its key, but for the code."""
    return {
        "table": table_hash(table), "look": comparison.look, "truths": comparison.truths,
        "settings": [one.name for one in comparison.settings],
        "planted": [[*where, gain] for where, gain in PLANTED.items()], "checkpoints": [*CHECKPOINTS, EQUAL],
        "versions": {name: found for name in _VERSIONS if (found := _version(name)) is not None},
    }  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _begin(worlds: Worlds, look: str) -> None:
    """In a process of its own."""
    global _look
    _worlds.update(worlds)
    _look = look
    import torch

    torch.set_num_threads(1)


def _begin_worker(worlds: Worlds, look: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and ends this
    _begin(worlds, look)


def _one(job: Job) -> ByFidelity:
    name, setting, world_name, number = job
    by_truth = _worlds[world_name]
    world = next(iter(by_truth.values()))
    brief = brief_of(world, setting.max_flops, _look, _images(setting, world, _look), setting.workers, number)
    played = method(name).play(brief, world, number)
    return {truth: judge(played, brief, one) for truth, one in by_truth.items()}


def _images(setting: Setting, world: World, look: str) -> int:
    return setting.looks * world.images(look)


def _judged(worlds: Worlds, look: str, jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, ByFidelity]]:
    """Each job with what it came to, as they end."""
    if processes == 1:
        _begin(worlds, look)
        yield from ((job, _one(job)) for job in jobs)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _begin_worker, (worlds, look))
    try:
        running = {pool.submit(_one, job): job for job in jobs}
        for future in as_completed(running):
            yield running[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _prospect(setting: Setting, world: World, look: str) -> Prospect:
    brief = brief_of(world, setting.max_flops, look, _images(setting, world, look), setting.workers, 0)
    figures = world.figures[[brief.feasible(architecture) for architecture in world.architectures]]
    place, truth = 2 * world.fidelities.index(look), figures[:, 2 * world.fidelities.index(world.truth)]
    gains = 100 * (truth - world.true_accuracy(world.space.baseline))
    looks = (figures[:, place], -figures[:, place + 1])
    by_accuracy, by_loss = (float(spearman(seen, truth)) for seen in looks)
    liked = (float(gains[np.argsort(-seen, kind="stable")[:TOP]].mean()) for seen in looks)
    return Prospect(setting, float(gains.mean()), float(gains.max()), by_accuracy, by_loss, *liked)


def _line(
    name: str,
    setting: Setting,
    comparison: Comparison,
    found: Found,
    world: World,
) -> Line:
    there, planted = found[name, setting, "table", world.truth], comparison.truths[0]
    null, known = (found[name, setting, each, planted] for each in ("null", "known"))
    methods = comparison.playing(setting)
    gains = np.array([[o.gain for o in found[other, setting, "table", world.truth]] for other in methods])
    ranks = ranks_of(gains)
    images = _images(setting, world, comparison.look)

    def of(figure: Callable[[Judged], float]) -> Estimate:
        return mean_of(np.array([figure(one) for one in there]))

    return Line(
        name, setting, of(lambda one: one.gain), spread_of(np.array([one.gain for one in there])),
        of(lambda one: one.regret), of(lambda one: one.volume), of(lambda one: float(np.mean(one.by_images))),
        of(lambda one: float(np.mean(one.by_time))), share_of([one.named for one in null]),
        share_of([one.found for one in known]), _ordinary(there, found.get((ORDINARY, setting, "table", world.truth))),
        of(lambda one: one.wasted),
        share_of([one.infeasible for one in there]), float(np.mean([one.modelled for one in there])),
        float(np.mean([one.own_seconds for one in there])), float(ranks[methods.index(name)].mean()),
        tuple(mean_of(column) for column in np.array([one.by_images for one in there]).T),
        tuple(mean_of(column) for column in np.array([one.by_time for one in there]).T),
        images, expected_seconds(images, world, setting.workers),
    )  # fmt: skip


def _ordinary(there: Sequence[Judged], ordinary: Sequence[Judged] | None) -> Reached | None:
    if ordinary is None:
        return None
    volumes = np.array([one.by_images[-1] for one in ordinary])
    return reached_by(np.array([one.by_images for one in there]), CHECKPOINTS, volumes)
