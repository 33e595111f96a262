"""A figure of every architecture of a space, from the figures of some: a Gaussian process over fusion choices.

The kernel knows that operators do alike wherever they are, that an operator may do otherwise at one point, that ratios
of one operator are close, and that pairs of points may go together:

    k(a, b) = v₁ · share of points with the same operator, whichever point each stands at
            + v₂ · share of points at which both have the same operator + v₃ · the same with the same ratio
            + v₄ · share of pairs of points at which both have the same operators

How much of each is found by the marginal likelihood, on a grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from search_spaces.architecture import Architecture

Values = NDArray[np.float64]
#: Shares of the variance of each part, tried in every combination; the rest of the grid is the noise's.
_MIXTURES = [mixture for mixture in product((0.0, 0.25, 0.5, 0.75, 1.0), repeat=4) if sum(mixture) == 1.0]
_NOISES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7)


@dataclass(frozen=True)
class Kernel:
    """The four parts of the kernel among architectures, [4, n, m] each between 0 and 1."""

    operators: tuple[str, ...]

    def parts(self, one: Sequence[Architecture], other: Sequence[Architecture]) -> Values:
        bags, others = self._bag(one), self._bag(other)
        alike = np.minimum(bags[:, None], others[None]).sum(-1)
        ops, other_ops = self._operators(one), self._operators(other)
        same_op = ops[:, None] == other_ops[None]
        same = self._labels(one)[:, None] == self._labels(other)[None]
        pairs = [same_op[..., i] & same_op[..., j] for i, j in combinations(range(ops.shape[1]), 2)] or [
            same_op[..., 0]
        ]
        return np.stack([alike, same_op.mean(-1), same.mean(-1), np.mean(pairs, axis=0)])

    def _bag(self, architectures: Sequence[Architecture]) -> Values:
        found = np.zeros((len(architectures), len(self.operators)))
        for row, architecture in enumerate(architectures):
            for choice in architecture.choices.values():
                found[row, self.operators.index(choice.op)] += 1 / len(architecture.choices)
        return found

    def _operators(self, architectures: Sequence[Architecture]) -> NDArray[np.str_]:
        return np.array([[choice.op for choice in a.choices.values()] for a in architectures])

    def _labels(self, architectures: Sequence[Architecture]) -> NDArray[np.str_]:
        return np.array([[str(choice) for choice in a.choices.values()] for a in architectures])


@dataclass(frozen=True)
class Fitted:
    """What was fitted to some architectures' figures: `residuals` are those of each when it is left out."""

    mean: float
    weights: Values
    mixture: tuple[float, ...]
    residuals: Values

    def predict(self, parts: Values) -> Values:
        """[m] figures; `parts` [4, m, n] are the kernel's, towards what was fitted."""
        return self.mean + np.tensordot(self.mixture, parts, 1) @ self.weights


def fit(parts: Values, values: Values) -> Fitted:
    """To values [n] of architectures whose kernel has these parts [4, n, n]. The most likely mixture of them."""
    mean, scale = float(values.mean()), float(values.std()) or 1.0
    target = (values - mean) / scale
    best: tuple[float, Values, tuple[float, ...], Values] | None = None
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
                )  # fmt: skip
    assert best is not None
    return Fitted(mean, best[1], best[2], best[3])
