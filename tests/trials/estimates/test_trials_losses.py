"""The loss that estimates are made from, at each network's own temperature, and what is said where it contradicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_trials_estimates import ADD, EVERY, TARGET, Planted, training

from reports.estimates import LITTLE
from trials.estimates.estimates import Estimates
from trials.estimates.looks import Looks
from trials.record.evidence import Evidence
from trials.record.training import Training


def sharpened(looks: list[Training], seed: int) -> list[Training]:
    """The same, but so ill calibrated that losses say little until a temperature is taken out."""
    moved = np.random.default_rng(seed).standard_normal(len(EVERY))
    place = {a.key: n for n, a in enumerate(EVERY)}
    return [
        replace(t, loss=(t.loss or 0) + 0.02 * abs(moved[place[t.architecture.key]]), tempered_loss=t.loss)
        for t in looks
    ]


def test_what_calibration_does_to_a_loss_is_no_quality() -> None:
    raw: list[float] = []
    tempered: list[float] = []
    for seed in range(8):
        world = Planted(seed, noise=0.3)
        looks = sharpened(world.looks(20), seed)
        true = np.array([world.true[a.key] - world.true[ADD.key] for a in EVERY])
        for errors, given in ((raw, [replace(t, tempered_loss=None) for t in looks]), (tempered, looks)):
            means = np.array([one.gain.mean for one in Estimates(given, ADD, TARGET)(EVERY)])
            errors.append(float(np.mean((means - true) ** 2)))
    assert all(t < r for t, r in zip(tempered, raw, strict=True))
    assert np.mean(tempered) < 0.9 * np.mean(raw)


def test_two_kinds_of_loss_are_never_one_figure() -> None:
    looks = sharpened(Planted(0).looks(8), 0)
    longer = [replace(t, epochs=9, tempered_loss=None) for t in looks[:3]]
    some = [*looks[:5], *(replace(t, tempered_loss=None) for t in looks[5:]), *longer]
    figures = Looks.of(some, TARGET)
    of_target, of_longer = figures.figures[figures.output == 1], figures.figures[figures.output == 3]
    assert sorted(of_target) == sorted(-(t.loss or 0) for t in looks), "one lacks it, so all are as they were seen"
    assert sorted(of_longer) == sorted(-(t.loss or 0) for t in looks[:3])
    whole = Looks.of([*looks, *longer], TARGET)
    assert sorted(whole.figures[whole.output == 1]) == sorted(-(t.tempered_loss or 0) for t in looks)
    other = Evidence("runs/a", "a", ("data",), 3, {}, tuple(replace(t, tempered_loss=None) for t in looks[:3]))
    beside = Looks.of(looks, TARGET, None, [other])
    assert sorted(beside.figures[beside.output == 1]) == sorted(-(t.tempered_loss or 0) for t in looks)
    assert sorted(beside.figures[beside.output == 3]) == sorted(-(t.loss or 0) for t in looks[:3])


def test_a_score_that_its_loss_contradicts_is_named() -> None:
    world = Planted(1, noise=0.05)
    looks = world.looks(24)
    assert Estimates(looks, ADD, TARGET).contradictions() == []
    odd = next(n for n, t in enumerate(looks) if t.architecture == EVERY[17] or n == 9)
    looks[odd] = replace(looks[odd], score=(looks[odd].score or 0) + 0.03)
    (found,) = Estimates(looks, ADD, TARGET).contradictions()
    assert found.architecture == looks[odd].architecture
    assert found.points == pytest.approx(3, abs=0.8)
    assert 0 < found.noise < found.points


def test_runs_that_agree_are_seldom_said_to_contradict_themselves() -> None:
    named = [Estimates(Planted(seed).looks(16), ADD, TARGET).contradictions() for seed in range(30)]
    assert sum(map(bool, named)) <= 2


def test_how_far_losses_go_along_is_learnt() -> None:
    world = Planted(2, noise=0.05)
    looks = world.looks(40)
    along = Estimates(looks, ADD, TARGET).going_along
    assert along is not None
    assert along > 0.6
    rng = np.random.default_rng(0)
    senseless = {a.key: 1 + 0.01 * rng.standard_normal() for a in EVERY}
    unlike = Estimates([replace(t, loss=senseless[t.architecture.key]) for t in looks], ADD, TARGET).going_along
    assert unlike is not None
    assert unlike < LITTLE < along
    assert Estimates([replace(t, loss=None) for t in looks], ADD, TARGET).going_along is None
    assert Estimates([replace(t, loss=None) for t in looks], ADD, TARGET).contradictions() == []


def test_a_training_says_its_temperature_on() -> None:
    one = replace(training(ADD, 0, 0.7, 1.0), tempered_loss=0.9, temperature=0.8)
    with pytest.raises(ValueError, match="tempered_loss is nan"):
        replace(one, tempered_loss=float("nan"))
