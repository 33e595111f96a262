"""A joint Gaussian model of all trainings: the score is what is wanted, the loss is the sharp instrument beside it.

A figure y of output o (the score or the loss, at a fidelity) of architecture a under seed s is

    y = mean_o + spread_o · (r_o · f(a) + √(1 − r_o²) · g_o(a)) + shift_o(s) + noise

f is what all outputs show, g_o what output o alone does: of a score what no loss tells, of a loss what flatters an
operator. Both are Gaussian processes over fusion choices (trials/estimates/kernel.py: a mixture of five parts, one
mixture for f and one for every g_o), and r_o is learnt. What a seed does to all alike is an effect of its own, and the
noise of score and loss in one training goes together. Outputs of another run show ρ · f(a) + √(1 − ρ²) · h(a) in place
of f, with one ρ and h for each run, and what is theirs alone (h, g_o) has a mixture of its own, around that of f: a run
that goes along with this one in nothing says little here. ρ is learnt. All of it is Gaussian, so that what is known of
an architecture given the figures is exact under given parameters. These have priors in points of score
(trials/estimates/parameters.py, docs/estimates.md), are fitted by their posterior's mode, and their own uncertainty is
carried through by drawing them around it: with few trainings the priors rule, and differences are shrunk towards none.

Source: Rasmussen & Williams 2006, eq. 2.25f. (prediction), 5.8f. (likelihood and gradient); the intrinsic model of
coregionalisation with one shared factor, Goovaerts 1997.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from trials.estimates.kernel import PARTS, Values
from trials.estimates.looks import LEAST_NOISE, Looks
from trials.estimates.parameters import Layout, prior_of

#: Of a mean, in units of its own spread: as good as not known.
UNKNOWN = 30.0
JITTER = 1e-8
#: Rows of a covariance that are made at once.
STRIP = 256
#: Standard deviations are this much wider than the model says, for no run is quite as it assumes: without, intervals of
#: 90 % cover 79 to 99 % of the true gains in FusionBench's worlds.
WIDENED = 1.15
#: What losses are moved by at the least, as a share of what they spread.
LEAST_LOSS_NOISE = 0.02


@dataclass(frozen=True)
class _Blocks:
    """What the covariance is the sum of, under given parameters: [rows, rows] each, or [some of the rows, rows]."""

    mixture: Values
    own_mixture: Values
    other_mixture: Values
    loadings: Values
    kin: Values
    together: float
    shown: Values
    spreads: Values
    own: Values
    other: Values
    kernel: Values
    own_kernel: Values
    other_kernel: Values
    mean: Values
    shifts: Values
    noises: Values
    least: Values

    @cached_property
    def quality(self) -> Values:
        return self.shown * self.kernel + self.own * self.own_kernel + self.other * self.other_kernel

    @property
    def covariance(self) -> Values:
        return self.quality + self.mean + self.shifts + self.noises + self.least


class Model:
    """The joint density of some looks, by parameters.

    parts: [5, n, n] of the looks' architectures.
    """

    def __init__(self, looks: Looks, parts: Values) -> None:
        self.looks = looks
        self.outputs = 2 * len(looks.fidelities)
        self.layout = Layout(self.outputs, len(looks.others))
        self._of_architectures = parts
        #: [rows]: which run each is of, from 1 on another one.
        self._source = np.array(looks.source, np.int64)[looks.output // 2]
        self._here = self._source == 0
        self.prior = prior_of(looks, self.layout)

    @cached_property
    def _parts(self) -> Values:
        """[5, rows, rows], for fitting, which is to few rows."""
        return self._parts_of(slice(None))

    def _parts_of(self, some: slice) -> Values:
        at = self.looks.architecture
        return self._of_architectures[:, at[some, None], at[None, :]]

    @cached_property
    def _same_source(self) -> NDArray[np.bool_]:
        return _alike(self._source)

    @cached_property
    def _same_output(self) -> NDArray[np.bool_]:
        return _alike(self.looks.output)

    @cached_property
    def centred(self) -> Values:
        """The figures without their outputs' means, which the model has a prior about."""
        figures = self.looks.figures.copy()
        for output, mean in enumerate(self.means):
            figures[self.looks.output == output] -= mean
        return figures

    @cached_property
    def means(self) -> Values:
        """[outputs], 0 where nothing was seen."""
        return np.array([_mean(self.looks.figures[self.looks.output == o]) for o in range(self.outputs)])

    def loadings(self, theta: Values) -> Values:
        """[outputs]: each one's correlation with what all show."""
        return np.tanh(theta[self.layout.correlation])

    def kinship(self, theta: Values) -> Values:
        """[1 + others]: how far what each run's outputs show goes along with what this one's do, 1 of itself."""
        return np.concatenate([[1.0], np.tanh(theta[self.layout.kinship])])

    def kin(self, theta: Values) -> Values:
        """[rows]: that of each figure's run."""
        return np.asarray(self.kinship(theta)[self._source])

    def mixtures(self, theta: Values) -> tuple[Values, Values]:
        """[5] shares each: of what all show, and of what each output does alone."""
        return _shares(theta[self.layout.mixture]), _shares(theta[self.layout.own_mixture])

    def covariance(self, theta: Values) -> Values:
        """[rows, rows] of the figures, some rows at a time: of a thousand trainings each block takes 32 MB."""
        rows = len(self.looks.output)
        found = np.empty((rows, rows))
        for first in range(0, rows, STRIP):
            strip = slice(first, first + STRIP)
            found[strip] = self._blocks(theta, strip).covariance
        return found

    def log_posterior(self, theta: Values) -> tuple[float, Values]:
        """Of the parameters, up to a constant, with its gradient; −inf where the covariance has no factor."""
        blocks = self._blocks(theta)
        try:
            factor = cho_factor(blocks.covariance, lower=True)
        except np.linalg.LinAlgError:
            return -np.inf, np.zeros_like(theta)
        weights = cho_solve(factor, self.centred)
        inverse = cho_solve(factor, np.eye(len(weights)))
        value = -0.5 * float(self.centred @ weights) - float(np.log(np.diag(factor[0])).sum()) + self.prior.log(theta)
        return value, 0.5 * self._traces(blocks, np.outer(weights, weights) - inverse) + self.prior.gradient(theta)

    def information(self, theta: Values) -> Values:
        """[parameters, parameters]: Fisher's, with the prior's: how sharply the figures tell the parameters."""
        blocks = self._blocks(theta)
        factor = cho_factor(blocks.covariance, lower=True)
        inverse = cho_solve(factor, np.eye(len(self.centred)))
        told = [self._traces(blocks, inverse @ one @ inverse) for one in self._derivatives(blocks)]
        return 0.5 * np.array(told) + np.diag(1 / self.prior.sd**2)

    def _blocks(self, theta: Values, some: slice = slice(None)) -> _Blocks:
        layout, output = self.layout, self.looks.output
        spread, shift = np.exp(theta[layout.spread])[output], np.exp(theta[layout.shift])[output]
        noise, loadings = np.exp(theta[layout.noise])[output], self.loadings(theta)
        mixture, own_mixture = self.mixtures(theta)
        together = float(np.tanh(theta[layout.together]))
        loading, spreads, kin = loadings[output], np.outer(spread[some], spread), self.kin(theta)
        least = JITTER + np.where(output % 2 == 0, LEAST_NOISE, LEAST_LOSS_NOISE * self.looks.scales[output]) ** 2
        same_output, same_source = _alike(output, some), _alike(self._source, some)
        crossed, alone = spreads * np.outer(loading[some], loading), same_output * (1 - loading**2)[some, None]
        other_mixture = np.zeros(len(PARTS))
        if layout.others:
            other_mixture = _shares(theta[layout.mixture] + theta[layout.other_mixture])
        parts = self._parts if some == slice(None) else self._parts_of(some)
        return _Blocks(
            mixture, own_mixture, other_mixture, loadings, kin, together, spreads=spreads,
            shown=crossed * np.outer(kin[some], kin), own=spreads * alone * self._here,
            other=crossed * same_source * (1 - kin**2) + spreads * alone * ~self._here,
            kernel=np.tensordot(mixture, parts, 1), own_kernel=np.tensordot(own_mixture, parts, 1),
            other_kernel=np.tensordot(other_mixture, parts, 1),
            mean=same_output * spreads * UNKNOWN**2,
            shifts=(_alike(self.looks.seed, some) & same_output) * np.outer(shift[some], shift),
            noises=_alike(self.looks.training, some) * np.outer(noise[some], noise)
            * np.where(same_output, 1.0, together),
            least=_alike(np.arange(len(output)), some) * least,
        )  # fmt: skip

    def _traces(self, blocks: _Blocks, inner: Values) -> Values:
        """[parameters]: Σ inner · derivative of the covariance by each, for a symmetric `inner`."""
        output = self.looks.output

        def by_output(block: Values) -> Values:
            return np.asarray(2.0 * np.bincount(output, (inner * block).sum(1), self.outputs), np.float64)

        crossed = inner * np.where(self._same_output, 0.0, blocks.noises)
        together = float(crossed.sum()) * (1 - blocks.together**2) / (blocks.together or np.inf)
        shown, own = inner * blocks.shown, inner * blocks.own
        found: list[Any] = [
            by_output(blocks.quality + blocks.mean), by_output(blocks.shifts), by_output(blocks.noises),
            (1 - blocks.loadings**2) * by_output(self._by_loading(blocks)), np.array([together]),
            _by_part(shown, self._parts, blocks.kernel, blocks.mixture),
            _by_part(own, self._parts, blocks.own_kernel, blocks.own_mixture),
        ]  # fmt: skip
        if self.layout.others:
            by_deviation = _by_part(inner * blocks.other, self._parts, blocks.other_kernel, blocks.other_mixture)
            found[5] = found[5] + by_deviation
            found.append(by_deviation)
            by_source = np.bincount(self._source, (inner * self._by_kinship(blocks)).sum(1), 1 + self.layout.others)
            found.append(2.0 * by_source[1:])
        return np.concatenate(found)

    def _by_loading(self, blocks: _Blocks) -> Values:
        """[rows, rows]: half of the derivative by the loading of a row's output."""
        shown, alone = self._kernels(blocks)
        loading = blocks.loadings[self.looks.output]
        return np.asarray(blocks.spreads * loading[None, :] * (shown - self._same_output * alone))

    def _kernels(self, blocks: _Blocks) -> tuple[Values, Values]:
        """[rows, rows] each: of what all outputs of a run show, and of what each has alone."""
        if not self.layout.others:
            return blocks.kernel, blocks.own_kernel
        rest = self._same_source * (1 - blocks.kin**2)
        shown = np.outer(blocks.kin, blocks.kin) * blocks.kernel + rest * blocks.other_kernel
        return shown, np.where(self._here[:, None], blocks.own_kernel, blocks.other_kernel)

    def _by_kinship(self, blocks: _Blocks) -> Values:
        """[rows, rows]: half of the derivative by the kinship's parameter of a row's run."""
        loading, kin = blocks.loadings[self.looks.output], blocks.kin
        common = blocks.kernel - self._same_source * blocks.other_kernel
        slope = blocks.spreads * np.outer(loading, loading) * common * kin[None, :]
        return np.asarray((1 - kin**2)[:, None] * slope)

    def _derivatives(self, blocks: _Blocks) -> Iterator[Values]:
        """[rows, rows] of the covariance by each parameter, in their order."""
        output = self.looks.output
        for block in (blocks.quality + blocks.mean, blocks.shifts, blocks.noises):
            for one in range(self.outputs):
                mine = (output == one).astype(float)
                yield block * (mine[:, None] + mine[None, :])
        by_loading = self._by_loading(blocks)
        for one, loading in enumerate(blocks.loadings):
            halves = (1 - loading**2) * by_loading * (output == one)[:, None]
            yield halves + halves.T
        crossed = np.where(self._same_output, 0.0, blocks.noises)
        yield (1 - blocks.together**2) / (blocks.together or np.inf) * crossed
        by_deviation = list(_shared_out(blocks.other, self._parts, blocks.other_kernel, blocks.other_mixture))
        by_mixture = _shared_out(blocks.shown, self._parts, blocks.kernel, blocks.mixture)
        yield from (one + other for one, other in zip(by_mixture, by_deviation, strict=True))
        yield from _shared_out(blocks.own, self._parts, blocks.own_kernel, blocks.own_mixture)
        if self.layout.others:
            yield from by_deviation
            by_kinship = self._by_kinship(blocks)
            for source in range(1, 1 + self.layout.others):
                halves = by_kinship * (self._source == source)[:, None]
                yield halves + halves.T

    def mode(self) -> Values:
        """The parameters' most likely values."""

        def negative(theta: Values) -> tuple[float, Values]:
            value, gradient = self.log_posterior(theta)
            return (1e25, np.zeros_like(theta)) if not np.isfinite(value) else (-value, -gradient)

        bounds = [(m - 5 * s, m + 5 * s) for m, s in zip(self.prior.mean, self.prior.sd, strict=True)]
        found = minimize(
            negative, self.prior.mean, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40, "ftol": 1e-6}
        )
        return np.asarray(found.x)


