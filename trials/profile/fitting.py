"""The predictor: latency relative to all-add as a sum of effects of choices and of neighbouring operators.

Bayesian linear regression whose effects are shrunk level by level: an effect is first what the work of the fusion
says, then what its operator adds to that anywhere, then at that resolution, then for that ratio, then at that very
point; and each pair of neighbouring operators has one. How far each level may reach (its prior deviation) is chosen
by leave-one-out cross-validation on the training data alone, and what that shows to be an outlier is distrusted.
Written in the dual, n × n for n measurements; formulas of Rasmussen & Williams, Gaussian Processes for Machine
Learning, 2006, sections 2.2 and 5.4.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.space import SearchSpace
from trials.costs import fusion_parts
from trials.latency.runtimes import intra_op_threads

Array = NDArray[np.float64]

LEVELS = ("work", "operator", "resolution", "ratio", "point", "neighbours")
#: Prior deviations of a level, in shares of the all-add network's latency; 0 leaves the level out.
_DEVIATIONS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
#: What is left as a share of a latency: the protocol's own error apart, the model's.
_RESIDUALS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08)
_SWEEPS = 3
#: A measurement further than this from what all others say of it, in deviations, was hit by a burst of others' work.
_OUTLYING = 2.5
_REWEIGHTINGS = 2
FOLDS = 5
#: level -> {effect: value}
Features = Mapping[str, Mapping[tuple[object, ...], float]]


@dataclass(frozen=True)
class Observation:
    """A measured architecture: `relative` to all-add, `error` the standard error of that as a share of it."""

    architecture: Architecture
    part: str
    relative: float
    error: float


@dataclass(frozen=True)
class Effects:
    """A fitted predictor, in shares of the all-add network's latency.

    relative = 1 + Σ choices[point][choice] + Σ neighbours[operator, next operator]; `add` among `add`s is 0.
    """

    choices: Mapping[str, Mapping[str, float]]
    neighbours: Mapping[tuple[str, str], float]
    deviations: Mapping[str, float]
    residual: float

    def __call__(self, architecture: Architecture) -> float:
        ops = [choice.op for choice in architecture.choices.values()]
        own = sum(self.choices[point][str(choice)] for point, choice in architecture.choices.items())
        return 1.0 + own + sum(self.neighbours.get(pair, 0.0) for pair in pairwise(ops))


class Regression:
    """The features of a space; `fit` makes effects of observations."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._work = fusion_parts(space)

    @cached_property
    def _scales(self) -> tuple[float, float, float]:
        """Root mean squares of what the choices do beyond add, so that one deviation fits all three."""
        beyond = np.array([self._beyond(p.name, c) for p in self.space.points for c in p.choices], float)
        scales = np.sqrt((beyond**2).mean(axis=0))
        macs, bytes_moved, kernels = (float(scale) or 1.0 for scale in scales)
        return macs, bytes_moved, kernels

    def _beyond(self, point: str, choice: FusionChoice) -> tuple[int, int, int]:
        own, add = self._work[point][choice], self._work[point][FusionChoice("add")]
        return own.macs - add.macs, own.bytes_moved - add.bytes_moved, own.kernels - add.kernels

    def macs(self, architecture: Architecture) -> int:
        """Multiply-adds of the fusions: all that a FLOPs-only predictor needs, the trunk being the same."""
        return sum(self._work[point][choice].macs for point, choice in architecture.choices.items())

    def of_choice(self, index: int, choice: FusionChoice) -> Features:
        """The features of a choice at the space's point of that index."""
        if choice.op == "add":
            return {}
        shape = self.space.points[index].shape
        at = (shape.height, shape.width, shape.channels)
        work = np.array(self._beyond(shape.name, choice)) / np.array(self._scales)
        macs, bytes_moved, kernels = (float(value) for value in work)
        return {
            "work": {("macs",): macs, ("bytes",): bytes_moved, ("kernels",): kernels},
            "operator": {(choice.op,): 1.0, (choice.op, "bytes"): bytes_moved},
            "resolution": {(choice.op, *at): 1.0},
            "ratio": {(str(choice), *at): 1.0},
            "point": {(choice.op, shape.name): 1.0},
        }

    def of_architecture(self, architecture: Architecture) -> Features:
        """The features of its choices added up, and its pairs of neighbours."""
        total: dict[str, dict[tuple[object, ...], float]] = {level: {} for level in LEVELS}
        for index, choice in enumerate(architecture.choices.values()):
            for level, values in self.of_choice(index, choice).items():
                for name, value in values.items():
                    total[level][name] = total[level].get(name, 0.0) + value
        for one, other in pairwise(architecture.choices.values()):
            if (one.op, other.op) != ("add", "add"):
                pair = total["neighbours"]
                pair[one.op, other.op] = pair.get((one.op, other.op), 0.0) + 1.0
        return total

    def fit(self, observations: Sequence[Observation]) -> Effects:
        """Effects that fit the observations, levels chosen among these alone."""
        features = [self.of_architecture(o.architecture) for o in observations]
        names = {level: list(dict.fromkeys(n for f in features for n in f[level])) for level in LEVELS}
        matrices = {
            level: np.array([[f[level].get(name, 0.0) for name in names[level]] for f in features], float)
            for level in LEVELS
        }
        problem = _Problem(
            kernels={level: matrix @ matrix.T for level, matrix in matrices.items()},
            target=np.array([o.relative - 1.0 for o in observations]),
            scale=np.array([o.relative for o in observations]),
            error=np.array([o.error for o in observations]),
        )
        deviations, residual = problem.choose()
        for _ in range(_REWEIGHTINGS):
            trusted = problem.trusting(deviations, residual)
            if np.allclose(trusted.error, problem.error):
                break
            problem = trusted
            deviations, residual = problem.choose()
        weights = problem.weights(deviations, residual)
        fitted = {
            level: dict(zip(names[level], deviations[level] ** 2 * (matrices[level].T @ weights), strict=True))
            for level in LEVELS
        }
        return Effects(
            choices={
                point.name: {str(c): _sum(fitted, self.of_choice(index, c)) for c in point.choices}
                for index, point in enumerate(self.space.points)
            },
            neighbours={(str(one), str(other)): float(v) for (one, other), v in fitted["neighbours"].items()},
            deviations=deviations,
            residual=residual,
        )


