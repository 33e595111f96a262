"""What another run's trainings are worth to a search, and whether those of one that misleads do harm.

Searches of few trials in FusionBench's worlds, judged by what their own schedule comes to: alone, with the looks of a
run of another schedule, and with the same looks under shuffled names, which rank at random but agree with themselves.
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
from trials.record.evidence import Evidence
from trials.record.training import Training

SEARCHES = 40
TRIALS = (6, 10, 16)
LOOK, OTHER, OTHERS = "inherit-9", "inherit-3", 40
BUDGET = 1.05


@dataclass(frozen=True)
class Came:
    """Of one search: how far what it recommends is below the best within the budget, in points of true accuracy, and
    whether it says that it beats all-add."""

    regret: float
    named: bool


def main() -> None:
    """What another run's trainings are worth to a search, and whether those of one that misleads do harm."""
    table = table_world(load())
    print("world  trials  evidence  below the best  says it is a gain")
    for world in (table, table.null()):
        for trials in TRIALS:
            for kind in ("none", "akin", "shuffled"):
                found = [_search(world, trials, kind, number) for number in range(SEARCHES)]
                regrets = np.array([one.regret for one in found])
                error = regrets.std(ddof=1) / len(regrets) ** 0.5
                print(
                    f"{world.name:<6} {trials:>6}  {kind:<8}  {regrets.mean():>5.2f} ± {error:.2f}   "
                    f"{np.mean([one.named for one in found]):>16.0%}",
                    flush=True,
                )


def _search(world: World, trials: int, kind: str, number: int) -> Came:
    judged = world.judged_by(LOOK)
    brief = brief_of(world, BUDGET, LOOK, trials * world.images(LOOK), 1, number)
    evidence = () if kind == "none" else (_evidence(world, number, kind == "shuffled"),)
    play = House("ehvi", evidence)(brief, world, number)
    feasible = [a for a in judged.architectures if brief.feasible(a)]
    true = {a.key: 100 * judged.true_accuracy(a) for a in feasible}
    assert play.recommended is not None
    return Came(max(true.values()) - true[play.recommended.key], play.names_winner)


def _evidence(world: World, number: int, shuffled: bool) -> Evidence:
    """A run of uniform draws, of another realisation of the noise."""
    rng = random.Random(number)
    drawn = [world.space.baseline, *rng.sample(world.architectures[1:], OTHERS - 1)]
    looks = _looks(world, drawn, number)
    if shuffled:
        names = [t.architecture for t in looks]
        rng.shuffle(names)
        looks = [replace(t, architecture=a) for t, a in zip(looks, names, strict=True)]
    return Evidence("runs/other", "other", ("schedule",), len(looks), {}, tuple(looks))


def _looks(world: World, drawn: Sequence[Architecture], number: int) -> list[Training]:
    start, epochs = OTHER.split("-")
    found = []
    for a in drawn:
        look = world.look(a, OTHER, 0, 10_000 + number)
        found.append(Training(a, 0, int(epochs), f"{start}:table", score=look.accuracy, loss=look.loss, images=20_000))
    return found
