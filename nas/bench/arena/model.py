"""A figure of every architecture of a space, from the figures of some: a Gaussian process over fusion choices.

The kernel is the estimates' (trials/estimates/kernel.py) but for what an architecture has of its own: that is the
residual. How much of each is found by the marginal likelihood, on a grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from search_spaces.architecture import Architecture
from trials.estimates.kernel import Values, parts

#: Shares of the variance of each part, tried in every combination; the rest of the grid is the noise's.
_MIXTURES = [mixture for mixture in product((0.0, 0.25, 0.5, 0.75, 1.0), repeat=4) if sum(mixture) == 1.0]
_NOISES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7)


def shared_parts(one: Sequence[Architecture], other: Sequence[Architecture]) -> Values:
    """[4, n, m]: of the estimates' kernel, the parts in which different architectures are alike."""
    return parts(one, other)[:-1]


@dataclass(frozen=True)
class Fitted:
    """What was fitted to some architectures' figures: `residuals` are those of each when it is left out, `variances`
    what the model expected of their squares, the noise of the figures included."""

    mean: float
    weights: Values
    mixture: tuple[float, ...]
    residuals: Values
    variances: Values

    def predict(self, parts: Values) -> Values:
        """[m] figures; `parts` [4, m, n] are the kernel's, towards what was fitted."""
        return self.mean + np.tensordot(self.mixture, parts, 1) @ self.weights


def fit(parts: Values, values: Values) -> Fitted:
    """To values [n] of architectures whose kernel has these parts [4, n, n]. The most likely mixture of them."""
    mean, scale = float(values.mean()), float(values.std()) or 1.0
    target = (values - mean) / scale
    best: tuple[float, Values, tuple[float, ...], Values, Values] | None = None
    for mixture in _MIXTURES:
        eigenvalues, vectors = np.linalg.eigh(np.tensordot(mixture, parts, 1))
        turned = vectors.T @ target
        for noise in _NOISES:
            spectrum = (1 - noise) * np.maximum(eigenvalues, 0.0) + noise
            likelihood = -0.5 * float((turned**2 / spectrum).sum() + np.log(spectrum).sum())
            if best is None or likelihood > best[0]:
                inverse = (vectors / spectrum) @ vectors.T
                weights = inverse @ target
                best = (
                    likelihood, (1 - noise) * scale * weights, mixture, scale * weights / np.diag(inverse),
                    scale**2 / np.diag(inverse),
                )  # fmt: skip
    assert best is not None
    return Fitted(mean, *best[1:])
