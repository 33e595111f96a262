"""How much a candidate of uncertain quality and known costs may improve what is there, in closed form.

Of one quality y ~ N(m, s²) and exact costs c, the expected improvement of the hypervolume is

    EHVI(c, m, s) = Σ over cells of cost:  volume(cell ∩ {costs ≥ c}) · EI(m, s; f(cell)),
    EI(m, s; f) = s · (z Φ(z) + φ(z)),  z = (m − f) / s.

The costs of the front's members cut the space of costs, up to its reference, into boxes; in each, f is the best quality
that is there for at most these costs (the reference's, where none is), and the candidate adds y − f over the part of
the box that it can pay for: with one cost, a sum over the steps of the front. Costs being certain, the expectation is
taken of each box by itself. With no cost at all it is the ordinary expected improvement.

Source: the hypervolume's decomposition into boxes, Emmerich, Deutz & Klinkenberg 2011 and Yang et al. 2019; expected
improvement, Jones, Schonlau & Welch 1998; over the front of estimated means instead of observed values, as noise
demands, Gramacy & Lee 2011.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import moocore
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from trials.estimates.kernel import Values

#: Members of a front that cut the space of costs, by the number of costs; beyond, the best spread of them.
MOST_STEPS = {1: 64, 2: 16, 3: 6}


def expected_improvement(mean: Values, sd: Values, over: Values | float) -> Values:
    """E max(0, y − over) of y ~ N(mean, sd²)."""
    above = mean - over
    z = above / np.maximum(sd, 1e-12)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray(np.where(sd > 1e-12, above * ndtr(z) + sd * density, np.maximum(above, 0.0)))


@dataclass(frozen=True)
class Steps:
    """A front's boxes in the space of costs: `low`, `high` [boxes, costs], and the `best` quality [boxes] there."""

    low: Values
    high: Values
    best: Values

    @classmethod
    def of(cls, costs: Values, quality: Values, reference: Sequence[float], floor: float) -> Steps:
        """Of what has costs [n, costs] and quality [n], on the front or not, up to the reference costs; what nobody
        has is `floor`."""
        dimensions = costs.shape[1]
        if len(quality):
            front = _front(costs, quality)
            kept = front[_spread(quality[front], MOST_STEPS.get(dimensions, 4))]
            costs, quality = costs[kept], quality[kept]
        edges = [
            np.unique(np.concatenate([[-np.inf], costs[:, d][costs[:, d] < reference[d]], [reference[d]]]))
            for d in range(dimensions)
        ]
        low = np.array(list(product(*(e[:-1] for e in edges)))).reshape(-1, dimensions)
        high = np.array(list(product(*(e[1:] for e in edges)))).reshape(-1, dimensions)
        there = (costs[None] <= low[:, None]).all(-1)
        best = np.where(there, quality[None], floor).max(1, initial=floor)
        return cls(low, high, best)

    def expected(self, costs: Values, mean: Values, sd: Values) -> Values:
        """[n]: the expected improvement of candidates with these costs [n, costs] and qualities."""
        found = np.zeros(len(mean))
        for low, high, best in zip(self.low, self.high, self.best, strict=True):
            volume = np.maximum(high - np.maximum(low, costs), 0.0).prod(1)
            found += volume * expected_improvement(mean, sd, float(best))
        return found


def _front(costs: Values, quality: Values) -> NDArray[np.int64]:
    """Places of the front's members, of equal ones the first: others make no step, and would take the place of one."""
    points = np.column_stack([-quality, costs])
    return np.flatnonzero(moocore.is_nondominated(points))


def _spread(quality: Values, most: int) -> NDArray[np.int64]:
    """Places of at most so many, the best first and last kept."""
    order: NDArray[np.int64] = np.argsort(-quality, kind="stable")
    if len(order) <= most:
        return order
    return np.asarray(order[np.linspace(0, len(order) - 1, most).round().astype(int)])
