"""How probably a candidate keeps to what cannot be computed: a latency that is measured, training without diverging.

Each limit has a Gaussian process of its own over operators and choices, of the violations that trials were told with,
at most 0 within; of failing, what trained is as far within as what failed is over. What was never exceeded is no limit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.special import ndtr

from nas.proposing.coded import Coded, Rows
from nas.proposing.sampler import FAILED, Told
from trials.estimates.kernel import Values, parts_of

#: Of the kernel's five parts: an operator anywhere, at its point, and with its ratio.
_MIXTURE = np.array([0.3, 0.4, 0.2, 0.0, 0.1])
#: Of a violation's spread: what is noise.
_NOISE = 0.1
#: Exact: computed, never learnt.
COMPUTED = ("macs", "params")


def rows_of(told: Sequence[Told], coded: Coded) -> Rows:
    """The rows of what was told."""
    return np.array([one.choices for one in told], np.int64).reshape(-1, len(coded.choices))


class Limits:
    """Of the trials that were told."""

    def __init__(self, coded: Coded, told: Sequence[Told]) -> None:
        self._coded = coded
        metrics = {metric for one in told for metric in one.violations if metric not in COMPUTED}
        self._known = []
        for metric in sorted(metrics):
            if metric == FAILED:
                values = [
                    (one, one.violations.get(FAILED, -1.0)) for one in told if one.values or FAILED in one.violations
                ]
            else:
                values = [(one, one.violations[metric]) for one in told if metric in one.violations]
            if any(value > 0 for _, value in values):
                rows = rows_of([one for one, _ in values], coded)
                self._known.append(_Known(coded, rows, np.array([value for _, value in values])))

    def probability(self, rows: Rows) -> Values:
        """[n]: that a candidate keeps to all of them."""
        found = np.ones(len(rows))
        for known in self._known:
            found *= known.within(self._coded, rows)
        return found


class _Known:
    def __init__(self, coded: Coded, rows: Rows, values: Values) -> None:
        self._there = coded.numbered(rows)
        self._mean, self._spread = float(values.mean()), max(float(values.std()), 0.02)
        kernel = np.tensordot(_MIXTURE, parts_of(self._there, self._there, coded.operators), 1)
        self._factor = cho_factor(kernel + _NOISE**2 * np.eye(len(rows)), lower=True)
        self._weights = cho_solve(self._factor, (values - self._mean) / self._spread)

    def within(self, coded: Coded, rows: Rows) -> Values:
        towards = np.tensordot(_MIXTURE, parts_of(coded.numbered(rows), self._there, coded.operators), 1)
        halves = solve_triangular(self._factor[0], towards.T, lower=True)
        sd = np.sqrt(np.maximum(1 - (halves**2).sum(0), 1e-6))
        return np.asarray(ndtr(-(self._mean / self._spread + towards @ self._weights) / sd))
