"""How a run came to where it is: the front's hypervolume and its best after every training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.front import hypervolume, non_dominated
from reports.summary import reference_point
from reports.trial_view import OBJECTIVES, TrialView
from reports.view import RunView


@dataclass(frozen=True)
class Step:
    """After so many trainings, hours of the clock (None where not recorded) and hours of workers: the front's share of
    its box, the best estimate or score so far (0..1), and how probably that is better than all-add."""

    trainings: int
    hours: float | None
    worker_hours: float
    volume: float | None
    best: float
    better: float | None


def course_of(view: RunView) -> list[Step]:
    """A step wherever something changed, by what is known at the end: earlier estimates are not kept."""
    begun = view.sessions[0].started_at if view.sessions else None
    order = sorted(view.complete, key=lambda t: (view.moments.get(t.result.number, 0.0), t.result.number))
    names = view.objectives if all(name in OBJECTIVES for name in view.objectives) else ()
    reference = reference_point(view)[0] if names else []
    box = math.prod(bound or 1.0 for bound in reference)
    rising = [OBJECTIVES[name] for name in names]
    steps: list[Step] = []
    kept: list[list[float]] = []
    best: TrialView | None = None
    worked, volume = 0.0, 0.0
    for count, trial in enumerate(order, 1):
        worked += trial.result.seconds
        changed = False
        if trial.able:
            if best is None or (trial.quality or 0.0) > (best.quality or 0.0):
                best, changed = trial, True
            values = [trial.objective(name) for name in names]
            point = [value for value in values if value is not None]
            if names and len(point) == len(names) and not _dominated(point, kept, rising):
                kept.append(point)
                kept = [p for p, keep in zip(kept, non_dominated(kept, rising), strict=True) if keep]
                volume, changed = hypervolume(kept, reference, rising) / box, True
        if best is not None and (changed or count == len(order)):
            moment = view.moments.get(trial.result.number)
            hours = None if moment is None or begun is None else (moment - begun) / 3600
            steps.append(Step(count, hours, worked / 3600, volume if kept else None, best.quality or 0.0, best.better))
    return steps


def _dominated(point: Sequence[float], kept: Sequence[Sequence[float]], rising: Sequence[bool]) -> bool:
    """Whether one of `kept` is as good in all and better in one."""
    for other in kept:
        gains = [(o - p) if up else (p - o) for o, p, up in zip(other, point, rising, strict=True)]
        if min(gains) >= 0 and max(gains) > 0:
            return True
    return False
