"""Pareto fronts: which points are non-dominated, how much they dominate, where the knee is."""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np


def non_dominated(points: Sequence[Sequence[float]], maximise: Sequence[bool]) -> list[bool]:
    """Whether each point [n][objectives] is on the front. Points that are equal are all on it."""
    if not points:
        return []
    kept = moocore.is_nondominated(np.asarray(points, float), maximise=list(maximise), keep_weakly=True)
    return [bool(value) for value in kept]


def hypervolume(points: Sequence[Sequence[float]], reference: Sequence[float], maximise: Sequence[bool]) -> float:
    """The volume that the points dominate, up to the reference point; 0 for no points."""
    if not points:
        return 0.0
    return float(moocore.hypervolume(np.asarray(points, float), ref=list(reference), maximise=list(maximise)))


def knee(points: Sequence[Sequence[float]], maximise: Sequence[bool]) -> int:
    """The index of the front point nearest to the ideal one, each objective scaled to its range on the front.

    Raises:
        ValueError: no points.
    """
    if not points:
        raise ValueError("a front without points has no knee")
    values = np.asarray(points, float) * np.where(maximise, -1.0, 1.0)
    low, high = values.min(axis=0), values.max(axis=0)
    scaled = (values - low) / np.where(high > low, high - low, 1.0)
    return int(np.argmin(np.linalg.norm(scaled, axis=1)))
