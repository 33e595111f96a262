"""What another run's trainings are worth to a search, and whether those of one that misleads do harm.

In FusionBench's world, judged by what a search's own schedule comes to: alone, with forty looks of a run of another
schedule, with the same looks under shuffled names (which rank at random and agree with themselves), and with looks from
scratch, which rank otherwise than inherited ones really do.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nas.bench import load
from nas.bench.arena import table_world
from nas.bench.arena.house import House
from nas.bench.arena.playing import brief_of
from nas.bench.arena.worlds import World
from search_spaces.architecture import Architecture
from trials.estimates.estimates import Estimates
from trials.record.evidence import Evidence
from trials.record.training import Training

RUNS, SEARCHES = 40, 40
OWN, TRIALS = (4, 8, 16, 32), (8, 16)
LOOK, OTHERS, BUDGET = "inherit-9", 40, 1.05
#: The other run's schedule, and whether its names are shuffled.
KINDS = {
    "none": None,
    "inherit-3": ("inherit-3", False),
    "shuffled": ("inherit-3", True),
    "scratch-18": ("scratch-18", False),
}


@dataclass(frozen=True)
class Told:
    """Of one run's estimates of the whole space, in points: their root mean square error, the share of intervals that
    cover, how far the best by estimate is below the best, how far the other run goes along."""

    error: float
    covered: float
    regret: float
    along: float


def main() -> None:
    """What another run's trainings are worth to a search, and whether those of one that misleads do harm."""
    table = table_world(load())
    print("trained  other run   error of gains  covered  best by estimate below the best  goes along")
    for own in OWN:
        for kind in KINDS:
            told = [_estimated(table, own, kind, number) for number in range(RUNS)]
            error, covered, regret, along = (
                float(np.mean([getattr(one, name) for one in told])) for name in ("error", "covered", "regret", "along")
            )
            print(f"{own:>7}  {kind:<10}  {error:>14.3f}  {covered:>7.0%}  {regret:>31.2f}  {along:>10.2f}", flush=True)
    print("\ntrials  other run   what was proposed below the best  what is recommended")
    for trials in TRIALS:
        for kind in KINDS:
            found = np.array([_searched(table, trials, kind, number) for number in range(SEARCHES)])
            (proposed, recommended), errors = found.mean(0), found.std(0, ddof=1) / len(found) ** 0.5
            print(
                f"{trials:>6}  {kind:<10}  {proposed:>25.2f} ± {errors[0]:.2f}  {recommended:>12.2f} ± {errors[1]:.2f}",
                flush=True,
            )


def _estimated(world: World, own: int, kind: str, number: int) -> Told:
    true = _true(world)
    looks = _looks(world, LOOK, _drawn(world, own, number), number)
    base, start = world.space.baseline, LOOK.split("-")
    estimates = Estimates(looks, base, (f"{start[0]}:table", int(start[1])), _evidence(world, kind, number))
    found = estimates(world.architectures)
    gains = np.array([true[a.key] - true[base.key] for a in world.architectures])
    means = np.array([one.gain.mean for one in found])
    within = [one.gain.low <= gain <= one.gain.high for one, gain in zip(found, gains, strict=True)]
    error, regret = np.sqrt(np.mean((means - gains) ** 2)), gains.max() - gains[means.argmax()]
    along = next(iter(estimates.kinship.values()), 0.0)
    return Told(float(error), float(np.mean(within)), float(regret), along)


def _searched(world: World, trials: int, kind: str, number: int) -> tuple[float, float]:
    """Below the best within the budget: the mean of what was proposed beyond the controls, and what is recommended."""
    brief = brief_of(world, BUDGET, LOOK, trials * world.images(LOOK), 1, number)
    play = House("ehvi", evidence=_evidence(world, kind, number))(brief, world, number)
    true = _true(world)
    best = max(true[a.key] for a in world.architectures if brief.feasible(a))
    assert play.recommended is not None
    asked = [true[event.ask.architecture.key] for event in play.events[2:]]
    return best - float(np.mean(asked)), best - true[play.recommended.key]


def _true(world: World) -> dict[str, float]:
    judged = world.judged_by(LOOK)
    return {a.key: 100 * judged.true_accuracy(a) for a in judged.architectures}


def _evidence(world: World, kind: str, number: int) -> tuple[Evidence, ...]:
    """A run of uniform draws, of another realisation of the noise."""
    given = KINDS[kind]
    if given is None:
        return ()
    fidelity, shuffled = given
    looks = _looks(world, fidelity, _drawn(world, OTHERS, 1_000 + number), 10_000 + number)
    if shuffled:
        names = [t.architecture for t in looks]
        random.Random(number).shuffle(names)
        looks = [replace(t, architecture=a) for t, a in zip(looks, names, strict=True)]
    return (Evidence("runs/other", "other", ("schedule",), len(looks), {}, tuple(looks)),)


def _drawn(world: World, count: int, seed: int) -> list[Architecture]:
    return [world.space.baseline, *random.Random(seed).sample(world.architectures[1:], count - 1)]


def _looks(world: World, fidelity: str, drawn: Sequence[Architecture], realisation: int) -> list[Training]:
    """One of each under one seed, and of the first two under two more."""
    start, epochs = fidelity.split("-")
    pairs = [*((a, 0) for a in drawn), *((a, seed) for a in drawn[:2] for seed in (1, 2))]
    found = [(a, seed, world.look(a, fidelity, seed, realisation)) for a, seed in pairs]
    return [
        Training(a, seed, int(epochs), f"{start}:table", score=look.accuracy, loss=look.loss, images=20_000)
        for a, seed, look in found
    ]
