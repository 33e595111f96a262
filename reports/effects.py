"""What the model of all trainings says an operator is worth at each point: not the mean of whatever was tried there.

An effect is the mean, over the same few architectures, of the score with the operator at the point less the score with
add there, all else alike; the model gives its interval, so that what was seldom tried is known to be little known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from reports.trial_view import rank
from reports.view import RunView
from search_spaces.architecture import Architecture, FusionChoice

if TYPE_CHECKING:
    from trials.estimates.estimate import Estimate
    from trials.estimates.estimates import Combination

#: Architectures that an effect is a mean over, beside all-add: the best by estimate.
CONTEXTS = 8
#: Of a deeper network, pairs are asked of so many of the points where the best architecture has no add.
_POINTS_OF_PAIRS = 16
#: Pairs of whatever was tried are asked of so many choices that were tried most often, and as many that are surest.
_CHOICES_OF_PAIRS = 12
#: Pairs that are named.
PAIRS = 8


@dataclass(frozen=True)
class Effect:
    """What a choice is worth at a point over add, in points of the score; `n` trained architectures have its operator
    there."""

    point: str
    choice: FusionChoice
    n: int
    worth: Estimate


@dataclass(frozen=True)
class Half:
    """What the best architecture's choices in one half of the network are worth over all-add, in points."""

    name: str
    points: tuple[str, ...]
    worth: Estimate


@dataclass(frozen=True)
class Pair:
    """What choices at two points are worth together beyond what each is worth alone, in points; `n` trained
    architectures have both operators there."""

    points: tuple[str, str]
    choices: tuple[FusionChoice, FusionChoice]
    beyond: Estimate
    n: int


@dataclass(frozen=True)
class Effects:
    """All of it; `contexts` are the architectures that effects are means over, `best` the trial whose halves and pairs
    are asked for, None where all-add is best. `tried` are pairs of whatever was tried together, in all-add."""

    effects: tuple[Effect, ...]
    halves: tuple[Half, ...]
    pairs: tuple[Pair, ...]
    tried: tuple[Pair, ...]
    contexts: int
    best: int | None


def effects_of(view: RunView) -> Effects | None:
    """None where nothing is estimated or add is no choice at a point."""
    if view.model is None or view.baseline_trial is None:
        return None
    ranked = sorted(view.able or view.feasible or view.complete, key=rank)
    best = ranked[0]
    contexts = [view.baseline_architecture, *(t.result.architecture for t in ranked[:CONTEXTS])]
    contexts = list({a.key: a for a in contexts}.values())
    tried = _tried(view)
    asked = [(point, choice, n) for (point, _), (choice, n) in tried.items() if choice.op != "add"]
    worths = view.model.fitted.combinations([_replaced(contexts, point, choice) for point, choice, _ in asked])
    effects = tuple(Effect(*one, worth) for one, worth in zip(asked, worths, strict=True))
    if best.result.architecture.key == view.baseline_architecture.key:
        return Effects(effects, (), (), _tried_pairs(view, effects), len(contexts), None)
    chosen = best.result.architecture
    return Effects(
        effects, _halves(view, chosen), _pairs(view, chosen), _tried_pairs(view, effects), len(contexts),
        best.result.number,
    )  # fmt: skip


def _tried(view: RunView) -> Mapping[tuple[str, str], tuple[FusionChoice, int]]:
    """By point and operator: its choice that was tried most often there, and how many architectures have the operator
    there, in the network's order."""
    choices: dict[tuple[str, str], Counter[FusionChoice]] = {}
    for architecture in {t.result.architecture.key: t.result.architecture for t in view.complete}.values():
        for point, choice in architecture.choices.items():
            choices.setdefault((point, choice.op), Counter())[choice] += 1
    return {place: (counts.most_common(1)[0][0], counts.total()) for place, counts in choices.items()}


def _with(architecture: Architecture, choices: Mapping[str, FusionChoice]) -> Architecture:
    return Architecture(architecture.space, {**architecture.choices, **choices})


def _replaced(contexts: list[Architecture], point: str, choice: FusionChoice) -> Combination:
    share = 1 / len(contexts)
    with_it = [(_with(a, {point: choice}), share) for a in contexts]
    return [*with_it, *((_with(a, {point: FusionChoice("add")}), -share) for a in contexts)]


def _halves(view: RunView, chosen: Architecture) -> tuple[Half, ...]:
    """Early against late: each half of the points has the best architecture's choices, the other add."""
    points, base = list(chosen.choices), view.baseline_architecture
    if len(points) < 2 or view.model is None:
        return ()
    middle = len(points) // 2
    halves = (("early", points[:middle]), ("late", points[middle:]))
    asked = [[(_with(base, {p: chosen.choices[p] for p in half}), 1.0), (base, -1.0)] for _, half in halves]
    return tuple(
        Half(name, tuple(half), worth)
        for (name, half), worth in zip(halves, view.model.fitted.combinations(asked), strict=True)
    )


def _pairs(view: RunView, chosen: Architecture) -> tuple[Pair, ...]:
    """The pairs of the best architecture that go together, or against each other, most surely."""
    places = [point for point, choice in chosen.choices.items() if choice.op != "add"][:_POINTS_OF_PAIRS]
    return _surest(view, chosen, list(combinations([(point, chosen.choices[point]) for point in places], 2)))


def _tried_pairs(view: RunView, effects: Sequence[Effect]) -> tuple[Pair, ...]:
    """The same of whatever was tried together, not by the best architecture alone: among the choices that were tried
    most often and those whose own effect is surest, in a network that has add everywhere else."""
    often = sorted(effects, key=lambda e: -e.n)[:_CHOICES_OF_PAIRS]
    sure = sorted(effects, key=lambda e: -abs(e.worth.better - 0.5))[:_CHOICES_OF_PAIRS]
    points = list(view.baseline_architecture.choices)
    choices = sorted({(e.point, e.choice) for e in (*often, *sure)}, key=lambda c: (points.index(c[0]), str(c[1])))
    return _surest(view, view.baseline_architecture, [(a, b) for a, b in combinations(choices, 2) if a[0] != b[0]])


_Place = tuple[str, FusionChoice]


def _surest(view: RunView, ground: Architecture, pairs: Sequence[tuple[_Place, _Place]]) -> tuple[Pair, ...]:
    """Of pairs of choices that some architecture has both of, those that are worth most surely more or less together
    than alone; all else as `ground` has it."""
    add = FusionChoice("add")
    having: dict[tuple[str, str], set[str]] = {}
    for trial in view.complete:
        for point, choice in trial.result.architecture.choices.items():
            having.setdefault((point, choice.op), set()).add(trial.result.architecture.key)
    both = [(a, b, len(having[a[0], a[1].op] & having[b[0], b[1].op])) for a, b in pairs]
    together = [one for one in both if one[2]]
    if not together or view.model is None:
        return ()
    asked = [
        [
            (_with(ground, {p: x, q: y}), 1.0), (_with(ground, {p: add, q: y}), -1.0),
            (_with(ground, {p: x, q: add}), -1.0), (_with(ground, {p: add, q: add}), 1.0),
        ]
        for (p, x), (q, y), _ in together
    ]  # fmt: skip
    found = [
        Pair((p, q), (x, y), beyond, n)
        for ((p, x), (q, y), n), beyond in zip(together, view.model.fitted.combinations(asked), strict=True)
    ]
    return tuple(sorted(found, key=lambda pair: -abs(pair.beyond.better - 0.5))[:PAIRS])
