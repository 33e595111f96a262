"""What a search of many trainings keeps of its estimates, so that a look at it fits no model: see `reports.model`."""

from __future__ import annotations

from dataclasses import replace

from reports.model import MANY, Facts, Kept
from reports.view import RunView


def to_keep(view: RunView) -> Kept | None:
    """What is to be kept of a run, estimated or not; None where that is there, or its estimates are made at once."""
    if len(view.trainings) < MANY:
        return None
    view = view.estimated()
    if view.model is None:
        return None
    model, best = view.model, next(iter(view.front), None)
    leader = None if best is None else best.result.architecture
    if model.facts is not None and (leader is None or model.facts.leader == leader.key):
        return None
    others = [t.result.architecture for t in view.complete if leader is None or t.result.architecture.key != leader.key]
    alike = [False] * len(others) if leader is None else model.not_told_apart(others, leader)
    facts = Facts(
        model.own, model.scored, model.epochs, model.seeds_seen, model.going_along, model.kinship,
        tuple((one.architecture.key, one.points, one.noise) for one in model.contradictions()),
        None if leader is None else leader.key, tuple(a.key for a, near in zip(others, alike, strict=True) if near),
    )  # fmt: skip
    return Kept(model.made.stamp, len(view.order), facts, view.estimates)


def at_a_look(view: RunView) -> RunView:
    """The run estimated, for a look at how far it is. Where it has grown since its estimates were kept, it is the run
    as it was then, for to estimate many trainings takes a while."""
    if view.model is not None or len(view.trainings) < MANY:
        return view if view.model is not None else view.estimated()
    there = int((view.kept_estimates or {}).get("trainings", 0))
    if 0 < there < len(view.order):
        before = _as_it_was(view, there).estimated()
        if before.model is not None and before.model.facts is not None:
            return before
    return view.estimated()


def _as_it_was(view: RunView, trainings: int) -> RunView:
    """When it had so many trainings, but for what else is recorded of it by now."""
    order = view.order[:trainings]
    numbers = {number for number in order if number is not None}
    return replace(
        view,
        results=tuple(result for result in view.results if not result.trained or result.number in numbers),
        beside=view.beside[: len(order) - len(numbers)],
        order=order,
    )


def failed_sentence(why: str) -> str:
    """That a search cannot have its estimates made."""
    return f"estimates could not be made beside the search ({why}): it goes on without, and a look takes a while longer"


def looked_at_story(view: RunView, told: RunView) -> list[str]:
    """That what is said of estimates is of the run as it was, in a sentence; none where it is of all of it."""
    if len(told.order) == len(view.order):
        return []
    return [
        f"Best, front and estimates are of its first {len(told.order):,} trainings of {len(view.order):,}: they are "
        "made anew as it grows, and nas show makes them of all."
    ]
