"""Statistics against reference values, and against simulations of planted noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.significance import (
    CONFIDENCE,
    POWER,
    Estimate,
    critical_difference,
    estimate,
    noise_of,
    resolvable_difference,
    t_quantile,
    top_recall,
)
from trials.ranks import kendall_tau, spearman


@pytest.mark.parametrize(
    ("df", "quantiles"),
    [
        (1, (12.70620474, 1.37638192, 318.30883899)),
        (2, (4.30265273, 1.06066017, 22.32712477)),
        (3, (3.18244631, 0.97847231, 10.21453185)),
        (8, (2.30600414, 0.88888952, 4.50079093)),
        (121, (1.97976376, 0.84460191, 3.15895441)),
    ],
)
def test_quantiles_are_those_of_scipy(df: int, quantiles: tuple[float, ...]) -> None:
    found = [t_quantile(p, df) for p in (0.975, 0.8, 0.999)]
    assert found == pytest.approx(quantiles, rel=1e-8)
    assert t_quantile(0.2, df) == pytest.approx(-quantiles[1], rel=1e-8)


@pytest.mark.parametrize(("p", "df"), [(0.0, 3), (1.0, 3), (math.nan, 3), (0.9, 0)])
def test_a_quantile_that_is_none(p: float, df: int) -> None:
    with pytest.raises(ValueError, match="p must lie between"):
        t_quantile(p, df)


def test_rank_correlations_are_those_of_scipy() -> None:
    """scipy 1.16: kendalltau (τ-b) and spearmanr, with ties and without."""
    tied = np.array([[3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8, 1, 8]], float)
    assert kendall_tau(*tied) == pytest.approx(0.16051447078102563)
    assert spearman(*tied) == pytest.approx(0.19885368120992467)
    x = [0.5321, 0.5413, 0.5339, 0.5577, 0.5373, 0.5349, 0.5503]
    free = np.array([x, [0.6498, 0.6547, 0.6506, 0.6639, 0.651, 0.6505, 0.6601]])
    assert kendall_tau(*free) == pytest.approx(0.9047619047619049)
    assert spearman(*free) == pytest.approx(0.9642857142857145)
    assert math.isnan(kendall_tau(tied[0], np.ones(8)))


def test_the_recall_of_the_best() -> None:
    x, y = np.array([9.0, 8, 7, 6, 5, 4]), np.array([5.0, 9, 1, 8, 2, 3])
    assert [float(top_recall(k)(x, y)) for k in (1, 2, 3, 6)] == [0, 0.5, pytest.approx(2 / 3), 1]


def planted(rng: np.random.Generator, architectures: int, seeds: int, common: float = 0.01) -> np.ndarray:
    """[architectures, seeds] of equal architectures: noise of 0.002 under a seed effect that is common to all."""
    return common * rng.standard_normal(seeds) + 0.002 * rng.standard_normal((architectures, seeds))


def test_noise_is_found_as_it_was_planted() -> None:
    rng = np.random.default_rng(1)
    found = [noise_of(planted(rng, 4, 6) + np.array([[0.0], [0.003], [0.006], [0.009]])) for _ in range(2000)]
    rms = {name: math.sqrt(np.mean([getattr(n, name) ** 2 for n in found])) for name in ("raw_sd", "paired_sd")}
    assert rms["raw_sd"] == pytest.approx(math.hypot(0.01, 0.002), rel=0.03)
    assert rms["paired_sd"] == pytest.approx(0.002 * math.sqrt(2), rel=0.03)
    assert np.mean([n.spread_sd**2 for n in found]) == pytest.approx(np.var([0, 3, 6, 9], ddof=1) * 1e-6, rel=0.05)
    assert (found[0].raw_df, found[0].paired_df) == (5, 15)


def test_the_baseline_alone_has_no_paired_noise() -> None:
    noise = noise_of(np.array([[0.5, 0.6, 0.7]]))
    assert noise.raw_sd == pytest.approx(0.1)
    assert (noise.paired_sd, noise.critical(1), noise.paired_resolvable(1), noise.spread_sd) == (None,) * 4
    assert noise.unpaired_resolvable(4) == pytest.approx(noise.unpaired_resolvable(1) / 2)
    with pytest.raises(ValueError, match="takes two seeds, given 1"):
        noise_of(np.array([[0.5], [0.6]]))


def test_scores_that_happen_to_be_equal_are_not_without_noise() -> None:
    """Rounded to whole images, scores scatter by a twelfth of an image's square at least."""
    noise = noise_of(np.full((2, 2), 0.1825), step=1 / 400)
    rounded = np.round(400 * np.random.default_rng(0).uniform(0.2, 0.8, 100_000)) / 400
    exact = np.random.default_rng(0).uniform(0.2, 0.8, 100_000)
    assert noise.raw_sd == pytest.approx((rounded - exact).std(), rel=0.01)
    assert noise.paired_sd == pytest.approx(noise.raw_sd * math.sqrt(2))


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_equal_candidates_are_told_apart_as_rarely_as_stated(seeds: int) -> None:
    """And candidates that differ by the resolvable difference as often as stated, by their seeds' measured noise."""
    rng = np.random.default_rng(seeds)
    repetitions, told, found = 4000, 0, 0
    gap = resolvable_difference(0.002 * math.sqrt(2), df=8, seeds=seeds)
    for _ in range(repetitions):
        limit = noise_of(planted(rng, 3, 5)).critical(seeds)
        one, other = planted(rng, 2, seeds).mean(1)
        told += abs(one - other) > limit
        found += abs(one + gap - other) > limit
    assert told / repetitions == pytest.approx(1 - CONFIDENCE, abs=0.01)
    assert found / repetitions == pytest.approx(POWER, abs=0.02)


