"""Estimates in FusionBench's worlds, whose truth is known: calibrated, and silent where there is nothing to find."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from nas.bench import load
from nas.bench.arena import table_world
from nas.bench.arena.compare import PLANTED
from nas.bench.arena.worlds import World
from trials.estimates.estimate import Estimate
from trials.estimates.estimates import Estimates
from trials.record.training import Training

LOOKS, SEARCHES = 24, 40


@pytest.fixture(scope="module")
def table() -> World:
    return table_world(load())


def searches(world: World, fidelity: str) -> Iterator[tuple[list[Estimate], list[float]]]:
    """Of random searches, the estimates of what was trained, all-add first, and the true gains in points."""
    start, epochs = fidelity.split("-")
    place = 2 * world.fidelities.index(fidelity)
    true = {a.key: 100 * world.figures[row, place] for row, a in enumerate(world.architectures)}
    base = world.space.baseline
    for realisation in range(SEARCHES):
        others = [a for a in world.architectures if a.key != base.key]
        trained = [base, *random.Random(realisation).sample(others, LOOKS - 5)]
        pairs = [(a, 0) for a in trained] + [(a, seed) for a in trained[:2] for seed in (1, 2)]
        looks = [(a, seed, world.look(a, fidelity, seed, realisation)) for a, seed in pairs]
        trainings = [
            Training(a, seed, int(epochs), start, score=look.accuracy, loss=look.loss, images=20_000)
            for a, seed, look in looks
        ]
        yield Estimates(trainings, base, (start, int(epochs)))(trained), [true[a.key] - true[base.key] for a in trained]


@pytest.mark.parametrize("fidelity", ["inherit-3", "scratch-18"])
@pytest.mark.parametrize("name", ["table", "known", "null"])
def test_intervals_cover_true_gains(table: World, name: str, fidelity: str) -> None:
    world = {"table": table, "known": table.known(PLANTED), "null": table.null()}[name]
    covered = [
        np.mean([e.gain.low <= gain <= e.gain.high for e, gain in zip(found[1:], true[1:], strict=True)])
        for found, true in searches(world, fidelity)
    ]
    assert np.mean(covered) >= 0.85, "90 % intervals"


@pytest.mark.parametrize("fidelity", ["inherit-3", "inherit-9", "scratch-18"])
def test_where_nothing_is_to_be_found_nothing_is_named(table: World, fidelity: str) -> None:
    named = [max(found, key=lambda e: e.gain.mean).better >= 0.975 for found, _ in searches(table.null(), fidelity)]
    assert sum(named) <= 0.05 * SEARCHES


def test_a_planted_winner_is_recognised(table: World) -> None:
    """Of what was trained, the best by estimate is the best in truth, or its equal within 0.05 points."""
    found = list(searches(table.known(PLANTED), "inherit-3"))
    behind = [max(true) - true[int(np.argmax([e.gain.mean for e in estimates]))] for estimates, true in found]
    assert np.mean(np.array(behind) <= 0.05) >= 0.8
