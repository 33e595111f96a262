"""What a search of many trainings keeps of its estimates, so that looking at it takes no fitting: see `reports.model`."""

from __future__ import annotations

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
    return Kept(model.made.stamp, facts, view.estimates)
