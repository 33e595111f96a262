"""Whether anything that is left to try could still change the verdict, by the model of all trainings.

Of the architectures within the budgets that were not trained, as many as promise most are drawn together, from what the
model holds possible: with its parameters' uncertainty, and with what goes together among them. Nothing is left when
the best of them is better than the leader by a tenth of a point (or by what finals resolve, where that is less) in
fewer than one draw of twenty, and is expected to gain less than that. A tenth, though finals resolve half a point or
more: in FusionBench's worlds a tenth loses nothing, two lose planted winners, for what a short look shows is less than
what is true (docs/notebook.md). Asked now and then only, at counts of trainings that depend on nothing else: one worker
stops at the same place again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from nas.planning.dividing import points
from nas.proposing.candidates import Candidates
from nas.proposing.coded import Coded, Rows
from reports.view import RunView
from search_spaces.space import SearchSpace
from trials.budgets.feasibility import Feasibility
from trials.seeds import derive

#: Before so many architectures were trained nothing is said; then at each growth.
FEWEST, GROWTH = 12, 1.1
#: With less than this probability something better is left.
SURPRISE = 0.05
#: Points that a gain must have to matter, at the most.
MATTERS = 0.1
#: Of a space that is too large to be looked at whole; candidates that are drawn together.
DRAWN, SHORTLIST, WORLDS = 4_000, 256, 256


@dataclass(frozen=True)
class Left:
    """What the best of the untried is worth beside the leader, in points: what it is expected to gain, and how probably
    it gains more than `matters`."""

    expected: float
    surprise: float
    matters: float

    @property
    def nothing(self) -> bool:
        """Whether it could not change a verdict."""
        return self.surprise < SURPRISE and self.expected < self.matters

    def text(self) -> str:
        return (
            f"the best that was not tried is expected to gain {points(self.expected)} on the best that was, and more "
            f"than {points(self.matters)} with a probability of {100 * self.surprise:.1f} %"
        )


def due(trained: int, last: int) -> bool:
    """Whether it is time to ask again, after it was asked at `last`."""
    return trained >= max(FEWEST, int(last * GROWTH) + 1)


def asked_by(trained: int) -> int:
    """At how many trainings it was asked last before so many, were it asked at each of them."""
    last = 0
    for before in range(trained):
        last = before if due(before, last) else last
    return last


def what_is_left(view: RunView, space: SearchSpace, feasibility: Feasibility, matters: float, seed: int) -> Left | None:
    """Of an estimated run; None where nothing can be said of it: too little was trained, or nothing within budgets."""
    model, front = view.model, view.front
    if model is None or not front:
        return None
    coded = Coded(space, feasibility, Candidates(space, feasibility, view.pricing).predicted)
    rows = coded.all if coded.small else coded.within(_drawn(coded, view, seed))
    tried = {row.tobytes() for row in coded.rows(result.architecture for result in view.results)}
    untried = [coded.architecture(row) for row in rows if row.tobytes() not in tried]
    if not untried:
        return Left(0.0, 0.0, matters)
    leader = front[0].result.architecture
    if len(untried) > SHORTLIST:
        mean, sd = model.gains(untried)
        order = np.argsort(-(mean + 2 * sd), kind="stable")[:SHORTLIST]
        untried = [untried[place] for place in order]
    best = model.best_of(untried, leader, WORLDS, derive(seed, "enough", len(view.results)))
    gains = np.maximum(best.gains, 0.0)
    return Left(float(best.weights @ gains), float(best.weights @ (best.gains > matters)), matters)


def _drawn(coded: Coded, view: RunView, seed: int) -> Rows:
    rng = random.Random(derive(seed, "enough"))
    near = coded.near(coded.rows(t.result.architecture for t in view.front[:8]), rng, 100)
    return np.concatenate([coded.drawn(rng, DRAWN), near])
