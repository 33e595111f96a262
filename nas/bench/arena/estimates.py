"""Figures over searches, with their intervals; mean ranks, and how far apart they must be to differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
RESAMPLES = 2000
#: The 5 % quantiles of the studentised range of so many means over √2, infinite degrees of freedom (Demšar, JMLR 2006).
_NEMENYI = (
    1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164, 3.219, 3.268, 3.313, 3.354, 3.391, 3.426, 3.458,
    3.489, 3.517, 3.544,
)  # fmt: skip
MOST_METHODS = len(_NEMENYI) + 1


@dataclass(frozen=True)
class Estimate:
    """A figure over searches, and its 95 % interval."""

    value: float
    low: float
    high: float


def ranks_of(values: Values) -> Values:
    """Of [methods, searches], within each search: 1 the highest, ties at their mean."""
    higher = (values[None] > values[:, None]).sum(1)
    equal = (values[None] == values[:, None]).sum(1)
    return np.asarray(higher + (equal + 1) / 2, float)


def mean_of(values: Values) -> Estimate:
    """The mean, with a percentile bootstrap's interval."""
    return _bootstrapped(values, lambda drawn: drawn.mean(-1))


def spread_of(values: Values) -> Estimate:
    """The standard deviation, likewise."""
    return _bootstrapped(values, lambda drawn: drawn.std(-1, ddof=1))


def _bootstrapped(values: Values, statistic: Callable[[Values], Values]) -> Estimate:
    rng = np.random.default_rng(0)
    drawn = statistic(values[rng.integers(0, len(values), (RESAMPLES, len(values)))])
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(float(statistic(values)), float(low), float(high))


def share_of(events: Sequence[bool]) -> Estimate:
    """A share, with Wilson's interval."""
    n, z = len(events), 1.96
    share = sum(events) / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))


def critical_difference(methods: int, searches: int) -> float:
    """Of mean ranks. Raises ValueError for fewer than 2 methods, or more than 20."""
    if not 2 <= methods <= MOST_METHODS:
        raise ValueError(f"{methods} methods: from 2 to {MOST_METHODS} can be compared by ranks")
    return float(_NEMENYI[methods - 2] * (methods * (methods + 1) / (6 * searches)) ** 0.5)
