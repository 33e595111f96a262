"""Rank correlation of series, several at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def kendall_tau(x: Scores, y: Scores) -> Scores:
    """Kendall's τ-b of [..., n] and [..., n], over the last axis; NaN where all of one are equal."""
    i, j = np.triu_indices(x.shape[-1], 1)
    a, b = np.sign(x[..., i] - x[..., j]), np.sign(y[..., i] - y[..., j])
    with np.errstate(invalid="ignore"):
        return np.asarray((a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1)))


def spearman(x: Scores, y: Scores) -> Scores:
    """Spearman's ρ of [..., n] and [..., n], ties at their mean rank; NaN where all of one are equal."""
    a, b = _centred_ranks(x), _centred_ranks(y)
    with np.errstate(invalid="ignore"):
        return np.asarray((a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1)))


def _centred_ranks(x: Scores) -> Scores:
    """Ranks minus their mean: how many are smaller minus how many are larger, halved."""
    return np.asarray(np.sign(x[..., :, None] - x[..., None, :]).sum(-1) / 2)
