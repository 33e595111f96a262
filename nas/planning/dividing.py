"""What is given, divided among first looks, longer ones and finalists: as much as fits.

Finalists come first, up to half of what is left: without them there is no verdict. Looks have the rest. Where not even
two paired seeds of one finalist fit, looks have all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.planning.resolution import Noise, resolves
from nas.planning.workers import ends_after
from nas.settings.rungs import planned_looks
from reports.formatting import format_duration
from reports.noise import counted

#: Of what is left, finals may take so much where not all of them fit; seeds that they take at the least.
FINALS_SHARE, FEWEST_SEEDS = 0.5, 2


@dataclass(frozen=True)
class Demand:
    """What is asked: `looks` first looks in all, of which `done` are over; `rungs` are the epochs of each schedule;
    `finalists` under `seeds` seeds, up to `most` while the verdict is open. `longer` counts the looks of each longer
    rung that were begun; `kept` are finalists and seeds that were planned before, which stay while they fit."""

    looks: int
    done: int
    rungs: tuple[int, ...]
    finalists: int
    seeds: int
    most: int
    longer: tuple[int, ...] = ()
    kept: tuple[int, int] | None = None


@dataclass(frozen=True)
class Means:
    """What there is: seconds on the clock and of devices that are left (None: no limit), `workers` side by side that
    hold `devices` each, `running` the seconds left of what they run; `look_s` is what a look of each rung takes (0:
    that is not known), `final_s` a finalist's training, and `fixed_s` what is neither (the front's latency)."""

    seconds: float | None
    device_seconds: float | None
    workers: int
    devices: float
    look_s: tuple[float, ...]
    final_s: float
    fixed_s: float
    running: tuple[float, ...] = ()

    def takes(self, looks: Sequence[float], finals: Sequence[float]) -> float:
        """Seconds until all of these have ended, the finals after the looks."""
        return ends_after((looks, finals), self.workers, self.running) + self.fixed_s

    def fits(self, looks: Sequence[float], finals: Sequence[float], share: float = 1.0) -> bool:
        """Whether trainings of so many seconds, the finals after the looks, fit into a share of what there is."""
        held = (sum(self.running) + sum(looks) + sum(finals)) * self.devices
        return (self.seconds is None or self.takes(looks, finals) <= share * self.seconds) and (
            self.device_seconds is None or held <= share * self.device_seconds
        )

    @property
    def affordable(self) -> float:
        """More first looks than can fit."""
        ever = [math.inf]
        if self.seconds is not None:
            ever.append(self.workers * max(self.seconds, 0.0) / self.look_s[0])
        if self.device_seconds is not None:
            ever.append(max(self.device_seconds, 0.0) / (self.look_s[0] * self.devices))
        return min(ever) + 1


@dataclass(frozen=True)
class Division:
    """So many looks by each of `rungs` (epochs), the first ones those that are over among them; finalists and seeds,
    0 of both for none; what is left to do takes `seconds`, None where that is not known; `resolves` is in points."""

    looks: tuple[int, ...]
    rungs: tuple[int, ...]
    finalists: int
    seeds: int
    seconds: float | None = None
    resolves: float | None = None

    def text(self, given: float | None = None, up_to: bool = False) -> str:
        """`24 first looks, 8 second (9 epochs), 3 finalists × 3 seeds; about 41 min of 60 min; resolves 0.5 points`."""
        order = ("first", "second", "third", "fourth", "fifth")
        first = counted(self.looks[0], "look" if len(self.rungs) == 1 else "first look")
        parts = [f"up to {first}" if up_to else first]
        for place, (looks, epochs) in enumerate(zip(self.looks, self.rungs, strict=True)):
            if place and looks:
                name = order[place] if place < len(order) else f"{place + 1}th"
                parts.append(f"{looks} {name} ({counted(epochs, 'epoch')})")
        if self.finalists:
            parts.append(f"{counted(self.finalists, 'finalist')} × {counted(self.seeds, 'seed')}")
        said = [", ".join(parts)]
        if self.seconds is not None:
            of = "" if given is None else f" of {format_duration(given)}"
            said.append(f"about {format_duration(self.seconds)}{of}")
        if self.resolves is not None:
            said.append(f"resolves {points(self.resolves)}")
        return "; ".join(said)

    def to_json(self) -> dict[str, Any]:
        return {
            "looks": list(self.looks), "rungs": list(self.rungs), "finalists": self.finalists, "seeds": self.seeds,
            "seconds": self.seconds, "resolves_points": self.resolves,
        }  # fmt: skip


def points(value: float) -> str:
    """`0.5 points`, `0.04 points`."""
    return f"{value:.1f} points" if value >= 0.095 else f"{value:.2f} points"


def fewer_finals(finalists: int, seeds: int) -> list[tuple[int, int]]:
    """What is asked, then what is less: finalists go before seeds, for few seeds hardly tell their own noise."""
    return [(f, s) for s in range(seeds, FEWEST_SEEDS - 1, -1) for f in range(finalists, 0, -1)]


def divide(demand: Demand, means: Means, noise: Noise) -> Division:
    """What fits. Where nothing is limited, all that is asked; where something is and nothing is known of what a look
    takes, nothing is said of the rest."""
    if not means.look_s[0]:
        limited = means.seconds is not None or means.device_seconds is not None
        looks = demand.done if limited else demand.looks
        whole = resolves(noise, demand.finalists, demand.seeds, demand.most)
        return Division(
            planned_looks(demand.rungs, looks), demand.rungs, demand.finalists, demand.seeds, None, whole
        )  # fmt: skip
    finalists, seeds = _finals_that_fit(demand, means) or (0, 0)
    ending = _finals(means, finalists, seeds)
    low, high = demand.done, max(demand.done, int(min(demand.looks, demand.done + means.affordable)))
    while low < high:
        middle = (low + high + 1) // 2
        if means.fits(_looks(demand, means, middle), ending):
            low = middle
        else:
            high = middle - 1
    finalists = min(finalists, max(low - 1, 0))  # one of the looks is all-add's
    seeds = seeds if finalists else 0
    ending = _finals(means, finalists, seeds)
    seconds = means.takes(_looks(demand, means, low), ending)
    most = max(demand.most - demand.seeds, 0) + seeds
    resolved = resolves(noise, finalists, seeds, most)
    return Division(planned_looks(demand.rungs, low), demand.rungs, finalists, seeds, seconds, resolved)


def _finals_that_fit(demand: Demand, means: Means) -> tuple[int, int] | None:
    """Finalists and seeds, of which the first looks are never so few that there is nobody to judge; None for none."""
    options = fewer_finals(demand.finalists, demand.seeds)
    if not options or _fits_whole(demand, means, options[0]):
        return next(iter(options), None)
    least = _looks(demand, means, min(max(2, demand.done), demand.looks))  # with the longer looks that these bring
    fitting = [one for one in options if means.fits(least, _finals(means, *one))]
    if demand.kept in fitting:
        return demand.kept
    within = (one for one in fitting if means.fits([], _finals(means, *one), FINALS_SHARE))
    of_one = (one for one in fitting[::-1] if one[0] == 1)
    return next(within, next(of_one, None))


def _fits_whole(demand: Demand, means: Means, finals: tuple[int, int]) -> bool:
    """Whether all that is asked fits, the looks among it."""
    if demand.looks - demand.done > means.affordable:
        return False
    return means.fits(_looks(demand, means, demand.looks), _finals(means, *finals))


def _looks(demand: Demand, means: Means, looks: int) -> list[float]:
    """Seconds of each that is not over."""
    begun = (demand.done, *demand.longer, *[0] * len(demand.rungs))[: len(demand.rungs)]
    whole, over = planned_looks(demand.rungs, looks), begun
    return [
        seconds for seconds, wanted, done in zip(means.look_s, whole, over, strict=True) for _ in range(wanted - done)
    ]


def _finals(means: Means, finalists: int, seeds: int) -> list[float]:
    return [means.final_s] * ((1 + finalists) * seeds if finalists else 0)
