"""What a search was worth, by what is true of its world: what it recommends, its front, what it wasted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nas.bench.arena.playing import Brief, Event, Play
from nas.bench.arena.worlds import World
from reports.front import hypervolume, non_dominated
from search_spaces.architecture import Architecture

#: Shares of the images, and of the time, at which a front is judged.
CHECKPOINTS = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
#: Points of accuracy by which an architecture may be worse than the best and still be its equal.
EQUAL = 0.05


@dataclass(frozen=True)
class Judged:
    """One search, judged.

    gain: points of true accuracy of what it recommends above all-add; what recommends nothing ships all-add: 0.
    regret: points below the best architecture within the budget. found: it is that one's equal.
    named: it says that its recommendation beats all-add. infeasible: its recommendation is over the budget.
    volume: of the true figures of its front, as a share of the best front's; by_images and by_time at the checkpoints,
    whose last is all of the images, or as long as one worker's share of them takes on average.
    wasted: share of images trained on what is over the budget or was trained before. modelled: share of looks whose
    architecture the table lacks. seconds: of the simulated clock. own_seconds: of the method itself.
    """

    gain: float
    regret: float
    found: bool
    named: bool
    infeasible: bool
    volume: float
    by_images: tuple[float, ...]
    by_time: tuple[float, ...]
    wasted: float
    modelled: float
    seconds: float
    own_seconds: float


def judge(played: Play, brief: Brief, world: World) -> Judged:
    """What it was worth in a world whose truth is known."""
    baseline = world.true_accuracy(brief.space.baseline)
    best = _best_front(world, brief.max_macs)[0]
    shipped = played.recommended or brief.space.baseline
    over = not brief.feasible(shipped)
    true = world.true_accuracy(brief.space.baseline if over else shipped)
    events = played.events
    images = [share * brief.images for share in CHECKPOINTS]
    whole = expected_seconds(brief.images, world, brief.workers)
    return Judged(
        100 * (true - baseline), 100 * (best - true), 100 * (best - true) <= EQUAL, played.names_winner, over,
        _volume(events, brief, world),
        tuple(_volume([e for e in events if e.images <= most], brief, world) for most in images),
        tuple(_volume([e for e in events if e.at_seconds <= s * whole], brief, world) for s in CHECKPOINTS),
        _wasted(events, brief, world), float(np.mean([not e.look.measured for e in events])) if events else 0.0,
        events[-1].at_seconds if events else 0.0, played.own_seconds,
    )  # fmt: skip


def expected_seconds(images: int, world: World, workers: int) -> float:
    """What so many images take on average by the simulated clock, split among workers that are never idle."""
    return images / world.images_per_epoch * float(world.epoch_seconds.mean()) / workers


def _wasted(events: Sequence[Event], brief: Brief, world: World) -> float:
    seen, wasted, whole = set(), 0, 0
    for event in events:
        images, identity = world.images(event.ask.fidelity), event.ask
        whole += images
        key = (identity.architecture.key, identity.fidelity, identity.seed)
        if key in seen or not brief.feasible(identity.architecture):
            wasted += images
        seen.add(key)
    return wasted / whole if whole else 0.0


def _volume(events: Sequence[Event], brief: Brief, world: World) -> float:
    """That of the true figures of what looks non-dominated at the highest fidelity seen, of the best front's."""
    fidelities = sorted(world.fidelities, key=world.images)
    seen: dict[Architecture, tuple[int, float]] = {}
    for event in events:
        if brief.feasible(event.ask.architecture):
            look = fidelities.index(event.ask.fidelity), event.look.accuracy
            seen[event.ask.architecture] = max(look, seen.get(event.ask.architecture, look))
    if not seen:
        return 0.0
    highest = max(fidelity for fidelity, _ in seen.values())
    there = [(a, accuracy) for a, (fidelity, accuracy) in seen.items() if fidelity == highest]
    kept = non_dominated([(accuracy, world.price(a).macs) for a, accuracy in there], (True, False))
    front = [(world.true_accuracy(a), world.price(a).macs) for (a, _), keep in zip(there, kept, strict=True) if keep]
    _, whole, reference = _best_front(world, brief.max_macs)
    return hypervolume(front, reference, (True, False)) / whole if whole > 0 else 0.0


@lru_cache(maxsize=64)
def _best_front(world: World, max_macs: float | None) -> tuple[float, float, tuple[float, float]]:
    """The best true accuracy within the budget, the best front's volume, and the corner that volumes are up to: the
    worst architecture's accuracy, and the budget or, without one, the largest network."""
    macs = [world.price(architecture).macs for architecture in world.architectures]
    limit = max(macs) if max_macs is None else max_macs
    points = [
        (world.true_accuracy(a), cost) for a, cost in zip(world.architectures, macs, strict=True) if cost <= limit
    ]
    reference = (min(accuracy for accuracy, _ in points), 1.0001 * limit)
    return max(accuracy for accuracy, _ in points), hypervolume(points, reference, (True, False)), reference
