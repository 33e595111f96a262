"""Statistics of noisy scores: what seeds can resolve, and how far two rankings agree. Pure numpy, no torch.

Scores are higher-is-better arrays. A table of them is [architectures, seeds], trained under common seeds: what a seed
does to all candidates alike cancels in their paired differences, and only the rest is noise of a comparison.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from trials.ranks import Scores

#: Of intervals, and of "distinguishable" for one pair: 1 in 20 equal pairs is called different.
CONFIDENCE = 0.95
#: With this probability a true difference of `resolvable` is found.
POWER = 0.8
RESAMPLES = 2000
#: Elements of the largest temporary of a bootstrap.
_CHUNK = 2_000_000

Statistic = Callable[[Scores, Scores], Scores]


@cache
def t_quantile(p: float, df: int) -> float:
    """The quantile of Student's t. Raises ValueError for p outside (0, 1) or df below 1."""
    if not 0 < p < 1 or df < 1:
        raise ValueError(f"p is {p} and df {df}: p must lie between 0 and 1, df be at least 1")
    from scipy.special import stdtrit  # takes a while, and a run without repeated seeds asks for none

    return float(stdtrit(df, p))


@dataclass(frozen=True)
class Noise:
    """What the seeds of one table of scores do, in its unit.

    `raw_sd` is the standard deviation of the baseline over its seeds (`raw_df` degrees of freedom). `paired_sd` is that
    of the difference of two architectures under one seed (`paired_df`), and `spread_sd` that of the architectures
    themselves, free of noise: the signal. Both are None with the baseline alone.
    """

    raw_sd: float
    raw_df: int
    paired_sd: float | None
    paired_df: int
    spread_sd: float | None

    def critical(self, seeds: int, comparisons: int = 1) -> float | None:
        """A paired difference, a mean over `seeds`, up to which two architectures are not distinguishable."""
        if self.paired_sd is None:
            return None
        return critical_difference(self.paired_sd, self.paired_df, seeds, comparisons)

    def paired_resolvable(self, seeds: int) -> float | None:
        """The smallest difference that candidates show under the same `seeds`, None with the baseline alone."""
        return None if self.paired_sd is None else resolvable_difference(self.paired_sd, self.paired_df, seeds)

    def unpaired_resolvable(self, seeds: int) -> float:
        """The same where each candidate has `seeds` of its own: a difference scatters √2 times as much as a score."""
        return resolvable_difference(math.sqrt(2) * self.raw_sd, self.raw_df, seeds)


def noise_of(scores: Scores, step: float = 0.0) -> Noise:
    """The noise of a table [architectures, seeds] whose first row is the baseline.

    The paired one is from the residuals of the two-way table (architecture + seed + noise): twice their mean square is
    the variance of a paired difference, averaged over all pairs, and each pair counts once however many share the
    baseline.

    Raises ValueError for fewer than two seeds.
    """
    architectures, seeds = scores.shape
    if seeds < 2:
        raise ValueError(f"a standard deviation takes two seeds, given {seeds}")
    raw = max(float(scores[0].std(ddof=1)), step / math.sqrt(12))
    if architectures < 2:
        return Noise(raw, seeds - 1, None, 0, None)
    means = scores.mean(axis=1)
    residuals = scores - means[:, None] - scores.mean(axis=0) + scores.mean()
    df = (architectures - 1) * (seeds - 1)
    variance = max(float((residuals**2).sum()) / df, step**2 / 12)
    spread = max(0.0, float(means.var(ddof=1)) - variance / seeds)
    return Noise(raw, seeds - 1, math.sqrt(2 * variance), df, math.sqrt(spread))


@dataclass(frozen=True)
class Difference:
    """A difference with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves 0 out."""
        return not self.low <= 0 <= self.high


def paired_differences(scores: Scores, pairs: Sequence[tuple[int, int]], step: float = 0.0) -> list[Difference]:
    """Row i minus row j of a table [architectures, seeds], for each (i, j): the mean over the seeds, with a t interval.

    The noise of a difference is that of all rows, pooled as in `noise_of`: of three seeds, one pair alone would give
    intervals twice as wide, and by chance some of no width. `step` is the score of one image.

    Raises ValueError for fewer than two rows or seeds.
    """
    if len(scores) < 2:
        raise ValueError(f"a difference takes two architectures, given {len(scores)}")
    half = noise_of(scores, step).critical(scores.shape[1]) or 0.0
    means = [float((scores[i] - scores[j]).mean()) for i, j in pairs]
    return [Difference(mean, mean - half, mean + half) for mean in means]


def critical_difference(sd: float, df: int, seeds: int, comparisons: int = 1) -> float:
    """|mean of `seeds` differences| that equal pairs exceed in 5 % of the cases; `sd` is of one difference, with `df`.

    Of `comparisons` none exceeds it in 95 % of the cases (Bonferroni): who is picked as the best of many was compared
    with all of them.
    """
    return t_quantile(1 - (1 - CONFIDENCE) / (2 * comparisons), df) * sd / math.sqrt(seeds)


def resolvable_difference(sd: float, df: int, seeds: int) -> float:
    """The true difference that exceeds the critical one with a probability of 80 %: (t.975 + t.8) sd / √seeds."""
    return critical_difference(sd, df, seeds) + t_quantile(POWER, df) * sd / math.sqrt(seeds)


def top_recall(k: int) -> Statistic:
    """The share of the k best by y [..., n] that are among the k best by x; equal ones count by their place."""

    def recall(x: Scores, y: Scores) -> Scores:
        best = [np.argsort(np.argsort(-scores, axis=-1, kind="stable"), axis=-1) < k for scores in (x, y)]
        return np.asarray((best[0] & best[1]).sum(-1) / k)

    return recall


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % interval. None: not defined, or every resample gave the same (too few to say)."""

    value: float | None
    low: float | None
    high: float | None


def estimate(statistic: Statistic, x: Scores, y: Scores) -> Estimate:
    """A statistic of [n] and [n], or its mean over the rows of [rows, n] and [rows, n], with its percentile interval.

    Architectures are resampled (Efron 1979), rows kept together. An architecture that a resample holds twice is a tie
    in both rankings, which τ-b leaves out.
    """
    x, y = np.atleast_2d(x), np.atleast_2d(y)
    value = float(statistic(x, y).mean())
    if not math.isfinite(value):
        return Estimate(None, None, None)
    n = x.shape[1]
    draws = np.random.default_rng(0).integers(0, n, (RESAMPLES, n))
    size = max(1, _CHUNK // (x.shape[0] * n * n))
    parts = [draws[start : start + size] for start in range(0, RESAMPLES, size)]
    resampled = np.concatenate([statistic(x[:, part], y[:, part]).mean(0) for part in parts])
    resampled = resampled[np.isfinite(resampled)]
    if resampled.size < RESAMPLES // 2 or np.ptp(resampled) == 0:
        return Estimate(value, None, None)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))
