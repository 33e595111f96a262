"""Whole searches to their verdicts in FusionBench's worlds: who is named, and whether what is printed is true."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nas.bench import load
from nas.bench.arena import table_world
from nas.bench.arena.compare import PLANTED
from nas.bench.arena.house import House
from nas.bench.arena.judging import EQUAL, judge
from nas.bench.arena.playing import brief_of
from nas.bench.arena.worlds import World

SEARCHES = 50
LOOKS = (16, 24, 48)
FINALISTS = 3
#: Trials and finals train alike, from one trained network: what is judged is what a user hands over.
SCHEDULE = "inherit-9"
BUDGET = 1.05
_HEAD = (
    "world  looks  named  named falsely  best found  true gain  spread  ± printed  covers  pairs agree  finals' share"
)


@dataclass(frozen=True)
class Ended:
    """A search: the architecture that it recommends and its true gain; whether it names a winner, what is true of the
    one that its verdict is about, and the printed interval of it; points, but for `share`, the finals' images as a
    multiple of the search's."""

    recommended: str
    gain: float
    found: bool
    named: bool
    true: float
    low: float
    high: float
    share: float

    def holds(self, other: Ended) -> bool:
        """Whether what is true of the other's finalist is within this one's interval."""
        return self.low <= other.true <= self.high


def main() -> None:
    """How often a winner is named, and whether the printed gain is true, where what is true is known."""
    table = table_world(load()).judged_by(SCHEDULE)
    print(f"{SEARCHES} searches each, looks and finals are {SCHEDULE}, FLOPs ≤ {BUDGET:g}x, {FINALISTS} finalists")
    print(_HEAD)
    for world in (table.null(), table.known(PLANTED), table):
        for looks in LOOKS:
            print(_line(world, looks), flush=True)
    print("± printed: half of the interval of the verdict's gain, median; covers: it holds the true gain; pairs agree:")
    print("of two searches, each's verdict is about a gain within the other's interval; finals' share: of the images")


def _line(world: World, looks: int) -> str:
    ended = [_search(world, looks, number) for number in range(SEARCHES)]
    gains, shares = np.array([one.gain for one in ended]), [one.share for one in ended]
    falsely = [one.named and one.true <= 0 for one in ended]
    widths = [(one.high - one.low) / 2 for one in ended]
    pairs = [a.holds(b) and b.holds(a) for a, b in combinations(ended, 2)]
    return (
        f"{world.name:<6} {looks:>5}  {np.mean([one.named for one in ended]):>5.0%}  {np.mean(falsely):>13.0%}  "
        f"{np.mean([one.found for one in ended]):>10.0%}  {gains.mean():>+9.2f}  {gains.std(ddof=1):>6.2f}  "
        f"{np.median(widths):>9.2f}  {np.mean([one.holds(one) for one in ended]):>6.0%}  {np.mean(pairs):>11.0%}  "
        f"{np.mean(shares):>13.1f}"
    )


def _search(world: World, looks: int, number: int) -> Ended:
    brief = brief_of(world, BUDGET, SCHEDULE, looks * world.images(SCHEDULE), 1, number)
    played = House("ehvi", finalists=FINALISTS)(brief, world, number)
    judged, final = judge(played, brief, world), played.final
    assert final is not None
    assert played.recommended is not None
    true = 100 * (world.true_accuracy(final.about) - world.true_accuracy(world.space.baseline))
    return Ended(
        played.recommended.key, judged.gain, judged.regret <= EQUAL, played.names_winner, true, final.low, final.high,
        final.images / brief.images,
    )  # fmt: skip
