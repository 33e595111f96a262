"""What an architecture of a run is worth: an estimate with its interval, and how probably it is better than all-add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from threadpoolctl import threadpool_limits

from search_spaces.architecture import Architecture
from search_spaces.errors import UserError
from trials.estimates.estimate import Contradiction, Estimate, Interval
from trials.estimates.kernel import Values, parts
from trials.estimates.looks import Fidelity, Looks
from trials.estimates.model import Conditioned, Model
from trials.record.evidence import Evidence
from trials.record.training import Training

#: Of intervals.
CONFIDENCE = 0.9
#: Parameters drawn around their mode, so that intervals know how little they are known.
DRAWS = 24
#: Trainings that parameters are fitted to at the most, and that are conditioned on: of more, the repeated ones, the
#: best and a sample of the others. Architectures that are estimated at once.
FITTED, CONDITIONED, AT_ONCE = 120, 600, 1_000
#: Weighted sums that are estimated at once.
COMBINED_AT_ONCE = 50
#: Architectures, each with its weight.
Combination = Sequence[tuple[Architecture, float]]


#: Of a run in which scores and losses agree but for noise: how probably some training is said to contradict itself.
CHANCE = 0.02


class NoEstimate(UserError, RuntimeError):
    """There is too little to estimate from: the message says what there is."""


@dataclass(frozen=True)
class Best:
    """What the best of some architectures gains over another one, in points, in worlds that are possible [n], each with
    its weight [n], 1 in all."""

    gains: Values
    weights: Values


class Estimates:
    """The model of a run's trainings, fitted; `evidence` is what counts beside them of other runs.

    Raises NoEstimate where fewer than two architectures have a score at the wanted fidelity, or any.
    """

    def __init__(
        self,
        trainings: Sequence[Training],
        baseline: Architecture,
        target: Fidelity,
        evidence: Sequence[Evidence] = (),
    ) -> None:
        elsewhere = sum(len(one.trainings) for one in evidence if not one.same)
        looks = Looks.of(trainings, target, max(CONDITIONED // 2, CONDITIONED - elsewhere), evidence)
        if len(looks.architectures) < 2:
            there = len(looks.architectures) or "none"
            raise NoEstimate(f"an estimate takes trainings of two architectures, and {there} has a score")
        if not (looks.output == 0).any():
            raise NoEstimate(f"no training of {target[1]} epochs from {target[0].partition(':')[0]} has a score")
        self.looks, self.baseline = looks, baseline
        #: Trainings of this run that have a score: all that are conditioned on, but for a run of very many.
        self.scored = sum(t.score is not None for t in trainings)
        among = parts(looks.architectures, looks.architectures)
        with threadpool_limits(1):  # trainings take the other processors
            self._model, told = Model(looks, among), Model(looks.telling(FITTED), among)
            self._mode = told.mode()
            self._draws, self._weights = self._drawn(told)

    @property
    def seeds_seen(self) -> bool:
        """Whether the noise of seeds was seen at the wanted schedule: if not, it is what the prior says."""
        wanted = self.looks.output == 0
        return len(set(self.looks.architecture[wanted].tolist())) < int(wanted.sum())

    @property
    def kinship(self) -> dict[str, float]:
        """How far what other runs' fidelities show goes along with this run's, −1 to 1, by their identities."""
        found = self._weights @ np.array([draw.model.kinship(draw.theta)[1:] for draw in self._draws])
        return {one.identity: float(kin) for one, kin in zip(self.looks.others, found, strict=True)}

    @property
    def going_along(self) -> float | None:
        """How far the losses at the wanted schedule go along with the scores, −1 to 1; None where there are none."""
        if not (self.looks.output == 1).any():
            return None
        loadings = np.array([draw.model.loadings(draw.theta)[:2] for draw in self._draws])
        return float(self._weights @ loadings.prod(1))

    def contradictions(self) -> list[Contradiction]:
        """Trained architectures whose score is not what their own loss and all other trainings let expect of it, by
        more than noise: the furthest off first."""
        known = self._draws[0]
        left = known.left_out()
        places = np.flatnonzero((self.looks.output == 0) & np.isin(self.looks.training, self._with_loss))
        if not len(places):
            return []
        limit = float(ndtri(1 - CHANCE / (2 * len(places))))
        off, sd = left[0][places], left[1][places]
        found = [
            Contradiction(self.looks.architectures[int(self.looks.architecture[place])], float(by), float(limit * wide))
            for place, by, wide in zip(places, off, sd, strict=True)
            if abs(by) > limit * wide
        ]
        return sorted(found, key=lambda one: -abs(one.points) / one.noise)

    @property
    def _with_loss(self) -> NDArray[np.int64]:
        """Trainings that have a loss at the wanted schedule."""
        return np.unique(self.looks.training[self.looks.output == 1])

    def better_than(self, architectures: Sequence[Architecture], other: Architecture) -> Values:
        """[n]: how probably each is better than another one; 1/2 where it is the same."""
        found = [np.zeros(0)]
        for first in range(0, len(architectures), AT_ONCE):
            _, gains, spread = self._geometry(architectures[first : first + AT_ONCE], other)
            with threadpool_limits(1):
                drawn = [draw.differences(gains, spread) for draw in self._draws]
            found.append(_probability([(mean, np.sqrt(variance)) for mean, variance in drawn], self._weights))
        return np.concatenate(found)

    def __call__(self, architectures: Sequence[Architecture]) -> list[Estimate]:
        """Of architectures of the run's space, trained or not, in their order."""
        found: list[Estimate] = []
        for first in range(0, len(architectures), AT_ONCE):
            found += self._of(architectures[first : first + AT_ONCE])
        return found

    def _of(self, architectures: Sequence[Architecture]) -> list[Estimate]:
        towards, gains, spread = self._geometry(architectures, self.baseline)
        scores, differences = [], []
        with threadpool_limits(1):
            for draw in self._draws:
                mean, variance = draw.scores(towards)
                scores.append((mean, np.sqrt(variance)))
                mean, variance = draw.differences(gains, spread)
                differences.append((mean, np.sqrt(variance)))
        better = _probability(differences, self._weights)
        return [
            Estimate(_possible(score), gain, float(p))
            for score, gain, p in zip(
                _intervals(scores, self._weights), _intervals(differences, self._weights), better, strict=True
            )
        ]

    def gains(self, architectures: Sequence[Architecture]) -> tuple[Values, Values]:
        """Means and standard deviations [n] of gains over all-add, in points, under the likeliest parameters: what a
        proposer asks of ten thousand candidates."""
        _, gains, spread = self._geometry(architectures, self.baseline)
        with threadpool_limits(1):
            mean, variance = self._draws[0].differences(gains, spread)
        return mean, np.sqrt(variance)

    def best_of(self, architectures: Sequence[Architecture], other: Architecture, worlds: int, seed: int) -> Best:
        """What the best of them gains over another one, in `worlds` draws of what is possible under each set of
        parameters: in each world all of them together, so that what goes together is no better for being many."""
        _, towards, _ = self._geometry(architectures, other)
        to_other = parts(architectures, [other])
        own = parts(architectures, architectures) - to_other - to_other.transpose(0, 2, 1) + 1
        numbers = np.random.default_rng(seed).standard_normal((len(architectures), worlds))
        found = []
        with threadpool_limits(1):
            for draw in self._draws:
                mean, covariance = draw.joint(towards, own)
                values, vectors = np.linalg.eigh(covariance)
                root = vectors * np.sqrt(np.maximum(values, 0.0))
                found.append((mean[:, None] + root @ numbers).max(0))
        return Best(np.concatenate(found), np.repeat(self._weights / worlds, worlds))

    def combinations(self, combined: Sequence[Combination]) -> list[Estimate]:
        """Weighted sums of architectures' scores whose weights add up to 0, as gains in points, such as what an
        operator is worth at a point on the average of some architectures; `better`: that a sum is above 0."""
        found: list[Estimate] = []
        for first in range(0, len(combined), COMBINED_AT_ONCE):
            found += self._combined(combined[first : first + COMBINED_AT_ONCE])
        return found

    def _combined(self, combined: Sequence[Combination]) -> list[Estimate]:
        distinct = list({a.key: a for one in combined for a, _ in one}.values())
        place = {a.key: number for number, a in enumerate(distinct)}
        towards, among = parts(distinct, self.looks.architectures), parts(distinct, distinct)
        weights = np.zeros((len(combined), len(distinct)))
        for row, one in enumerate(combined):
            for architecture, weight in one:
                weights[row, place[architecture.key]] += weight
        at = weights @ towards
        spread = np.einsum("km,pmn,kn->pk", weights, among, weights, optimize=True)
        with threadpool_limits(1):
            drawn = [draw.differences(at, np.maximum(spread, 0.0)) for draw in self._draws]
        normals = [(mean, np.sqrt(variance)) for mean, variance in drawn]
        better = _probability(normals, self._weights)
        intervals = _intervals(normals, self._weights)
        return [Estimate(gain, gain, float(p)) for gain, p in zip(intervals, better, strict=True)]

    def _geometry(self, architectures: Sequence[Architecture], other: Architecture) -> tuple[Values, Values, Values]:
        """The kernel's parts of scores and of gains over another towards the trained ones, and of each gain with
        itself."""
        towards = parts(architectures, self.looks.architectures)
        base = parts([other], self.looks.architectures)
        across = parts(architectures, [other])[:, :, 0]
        return towards, towards - base, 2 - 2 * across

    def _drawn(self, told: Model) -> tuple[list[Conditioned], Values]:
        """Parameters around the mode of the model that they were fitted to, each with its weight: normal ones,
        reweighed by what is true of them. Fewer where there is much to condition on, which tells them well."""
        information = told.information(self._mode)
        root = np.linalg.cholesky(np.linalg.inv(information))
        pairs = max(3, min(DRAWS // 2, DRAWS * FITTED // max(1, self.looks.trainings)))
        normal = np.random.default_rng(0).standard_normal((pairs, len(self._mode)))
        found, weights = [], []
        for step in (np.zeros(len(self._mode)), *normal, *-normal):
            theta = self._mode + root @ step
            try:
                one = Conditioned.on(self._model, theta)
            except np.linalg.LinAlgError:
                continue
            found.append(one)
            weights.append(one.log_posterior + 0.5 * float(step @ step))
        raised = np.exp(np.minimum(np.array(weights) - np.median(weights), 2.0))
        return found, raised / raised.sum()


def _possible(score: Interval) -> Interval:
    """A score's interval, within what a score can be."""
    return Interval(*(min(max(value, 0.0), 100.0) for value in (score.mean, score.low, score.high)))


def _probability(normals: Sequence[tuple[Values, Values]], weights: Values) -> Values:
    """[n]: that a mixture of normal distributions is above 0; 1/2 where it is 0 for sure."""
    total = np.zeros_like(normals[0][0])
    for (mean, sd), weight in zip(normals, weights, strict=True):
        total += weight * (ndtr(mean / np.maximum(sd, _SURE)) - 0.5)
    return np.asarray(0.5 + total)


def _intervals(normals: Sequence[tuple[Values, Values]], weights: Values) -> list[Interval]:
    """Means and central intervals of mixtures of normal distributions."""
    means, sds = (np.stack([pair[i] for pair in normals]) for i in (0, 1))
    middle = weights @ means
    low, high = (_quantile(means, np.maximum(sds, _SURE), weights, p) for p in _TAILS)
    known = sds.max(0) <= _SURE
    low, high = np.where(known, middle, low), np.where(known, middle, high)
    return [Interval(float(m), float(a), float(b)) for m, a, b in zip(middle, low, high, strict=True)]


#: A standard deviation, in points, that is none.
_SURE = 1e-6
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def _quantile(means: Values, sds: Values, weights: Values, p: float) -> Values:
    """[n], by bisection between bounds that hold it."""
    low, high = (means - 8 * sds).min(0), (means + 8 * sds).max(0)
    for _ in range(50):
        middle = (low + high) / 2
        below = weights @ ndtr((middle - means) / sds) < p
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((low + high) / 2)