def _sum(fitted: Mapping[str, Mapping[tuple[object, ...], float]], features: Features) -> float:
    return float(
        sum(v * fitted[level].get(name, 0.0) for level, values in features.items() for name, v in values.items())
    )


@dataclass(frozen=True)
class _Problem:
    """Regression in the dual: kernels [n, n] by level, targets, latencies and measurement errors [n].

    An outlier's error is raised until it is no longer one, so that it cannot pull (an M-estimator).
    """

    kernels: Mapping[str, Array]
    target: Array
    scale: Array
    error: Array

    def choose(self) -> tuple[dict[str, float], float]:
        """Deviations and residual of the greatest leave-one-out likelihood, one coordinate after the other."""
        deviations, residual = dict.fromkeys(LEVELS, 0.02), 0.01
        best = self._score(deviations, residual)
        for _ in range(_SWEEPS):
            before = best
            for level in LEVELS:
                for value in _DEVIATIONS:
                    tried = {**deviations, level: value}
                    score = self._score(tried, residual)
                    if score > best:
                        best, deviations = score, tried
            for value in _RESIDUALS:
                score = self._score(deviations, value)
                if score > best:
                    best, residual = score, value
            if best == before:
                break
        return deviations, residual

    def weights(self, deviations: Mapping[str, float], residual: float) -> Array:
        """Weights [n] of the observations."""
        weights: Array = _inverse(self._covariance(deviations, residual)) @ self.target
        return weights

    def trusting(self, deviations: Mapping[str, float], residual: float) -> _Problem:
        """The same problem with the errors of outliers raised to what the other observations say they are."""
        inverse = _inverse(self._covariance(deviations, residual))
        variance = 1.0 / np.diag(inverse)
        distance = np.abs(inverse @ self.target) * np.sqrt(variance)
        noise = (residual**2 + self.error**2) * np.maximum(distance / _OUTLYING, 1.0) ** 2
        return replace(self, error=np.sqrt(np.maximum(noise - residual**2, self.error**2)))

    def _covariance(self, deviations: Mapping[str, float], residual: float) -> Array:
        kernel = np.zeros((len(self.target), len(self.target)))
        for level, deviation in deviations.items():
            kernel += deviation**2 * self.kernels[level]
        return kernel + np.diag((residual**2 + self.error**2) * self.scale**2)

    def _score(self, deviations: Mapping[str, float], residual: float) -> float:
        """The log likelihood of each observation given the others, added up (R & W, equations 5.10 to 5.12)."""
        inverse = _inverse(self._covariance(deviations, residual))
        variance = 1.0 / np.diag(inverse)
        error = (inverse @ self.target) * variance
        return float(-0.5 * (np.log(variance) + error**2 / variance).sum())


def _inverse(matrix: Array) -> Array:
    """By torch on one thread: numpy's threads take ten times as long on a machine whose cores are busy."""
    with intra_op_threads(1):
        inverse: Array = torch.linalg.inv(torch.from_numpy(matrix)).numpy()
    return inverse


@dataclass(frozen=True)
class HeldOut:
    """Measured and predicted of architectures that were no part of the fit [n], relative to all-add."""

    measured: Array
    predicted: Array
    flops_only: Array


def cross_validate(regression: Regression, observations: Sequence[Observation]) -> HeldOut:
    """Predict every random mixture from all observations but a fifth of the mixtures, its own among them.

    The uniform and staged architectures are always fitted to and never judged by: a search draws mixtures.
    """
    mixtures = [index for index, o in enumerate(observations) if o.part == "random"]
    predicted: dict[int, tuple[float, float]] = {}
    for fold in range(FOLDS):
        out = mixtures[fold::FOLDS]
        if not out:
            continue
        training = [o for index, o in enumerate(observations) if index not in out]
        effects, by_flops = regression.fit(training), fit_flops(regression, training)
        for index in out:
            architecture = observations[index].architecture
            predicted[index] = effects(architecture), by_flops(architecture)
    return HeldOut(
        np.array([observations[index].relative for index in predicted]),
        np.array([own for own, _ in predicted.values()]),
        np.array([flops for _, flops in predicted.values()]),
    )


@dataclass(frozen=True)
class FlopsOnly:
    """The predictor that everybody has: an affine function of the multiply-adds."""

    regression: Regression
    intercept: float
    slope: float

    def __call__(self, architecture: Architecture) -> float:
        return self.intercept + self.slope * self.regression.macs(architecture)


def fit_flops(regression: Regression, observations: Sequence[Observation]) -> FlopsOnly:
    """Least squares of the relative error, with an intercept."""
    relative = np.array([o.relative for o in observations])
    macs = np.array([regression.macs(o.architecture) for o in observations], float)
    columns = np.stack([np.ones_like(macs), macs], axis=1) / relative[:, None]
    scale = np.array([1.0, max(float(macs.max()), 1.0)])
    solution = np.linalg.lstsq(columns / scale, np.ones_like(relative), rcond=None)[0] / scale
    return FlopsOnly(regression, float(solution[0]), float(solution[1]))
