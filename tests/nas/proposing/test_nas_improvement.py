"""Expected improvement in closed form beside what ten thousand draws improve."""

from __future__ import annotations

import numpy as np
import pytest

from nas.proposing.improvement import Steps, expected_improvement
from reports.front import hypervolume
from trials.estimates.kernel import Values

RNG = np.random.default_rng(0)


def test_of_one_quality_it_is_the_mean_of_what_is_above() -> None:
    draws = 0.3 + 0.5 * RNG.standard_normal(200_000)
    (found,) = expected_improvement(np.array([0.3]), np.array([0.5]), 0.6)
    assert found == pytest.approx(np.maximum(draws - 0.6, 0).mean(), rel=0.02)
    sure = expected_improvement(np.array([0.3, 0.9]), np.zeros(2), 0.6)
    assert sure.tolist() == pytest.approx([0.0, 0.3])


@pytest.mark.parametrize("costs", [1, 2])
def test_of_a_front_it_is_the_mean_of_what_its_hypervolume_grows_by(costs: int) -> None:
    front_costs, quality = RNG.random((6, costs)), RNG.random(6)
    reference, floor = [1.1] * costs, -0.2
    maximise = (True, *[False] * costs)

    def volume(points: list[tuple[float, ...]]) -> float:
        return hypervolume(points, (floor, *reference), maximise)

    front = [(float(q), *map(float, c)) for q, c in zip(quality, front_costs, strict=True)]
    candidates: Values = RNG.random((4, costs))
    mean, sd = np.array([0.2, 0.6, 0.9, 1.2]), np.array([0.4, 0.2, 0.3, 0.01])
    found = Steps.of(front_costs, quality, reference, floor).expected(candidates, mean, sd)
    before = volume(front)
    for place, cost in enumerate(candidates):
        draws = mean[place] + sd[place] * RNG.standard_normal(4_000)
        grown = [volume([*front, (float(y), *map(float, cost))]) - before for y in draws]
        assert found[place] == pytest.approx(np.mean(grown), rel=0.08, abs=2e-3)


@pytest.mark.parametrize("costs", [1, 2])
def test_what_is_not_on_the_front_takes_no_members_place(costs: int) -> None:
    rng = np.random.default_rng(1)
    front_costs = np.sort(rng.random((6, 1)), 0) * np.ones(costs)
    quality = np.linspace(0.0, 1.0, 6)
    worse = rng.integers(0, 6, 300)
    more_costs = np.concatenate([front_costs, front_costs[worse] + 0.01])
    more_quality = np.concatenate([quality, quality[worse] - 0.01])
    candidates, mean, sd = rng.random((50, costs)), rng.random(50), np.full(50, 0.1)
    alone = Steps.of(front_costs, quality, [1.1] * costs, -0.2).expected(candidates, mean, sd)
    found = Steps.of(more_costs, more_quality, [1.1] * costs, -0.2).expected(candidates, mean, sd)
    assert found == pytest.approx(alone, abs=1e-12)


def test_what_costs_more_than_the_reference_improves_nothing_and_an_empty_front_is_improved_by_all() -> None:
    steps = Steps.of(np.zeros((0, 1)), np.zeros(0), [1.0], 0.0)
    found = steps.expected(np.array([[0.25], [1.5]]), np.array([1.0, 1.0]), np.array([0.0, 0.0]))
    assert found.tolist() == pytest.approx([0.75, 0.0])