@dataclass(frozen=True)
class Conditioned:
    """A model under given parameters, with all its figures known."""

    model: Model
    theta: Values
    factor: Values
    weights: Values

    @classmethod
    def on(cls, model: Model, theta: Values) -> Conditioned:
        """Raises LinAlgError where the parameters allow no such figures."""
        factor = np.asarray(np.linalg.cholesky(model.covariance(theta)), np.float64)
        return cls(model, theta, factor, cho_solve((factor, True), model.centred))

    @property
    def log_posterior(self) -> float:
        """Of the parameters, up to a constant."""
        likelihood = -0.5 * float(self.model.centred @ self.weights) - float(np.log(np.diag(self.factor)).sum())
        return likelihood + self.model.prior.log(self.theta)

    def left_out(self) -> tuple[Values, Values]:
        """[rows] each: how far every figure is from what all others let expect of it, and the standard deviation of
        that (Rasmussen & Williams 2006, eq. 5.12)."""
        inverse = cho_solve((self.factor, True), np.eye(len(self.factor)))
        precision = np.diag(inverse)
        return self.weights / precision, WIDENED / np.sqrt(precision)

    def differences(self, towards: Values, own: Values) -> tuple[Values, Values]:
        """Means and variances [m] of differences of wanted scores.

        towards [5, m, architectures] are the kernel's parts of one less those of the other, own [5, m] those of the
        difference with itself.
        """
        return self._given(self._covariances(towards), self._variance * (self._shares @ own))

    def joint(self, towards: Values, own: Values) -> tuple[Values, Values]:
        """Means [m] and covariances [m, m] of differences of wanted scores; own [5, m, m] are the kernel's parts of
        each with each."""
        covariances = self._covariances(towards)
        halves = _solved(self.factor, covariances.T)
        prior = self._variance * np.tensordot(self._shares, own, 1)
        return covariances @ self.weights, WIDENED**2 * np.asarray(prior - halves.T @ halves)

    def means_of_differences(self, towards: Values) -> Values:
        """[m], as `differences` has them, in a fraction of its time."""
        return np.asarray(self._covariances(towards) @ self.weights)

    def scores(self, towards: Values) -> tuple[Values, Values]:
        """Means and variances [m] of wanted scores, each a mean over the seeds that were trained."""
        model, seeds = self.model, max(1, len(self.model.looks.seeds))
        common = UNKNOWN**2 * self._variance
        shift = float(np.exp(2 * self.theta[model.layout.shift.start])) / seeds
        level = (model.looks.output == 0) * (common + shift)
        prior = np.full(towards.shape[1], common + shift + self._variance)
        mean, variance = self._given(self._covariances(towards) + level, prior)
        return mean + model.means[0], variance

    @property
    def _variance(self) -> float:
        """Of the wanted score among architectures."""
        return float(np.exp(2 * self.theta[self.model.layout.spread.start]))

    @property
    def _shares(self) -> Values:
        """[5]: of the kernel's parts in the wanted score, shown by all and its own."""
        mixture, own_mixture = self.model.mixtures(self.theta)
        loading = self.model.loadings(self.theta)[0]
        return np.asarray(loading**2 * mixture + (1 - loading**2) * own_mixture)

    def _covariances(self, towards: Values) -> Values:
        """[m, rows]."""
        model, rows = self.model, self.model.looks.output
        mixture, _ = model.mixtures(self.theta)
        loadings = model.loadings(self.theta)
        shared = loadings[0] * loadings[rows] * model.kin(self.theta)
        shown = shared * np.tensordot(mixture, towards, 1)[:, model.looks.architecture]
        whole = np.tensordot(self._shares, towards, 1)[:, model.looks.architecture]
        spreads = np.exp(self.theta[model.layout.spread])
        return np.asarray(np.sqrt(self._variance) * spreads[rows] * np.where(rows == 0, whole, shown))

    def _given(self, covariances: Values, prior: Values) -> tuple[Values, Values]:
        halves = _solved(self.factor, covariances.T)
        return covariances @ self.weights, WIDENED**2 * np.maximum(prior - (halves**2).sum(0), 0.0)