def test_the_best_of_many_is_compared_with_all_of_them() -> None:
    """With 9 equal candidates the seeming best is told from one of them more often than 1 in 20 by a pair's limit."""
    rng = np.random.default_rng(3)
    wrong = {1: 0, 8: 0}
    for _ in range(2000):
        noise = noise_of(planted(rng, 3, 5))
        scores = planted(rng, 9, 1)[:, 0]
        truly_best = scores.max() - scores[0]  # any of equal ones is as good as the best
        for comparisons in wrong:
            wrong[comparisons] += truly_best > noise.critical(1, comparisons)
    assert wrong[8] / 2000 < 1 - CONFIDENCE < wrong[1] / 2000


def test_seeds_resolve_by_their_root() -> None:
    assert critical_difference(1.0, 8, 4) == pytest.approx(t_quantile(0.975, 8) / 2)
    assert resolvable_difference(1.0, 8, 1) == pytest.approx(2.30600414 + 0.88888952)


@pytest.mark.parametrize(("n", "correlation"), [(8, 0.6), (12, 0.9), (15, 0.0)])
def test_the_interval_of_a_rank_correlation_covers(n: int, correlation: float) -> None:
    """Kendall's τ of normal pairs is 2/π arcsin ρ, their Spearman's 6/π arcsin (ρ/2) in the limit."""
    rng = np.random.default_rng(n)
    tau = 2 / math.pi * math.asin(correlation)
    repetitions, covered = 150, 0
    for _ in range(repetitions):
        x = rng.standard_normal(n)
        y = correlation * x + math.sqrt(1 - correlation**2) * rng.standard_normal(n)
        found = estimate(kendall_tau, x, y)
        assert found.low is None or found.low <= found.value <= found.high
        covered += found.low is not None and found.low <= tau <= found.high
    assert covered / repetitions >= 0.92


def test_where_every_resample_agrees_there_is_no_interval() -> None:
    ranks = np.arange(6.0)
    assert estimate(kendall_tau, ranks, ranks) == Estimate(1.0, None, None)
    assert estimate(kendall_tau, ranks, np.zeros(6)) == Estimate(None, None, None)


def test_an_estimate_of_rows_is_their_mean_and_repeats_to_the_bit() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((2, 3, 9))
    found = estimate(spearman, x, y)
    assert found.value == pytest.approx(np.mean([spearman(a, b) for a, b in zip(x, y, strict=True)]))
    assert found == estimate(spearman, x, y)
