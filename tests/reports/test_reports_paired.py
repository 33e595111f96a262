"""The test of finalists, held against what it promises: thousands of simulated finals, in which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from reports.paired import ALPHA, Gain, Plan, gains, unfinished

PLAN = Plan(finalists=3, least=3, most=6)


def final(
    rng: np.random.Generator, truth: list[float], seeds: int = 6, images: int = 400, seed_sd: float = 0.005
) -> tuple[np.ndarray, np.ndarray]:
    """A table [1 + finalists, seeds] of a figure and what it is the mean of, [.., images]: each network is better at
    some images than at others, whatever the seed; a seed moves all networks alike, and each one a little."""
    networks = 1 + len(truth)
    of_images = 0.35 * rng.standard_normal((1, 1, images)) + 0.15 * rng.standard_normal((networks, 1, images))
    of_seeds = 0.01 * rng.standard_normal((1, seeds, 1)) + seed_sd * rng.standard_normal((networks, seeds, 1))
    alone = 0.2 * rng.standard_normal((networks, seeds, images))
    each = np.array([0.0, *truth])[:, None, None] + of_images + of_seeds + alone
    return each.mean(axis=2), each


def played(table: np.ndarray, each: np.ndarray) -> list[Gain | None]:
    """The gains when the test has stopped, having looked after each seed."""
    plan = Plan(len(table) - 1, 3, 6)
    there = np.full(table.shape, np.nan)
    there[:, : plan.least] = table[:, : plan.least]
    while True:
        by_image = [(each[place] - each[0])[~np.isnan(there[place])] for place in range(1, len(table))]
        found = gains(there, plan, by_image)
        more = unfinished(found, [None] * plan.finalists, plan, matters=0.0)
        if not more:
            return found
        seed = int((~np.isnan(there[0])).sum())
        for place in (0, *(one + 1 for one in more)):
            there[place, seed] = table[place, seed]


def test_among_equals_a_winner_is_rare_and_intervals_cover() -> None:
    rng, named, covered, finals = np.random.default_rng(0), 0, 0, 1500
    for _ in range(finals):
        found = played(*final(rng, [0.0, 0.0, 0.0]))
        named += any(gain is not None and gain.wins for gain in found)
        covered += all(gain is not None and gain.low <= 0 <= gain.high for gain in found)
    assert named / finals <= 0.035  # ALPHA, and what 1,500 finals leave uncertain of it
    assert covered / finals >= 0.93


def test_seeds_alone_hold_the_level() -> None:
    rng, named, finals = np.random.default_rng(1), 0, 3000
    for _ in range(finals):
        table = rng.standard_normal((4, 3))
        named += any(gain is not None and gain.wins for gain in gains(table, Plan(3, 3, 3)))
    assert ALPHA / 2 <= named / finals <= 1.4 * ALPHA


def test_a_true_winner_is_found_and_its_gain_is_within_the_interval() -> None:
    rng, named, covered, finals = np.random.default_rng(2), 0, 0, 300
    for _ in range(finals):
        found = played(*final(rng, [0.06, 0.0, 0.0], seed_sd=0.002))
        winner = found[0]
        assert winner is not None
        named += winner.wins
        covered += winner.low <= 0.06 <= winner.high
    assert named / finals >= 0.9
    assert covered / finals >= 0.93


def test_the_finite_test_set_counts_however_many_seeds_there_are() -> None:
    table, each = final(np.random.default_rng(3), [0.0], seeds=6, images=100, seed_sd=0.0)
    (alone,), (both,) = gains(table, Plan(1, 6, 6)), gains(table, Plan(1, 6, 6), [each[1] - each[0]])
    assert alone is not None
    assert both is not None
    assert both.images_error == pytest.approx(0.15 * 2**0.5 / 10, rel=0.3)
    assert both.margin > 1.5 * alone.margin


def test_more_looks_and_more_finalists_are_read_more_strictly() -> None:
    assert Plan(1, 3, 3).level == pytest.approx(ALPHA, rel=0.15)
    assert Plan(3, 3, 6).level < Plan(3, 3, 3).level < Plan(1, 3, 3).level
    assert Plan(3, 3, 6).level > ALPHA / 12  # Bonferroni, which takes what is correlated for independent


def test_a_finalist_with_too_few_seeds_has_no_gain() -> None:
    table = np.array([[0.5, 0.6, 0.7], [0.6, 0.7, 0.8], [0.5, np.nan, np.nan]])
    first, second = gains(table, Plan(2, 3, 3))
    assert first is not None
    assert second is None


def gain(mean: float, margin: float, seeds: int = 3, images: float = 0.0) -> Gain:
    return Gain(mean, mean - margin, mean + margin, seeds, 6.0, margin / 4, images)


@pytest.mark.parametrize(
    ("figure", "loss", "expected"),
    [
        ([gain(0.02, 0.01), gain(0.0, 0.02), gain(0.0, 0.02)], [None] * 3, []),  # decided
        ([gain(0.0, 0.004), gain(0.0, 0.02), gain(0.0, 0.004)], [None] * 3, [1]),  # two are hopeless
        ([gain(0.0, 0.02, seeds=6)] * 3, [None] * 3, []),  # no seed is left
        ([gain(0.0, 0.02, images=0.1)] * 3, [None] * 3, []),  # images decide, and there are no more of them
        ([gain(0.001, 0.02)] * 3, [gain(0.1, 0.01), None, None], []),  # one has won by its loss
        ([gain(0.019, 0.02)] * 3, [gain(0.1, 0.01), None, None], [0, 1, 2]),  # the figure can still be decided
        ([gain(-0.02, 0.01), gain(0.001, 0.02), None], [gain(0.1, 0.01), None, None], [1]),  # lower loss, but worse
    ],
)  # fmt: skip
def test_seeds_are_spent_where_they_decide(
    figure: list[Gain | None], loss: list[Gain | None], expected: list[int]
) -> None:
    assert unfinished(figure, loss, PLAN) == expected
