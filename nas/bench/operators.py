"""What fusion operators are worth by a table: the mean effect of each in place of add, at each point, with intervals.

By least squares over the paired figures y = seed + Σ over points of effect(point, operator) + rest, ratios of an
operator taken together; intervals by resampling architectures, whose own deviations from the sum are the larger part
of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.bench.table import Table
from trials.record.training import Training

RESAMPLES = 400
#: Architectures that an effect is estimated from, at the least.
_FEWEST = 2


@dataclass(frozen=True)
class OperatorEffect:
    """Points of accuracy at the truth that an operator is worth at a point above add there, with a 95 % interval; of
    so many architectures that have it there."""

    point: str
    operator: str
    points: float
    low: float
    high: float
    architectures: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def operator_effects(table: Table) -> list[OperatorEffect]:
    """Of every operator at every point that enough architectures of the truth have; none while they are too few."""
    truth = table.header["fidelities"]["truth"]
    there = [t for t in table.trainings if t.error is None and f"{t.start.partition(':')[0]}-{t.epochs}" == truth]
    keys = sorted({t.architecture.key for t in there})
    columns = _columns(table, there)
    # As many architectures as unknowns fit anything, and say nothing.
    if len(keys) < 2 * len(columns):
        return []
    seeds = sorted({t.seed for t in there})
    design = np.array([_row(t, columns, seeds) for t in there])
    values = np.array([100 * (t.score or 0.0) for t in there])
    effects = _solved(design, values)
    rng, rows = np.random.default_rng(0), [np.flatnonzero([t.architecture.key == key for t in there]) for key in keys]
    drawn = [
        _solved(design[chosen], values[chosen])
        for _ in range(RESAMPLES)
        for chosen in (np.concatenate([rows[i] for i in rng.integers(0, len(keys), len(keys))]),)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    counts = {column: len({t.architecture.key for t in there if _has(t, column)}) for column in columns}
    return [
        OperatorEffect(point, op, float(effects[i]), float(low[i]), float(high[i]), counts[point, op])
        for i, (point, op) in enumerate(columns)
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


def _row(training: Training, columns: Sequence[tuple[str, str]], seeds: Sequence[int]) -> list[float]:
    return [float(_has(training, column)) for column in columns] + [float(training.seed == seed) for seed in seeds]


def _solved(design: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.lstsq(design, values, rcond=None)[0])
