"""What candidates promise by a model, those that were handed out since believed to come out as estimated."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.proposing.coded import Coded, Rows
from nas.proposing.improvement import Steps
from nas.proposing.limits import Limits
from nas.proposing.sampler import Told
from nas.proposing.surrogate import Surrogate
from trials.estimates.kernel import Values

#: Candidates that proposals are chosen from: those that may improve the front most, and those that may be the best.
SHORTLIST = 384
#: Of candidates, those whose uncertainty is worked out, by what they promised if it were as large as it can be.
WEIGHED = 2_000
#: As so many trainings counts what a user believes, and a doubled weight everywhere as one spread of architectures.
BELIEVED = 4.0


class Promise:
    """Made once for a model, and asked for several proposals."""

    def __init__(
        self, coded: Coded, model: Surrogate, trained: Rows, pool: Rows, told: Sequence[Told], costs: Sequence[int],
        beliefs: Mapping[str, float],
    ) -> None:  # fmt: skip
        self._coded, self._model, self._costs = coded, model, list(costs)
        self._trained, self._means = trained, model.means(trained)
        self._modelled = {row.tobytes() for row in model.trained}
        share = BELIEVED / (BELIEVED + len(model.trained))
        within = coded.costs(pool)[:, self._costs].astype(float)
        low, span = within.min(0), within.max(0) - within.min(0)
        self._scale = low, np.where(span > 0, span, 1.0)
        mean = model.means(pool) + share * model.spread * coded.beliefs(beliefs, pool)
        hoped = self._steps().expected(self._scaled(pool), mean, np.full(len(pool), 1.5 * model.spread))
        some = np.argsort(-hoped, kind="stable")[:WEIGHED]
        pool, mean = pool[some], mean[some]
        kept = Limits(coded, told).probability(pool)
        _, sd = model.gains(pool)
        by_front = kept * self._steps().expected(self._scaled(pool), mean, sd)
        by_hope = kept * (mean + 2 * sd - (mean - 2 * sd).min())
        order = np.argsort(-by_front, kind="stable")
        places = np.unique(
            np.concatenate([part[: SHORTLIST // 2] for part in (order, np.argsort(-by_hope, kind="stable"))])
        )
        self._rows, self._kept, self._rest = pool[places], kept[places], pool[order]
        _, self._covariance = model.joint(self._rows)
        self._mean = mean[places]
        self._places = {row.tobytes(): place for place, row in enumerate(self._rows)}

    def ranked(self, seen: Rows, front: bool, rng: random.Random) -> Rows:
        """The candidates, what promises most first: for the front, or in one world that is possible."""
        believed = self._believed(seen)
        covariance = self._covariance
        if believed:
            known = covariance[np.ix_(believed, believed)] + self._model.noise**2 * np.eye(len(believed))
            halves = np.linalg.solve(np.linalg.cholesky(known), covariance[believed])
            covariance = covariance - halves.T @ halves
        if front:
            sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
            promise = self._kept * self._steps(believed).expected(self._scaled(self._rows), self._mean, sd)
        else:
            drawn = self._mean + _drawn(covariance, rng)
            promise = self._kept * (drawn - drawn.min())
        return np.concatenate([self._rows[np.argsort(-promise, kind="stable")], self._rest])

    def _believed(self, seen: Rows) -> list[int]:
        """Places of what was handed out and is not in the model."""
        keys = [row.tobytes() for row in seen]
        return [self._places[key] for key in keys if key in self._places and key not in self._modelled]

    def _scaled(self, rows: Rows) -> Values:
        low, span = self._scale
        return np.asarray((self._coded.costs(rows)[:, self._costs] - low) / span)

    def _steps(self, believed: Sequence[int] = ()) -> Steps:
        """The front of estimated means."""
        means, costs = self._means, self._scaled(self._trained)
        if believed:
            means = np.concatenate([means, self._mean[list(believed)]])
            costs = np.concatenate([costs, self._scaled(self._rows[list(believed)])])
        floor = float(means.min()) if len(means) else -2 * self._model.spread
        return Steps.of(costs, means, [1.0 + 1e-6] * len(self._costs), floor)


def _drawn(covariance: Values, rng: random.Random) -> Values:
    """One draw of a normal distribution around 0."""
    numbers: NDArray[np.float64] = np.random.default_rng(rng.getrandbits(64)).standard_normal(len(covariance))
    jitter = 1e-6 * max(float(np.diag(covariance).max(initial=0.0)), 1e-6)
    root = np.linalg.cholesky(covariance + jitter * np.eye(len(covariance)))
    return np.asarray(root @ numbers)
