"""What fusion operators are worth by a table: the mean effect of each in place of add, at each point, with intervals.

By least squares over the architectures' means y = Σ over points of effect(point, operator) + rest, what a seed does to
all alike taken out, ratios of an operator taken together. The rest is what an architecture has of its own, the noise of
its seeds in it, and is the same for all: intervals are Student's, with as many degrees of freedom as architectures are
more than unknowns. (Resampling architectures instead loses an operator that two have in some resamples, and then its
interval says nothing.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from nas.bench.decomposition import two_way
from nas.bench.table import Table
from trials.record.training import Training

#: Architectures that an effect is estimated from, at the least.
_FEWEST = 2


@dataclass(frozen=True)
class OperatorEffect:
    """Points of accuracy at a long schedule that an operator is worth at a point above add there, with a 95 % interval;
    of so many architectures that have it there."""

    fidelity: str
    point: str
    operator: str
    points: float
    low: float
    high: float
    architectures: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def operator_effects(table: Table) -> list[OperatorEffect]:
    """At the truth and at the long fine-tuning beside it, of every operator at every point that enough architectures
    trained so have; none of a schedule while they are too few."""
    named = table.header["fidelities"]
    return [effect for fidelity in (named["truth"], named["tuned"]) for effect in _effects_at(table, fidelity)]


def _effects_at(table: Table, fidelity: str) -> list[OperatorEffect]:
    there = [t for t in table.trainings if t.error is None and f"{t.start.partition(':')[0]}-{t.epochs}" == fidelity]
    keys = sorted({t.architecture.key for t in there})
    columns = _columns(table, there)
    # As many architectures as unknowns fit anything, and say nothing.
    if not columns or len(keys) < 2 * len(columns):
        return []
    by_key = {t.architecture.key: t for t in there}
    design = np.array([[1.0, *(float(_has(by_key[key], column)) for column in columns)] for key in keys])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return []
    found = two_way({(t.architecture.key, t.seed): 100 * (t.score or 0.0) for t in there})
    values = np.array([found.architectures[key] for key in keys])
    solved = np.linalg.lstsq(design, values, rcond=None)[0]
    left = len(keys) - design.shape[1]
    variance = float(((values - design @ solved) ** 2).sum()) / left
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))[1:]
    effects, half = solved[1:], float(stdtrit(left, 0.975)) * errors
    counts = {column: len({t.architecture.key for t in there if _has(t, column)}) for column in columns}
    return [
        OperatorEffect(fidelity, *column, float(worth), float(worth - wide), float(worth + wide), counts[column])
        for column, worth, wide in zip(columns, effects, half, strict=True)
    ]


def _columns(table: Table, there: Sequence[Training]) -> list[tuple[str, str]]:
    found = []
    for point, choices in table.points.items():
        for op in dict.fromkeys(choice.partition("/")[0] for choice in choices):
            count = len({t.architecture.key for t in there if _has(t, (point, op))})
            if op != "add" and count >= _FEWEST:
                found.append((point, op))
    return found


def _has(training: Training, column: tuple[str, str]) -> bool:
    return training.architecture.choices[column[0]].op == column[1]