def _solved(factor: Values, right: Values, block: int = 256) -> Values:
    """The lower triangular factor's inverse times `right` [rows, m], a block at a time: scipy's own holds the
    interpreter for as long as it takes, and a thread beside waits for it."""
    found = np.empty_like(right)
    for first in range(0, len(factor), block):
        here = slice(first, first + block)
        left = right[here] - factor[here, :first] @ found[:first]
        found[here] = solve_triangular(factor[here, here], left, lower=True)
    return found


def _alike(of_rows: NDArray[np.int64], some: slice = slice(None)) -> NDArray[np.bool_]:
    """[some of the rows, rows]: which are equal."""
    return np.equal(of_rows[some, None], of_rows[None, :])


def _mean(values: Values) -> float:
    return float(values.mean()) if len(values) else 0.0


def _shares(logits: Values) -> Values:
    raised = np.exp(logits - logits.max())
    return np.asarray(raised / raised.sum())


def _shared_out(block: Values, parts: Values, kernel: Values, mixture: Values) -> Iterator[Values]:
    """[rows, rows] each: the derivative of block · kernel by each of its mixture's logits."""
    return (share * block * (part - kernel) for share, part in zip(mixture, parts, strict=True))


def _by_part(weights: Values, parts: Values, kernel: Values, mixture: Values) -> Values:
    """[5]: Σ weights · derivative of the mixed kernel by each of its mixture's logits."""
    whole = float((weights * kernel).sum())
    return np.asarray(mixture * (np.einsum("ij,pij->p", weights, parts) - whole))
