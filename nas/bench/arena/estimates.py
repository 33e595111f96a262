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


@dataclass(frozen=True)
class Reached:
    """A share of the images after which something is reached, and its 95 % interval; None: not with all of them."""

    share: float | None
    low: float | None
    high: float | None


#: Two means of the same figures differ by so much at the most.
_ROUNDING = 1e-12


def reached_by(curves: Values, shares: Sequence[float], levels: Values) -> Reached:
    """Where the mean of `curves` [searches, shares] comes to the mean of `levels` [searches], straight lines between
    the shares; both are resampled together, for they are of the same seeds."""
    drawn = np.random.default_rng(0).integers(0, len(curves), (RESAMPLES, len(curves)))
    resampled = [_crossing(curves[rows].mean(0), shares, float(levels[rows].mean())) for rows in drawn]
    low, high = np.quantile(resampled, (0.025, 0.975), method="inverted_cdf")
    found = _crossing(curves.mean(0), shares, float(levels.mean()))
    return Reached(*(None if share > shares[-1] else float(share) for share in (found, low, high)))


def _crossing(curve: Values, shares: Sequence[float], level: float) -> float:
    """Infinity where the curve ends below."""
    there = np.flatnonzero(curve >= level - _ROUNDING)
    if not len(there):
        return float("inf")
    first = int(there[0])
    before, share = (curve[first - 1], shares[first - 1]) if first else (0.0, 0.0)
    rise = curve[first] - before
    return float(share + (shares[first] - share) * (min(1.0, (level - before) / rise) if rise > 0 else 0.0))


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
