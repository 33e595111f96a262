"""How well estimates cover what is true in FusionBench's worlds, beside scores and losses alone; and what they take."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.bench import load
from nas.bench.arena import table_world
from nas.bench.arena.compare import PLANTED
from nas.bench.arena.worlds import World
from reports.estimates import SURE
from search_spaces.architecture import Architecture
from trials.estimates.estimates import Estimates
from trials.record.training import Training

SEARCHES = 40
SIZES = (16, 48)
FIDELITIES = ("inherit-3", "inherit-9", "scratch-18")


@dataclass(frozen=True)
class Found:
    """One search: shares of true gains within their intervals, whether the best's is, its true gain by what it is
    chosen, and whether it is said to be one."""

    covered: float
    best_covered: bool
    by_estimate: float
    by_score: float
    by_loss: float
    named: bool


def main() -> None:
    """How well estimates cover true gains, whether what they choose is better, and how long they take."""
    table = table_world(load())
    print("world  fidelity    trained  gains covered  best covered  said to be a gain  true gain of the best by")
    print("                                                                            estimate  score   loss")
    covered, best = [], []
    for world in (table.null(), table.known(PLANTED), table):
        for fidelity in FIDELITIES:
            for size in SIZES:
                found = [_search(world, fidelity, size, n) for n in range(SEARCHES)]
                covered.append(np.mean([f.covered for f in found]))
                best.append(np.mean([f.best_covered for f in found]))
                gains = [np.mean([getattr(f, name) for f in found]) for name in ("by_estimate", "by_score", "by_loss")]
                print(
                    f"{world.name:<6} {fidelity:<11} {size:>7}  {covered[-1]:>13.0%}  {best[-1]:>12.0%}  "
                    f"{np.mean([f.named for f in found]):>17.0%}  {gains[0]:>8.2f}  {gains[1]:>5.2f}  {gains[2]:>5.2f}",
                    flush=True,
                )
    print(f"of 90 % intervals cover on average {np.mean(covered):.0%} and {np.mean(best):.0%} of the best's")
    print("\ntrainings  fit       10,000 predicted gains")
    for size in (50, 200, 800):
        fitted, predicted = _timed(table, size)
        print(f"{size:>9}  {fitted:>6.2f} s  {predicted:>6.2f} s")


def _search(world: World, fidelity: str, size: int, number: int) -> Found:
    base, place = world.space.baseline, 2 * world.fidelities.index(fidelity)
    true = {a.key: 100 * float(world.figures[row, place]) for row, a in enumerate(world.architectures)}
    others = [a for a in world.architectures if a.key != base.key]
    trained = [base, *random.Random(number).sample(others, size - 1)]
    looks = _looks(world, fidelity, trained, number)
    found = Estimates(looks, base, _target(fidelity))(trained)
    gains = [true[a.key] - true[base.key] for a in trained]
    first = looks[: len(trained)]
    chosen = int(np.argmax([e.gain.mean for e in found]))
    within = [e.gain.low <= gain <= e.gain.high for e, gain in zip(found, gains, strict=True)]
    return Found(
        float(np.mean(within[1:])),
        within[chosen],
        gains[chosen],
        gains[int(np.argmax([t.score or 0.0 for t in first]))],
        gains[int(np.argmin([t.loss or 0.0 for t in first]))],
        found[chosen].better >= SURE,
    )


def _looks(world: World, fidelity: str, trained: Sequence[Architecture], number: int) -> list[Training]:
    """One of each under one seed, and of the first two under two more, as a search makes them."""
    start, epochs = _target(fidelity)
    pairs = [*((a, 0) for a in trained), *((a, seed) for a in trained[:2] for seed in (1, 2))]
    looks = [(a, seed, world.look(a, fidelity, seed, number)) for a, seed in pairs]
    return [Training(a, s, epochs, start, score=look.accuracy, loss=look.loss, images=20_000) for a, s, look in looks]


def _target(fidelity: str) -> tuple[str, int]:
    start, epochs = fidelity.split("-")
    return start, int(epochs)


def _timed(world: World, size: int) -> tuple[float, float]:
    """Seconds to fit, and to predict; the median of five."""
    trained = [world.space.baseline, *random.Random(0).sample(world.architectures[1:], size - 1)]
    looks = _looks(world, "inherit-3", trained, 0)
    asked = random.Random(1).choices(world.architectures, k=10_000)
    fits, predictions = [], []
    for _ in range(5):
        began = time.perf_counter()
        estimates = Estimates(looks, world.space.baseline, _target("inherit-3"))
        fits.append(time.perf_counter() - began)
        began = time.perf_counter()
        estimates.gains(asked)
        predictions.append(time.perf_counter() - began)
    return float(np.median(fits)), float(np.median(predictions))
