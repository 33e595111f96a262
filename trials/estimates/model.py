"""A joint Gaussian model of all trainings: the score is what is wanted, the loss is the sharp instrument beside it.

A figure y of output o (the score or the loss, at a fidelity) of architecture a under seed s is

    y = mean_o + spread_o · q_o(a) + shift_o(s) + noise

q_o is a Gaussian process over fusion choices (trials/estimates/kernel.py: a mixture of five parts), and output o goes
along with the wanted one by a correlation that is learnt: q_o = r_o · q + √(1 − r_o²) · its own. What a seed does to all
alike is an effect of its own, and the noise of score and loss in one training goes together. All of it is Gaussian, so
that what is known of q given the figures is exact for given parameters. These have priors in points of score (what is
known of fusion operators, docs/estimates.md), are fitted by their posterior's mode, and their own uncertainty is carried
through by drawing them around it: with few trainings the priors rule, and differences are shrunk towards none.

Source: Rasmussen & Williams 2006, eq. 2.25f. (prediction), 5.8f. (likelihood and gradient); the intrinsic model of
coregionalisation with one shared factor, Goovaerts 1997.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from trials.estimates.kernel import PARTS, Values
from trials.estimates.looks import LEAST_NOISE, Looks

#: The medians of priors that are log-normal and wide, in points of score: what architectures differ by, what a seed moves
#: all by, and the noise of a look, by whether it grew up from nothing. Measured on FusionBench, docs/estimates.md.
SPREAD, SHIFT, NOISE_FROM_SCRATCH, NOISE_OF_TUNED = 0.4, 0.3, 0.35, 0.12
#: As much of the noise that single images make alone is left in a comparison over the same images, at the median.
BINOMIAL_SHARE = 0.35
#: Means and standard deviations of the other priors: of logarithms, of atanhs of correlations (of an output with the
#: wanted one; of the noise of score and loss), of the mixture's logits.
WIDE, NOISE_WIDE, GOING_ALONG, TOGETHER = 1.0, 0.5, (0.8, 0.6), (0.7, 0.5)
MIXED = ((0.0, 0.0, -0.5, -0.5, -0.5), 1.5)
#: Of a mean, in units of its own spread: as good as not known.
UNKNOWN = 30.0
JITTER = 1e-8


@dataclass(frozen=True)
class Layout:
    """Where each parameter stands in the vector: log spreads, log shifts, log noises [outputs each], atanh of the
    correlations with output 0 [outputs − 1], atanh of the noise's correlation between score and loss, the mixture's
    logits."""

    outputs: int

    @property
    def spread(self) -> slice:
        return slice(0, self.outputs)

    @property
    def shift(self) -> slice:
        return slice(self.outputs, 2 * self.outputs)

    @property
    def noise(self) -> slice:
        return slice(2 * self.outputs, 3 * self.outputs)

    @property
    def correlation(self) -> slice:
        return slice(3 * self.outputs, 4 * self.outputs - 1)

    @property
    def together(self) -> int:
        return 4 * self.outputs - 1

    @property
    def mixture(self) -> slice:
        return slice(4 * self.outputs, 4 * self.outputs + len(PARTS))

    @property
    def size(self) -> int:
        return 4 * self.outputs + len(PARTS)


@dataclass(frozen=True)
class Prior:
    """Independent normal distributions of the parameters."""

    mean: Values
    sd: Values

    def log(self, theta: Values) -> float:
        return float(-0.5 * (((theta - self.mean) / self.sd) ** 2).sum())

    def gradient(self, theta: Values) -> Values:
        return -(theta - self.mean) / self.sd**2


class Model:
    """The joint density of some looks, by parameters.

    parts: [5, n, n] of the looks' architectures.
    """

    def __init__(self, looks: Looks, parts: Values) -> None:
        self.looks = looks
        self.outputs = 2 * len(looks.fidelities)
        self.layout = Layout(self.outputs)
        self._parts = parts[:, looks.architecture[:, None], looks.architecture[None, :]]
        self._same_output = looks.output[:, None] == looks.output[None, :]
        self._same_seed = (looks.seed[:, None] == looks.seed[None, :]) & self._same_output
        self._same_training = looks.training[:, None] == looks.training[None, :]
        self.scale = self._scales()
        self.prior = self._prior()

    def _scales(self) -> Values:
        """[outputs]: of scores a point; of losses what they spread, shifts and noise included."""
        found = np.ones(self.outputs)
        for output in range(1, self.outputs, 2):
            here = self.looks.figures[self.looks.output == output]
            if len(here) > 1 and here.std(ddof=1) > 0:
                found[output] = here.std(ddof=1)
        return found

    def _prior(self) -> Prior:
        layout = self.layout
        mean, sd = np.zeros(layout.size), np.full(layout.size, WIDE)
        noises = [
            max(NOISE_FROM_SCRATCH if start == "scratch" else NOISE_OF_TUNED, BINOMIAL_SHARE * self.looks.binomial)
            for start, _ in self.looks.fidelities
        ]
        for output in range(self.outputs):
            score = output % 2 == 0
            mean[layout.spread][output] = np.log(SPREAD if score else 0.7 * self.scale[output])
            mean[layout.shift][output] = np.log(SHIFT if score else 0.4 * self.scale[output])
            mean[layout.noise][output] = np.log(noises[output // 2] if score else 0.4 * self.scale[output])
        mean[layout.correlation], sd[layout.correlation] = GOING_ALONG
        mean[layout.together], sd[layout.together] = TOGETHER
        sd[layout.noise] = NOISE_WIDE
        mean[layout.mixture], sd[layout.mixture] = MIXED
        return Prior(mean, sd)

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
        """[outputs]: each one's correlation with what is wanted."""
        return np.array([1.0, *np.tanh(theta[self.layout.correlation])])

    def mixture(self, theta: Values) -> Values:
        """[5] shares."""
        raised = np.exp(theta[self.layout.mixture] - theta[self.layout.mixture].max())
        return np.asarray(raised / raised.sum())

    def covariance(self, theta: Values) -> tuple[Values, list[Values]]:
        """[rows, rows] of the figures, and its derivative by each parameter."""
        layout, output = self.layout, self.looks.output
        spread, shift = np.exp(theta[layout.spread])[output], np.exp(theta[layout.shift])[output]
        noise, loading = np.exp(theta[layout.noise])[output], self.loadings(theta)
        mixture, together = self.mixture(theta), np.tanh(theta[layout.together])
        kernel = np.tensordot(mixture, self._parts, 1)
        going = np.where(self._same_output, 1.0, loading[output][:, None] * loading[output][None, :])
        spreads = np.outer(spread, spread) * going
        quality = spreads * kernel
        mean = self._same_output * np.outer(spread, spread) * UNKNOWN**2
        shifts = self._same_seed * np.outer(shift, shift)
        noises = self._same_training * np.outer(noise, noise) * np.where(self._same_output, 1.0, together)
        derivatives = [*self._by_output(quality + mean), *self._by_output(shifts), *self._by_output(noises)]
        for one in range(1, self.outputs):
            mine = output == one
            rows = np.outer(mine, ~mine) * loading[output][None, :]
            slope = (1 - loading[one] ** 2) * (rows + rows.T)
            derivatives.append(slope * np.outer(spread, spread) * kernel)
        crossed = self._same_training & ~self._same_output
        derivatives.append((1 - together**2) * crossed * np.outer(noise, noise))
        derivatives += [share * spreads * (part - kernel) for share, part in zip(mixture, self._parts, strict=True)]
        least = JITTER + (LEAST_NOISE * (output % 2 == 0)) ** 2 + (0.02 * self.scale[output] * (output % 2 == 1)) ** 2
        return quality + mean + shifts + noises + np.diag(least), derivatives

    def _by_output(self, block: Values) -> Iterator[Values]:
        """The derivative by the logarithm of each output's own factor."""
        for one in range(self.outputs):
            mine = (self.looks.output == one).astype(float)
            yield block * (mine[:, None] + mine[None, :])

    def log_posterior(self, theta: Values) -> tuple[float, Values]:
        """Up to a constant, with its gradient; −inf where the covariance has no factor."""
        covariance, derivatives = self.covariance(theta)
        try:
            factor = cho_factor(covariance, lower=True)
        except np.linalg.LinAlgError:
            return -np.inf, np.zeros_like(theta)
        weights = cho_solve(factor, self.centred)
        inverse = cho_solve(factor, np.eye(len(weights)))
        value = -0.5 * float(self.centred @ weights) - float(np.log(np.diag(factor[0])).sum()) + self.prior.log(theta)
        inner = np.outer(weights, weights) - inverse
        gradient = np.array([0.5 * float((inner * d).sum()) for d in derivatives]) + self.prior.gradient(theta)
        return value, gradient

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

    def information(self, theta: Values) -> Values:
        """[parameters, parameters]: Fisher's, with the prior's: how sharply the figures tell the parameters."""
        covariance, derivatives = self.covariance(theta)
        factor = cho_factor(covariance, lower=True)
        turned = [cho_solve(factor, d) for d in derivatives]
        told = np.array([[0.5 * float((a * b.T).sum()) for b in turned] for a in turned])
        return told + np.diag(1 / self.prior.sd**2)


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
        covariance, _ = model.covariance(theta)
        factor, _ = cho_factor(covariance, lower=True)
        return cls(model, theta, np.tril(factor), cho_solve((factor, True), model.centred))

    def differences(self, towards: Values, own: Values) -> tuple[Values, Values]:
        """Means and variances [m] of differences of wanted scores.

        towards [5, m, architectures] are the kernel's parts of one less those of the other, own [5, m] those of the
        difference with itself.
        """
        return self._given(self._covariances(towards), self._variance * (self.model.mixture(self.theta) @ own))

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

    def _covariances(self, towards: Values) -> Values:
        """[m, rows]."""
        model, rows = self.model, self.model.looks.output
        kernel = np.tensordot(model.mixture(self.theta), towards, 1)[:, model.looks.architecture]
        spreads = np.exp(self.theta[model.layout.spread]) * model.loadings(self.theta)
        return np.asarray(np.sqrt(self._variance) * spreads[rows] * kernel)

    def _given(self, covariances: Values, prior: Values) -> tuple[Values, Values]:
        halves = solve_triangular(self.factor, covariances.T, lower=True)
        return covariances @ self.weights, np.maximum(prior - (halves**2).sum(0), 0.0)


def _mean(values: Values) -> float:
    return float(values.mean()) if len(values) else 0.0
