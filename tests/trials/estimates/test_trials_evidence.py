"""Trainings of other runs: they help where their ranks are this run's, and hardly move anything where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from test_trials_estimates import ADD, EVERY, TARGET, Planted, training

from trials.estimates.estimates import Estimates, NoEstimate
from trials.estimates.kernel import parts
from trials.estimates.looks import Looks
from trials.estimates.model import Model
from trials.record.evidence import Evidence
from trials.record.training import Training

OTHER_DATA, OTHER_SCHEDULE = ("data",), ("schedule",)


def evidence(trainings: Sequence[Training], differs: tuple[str, ...] = OTHER_DATA, name: str = "a") -> Evidence:
    return Evidence(f"runs/{name}", name, differs, len(trainings), {}, tuple(trainings))


def akin(world: Planted, seed: int) -> Planted:
    """Other data: harder, further apart, not quite the same ranks."""
    other, rng = Planted(seed + 100), np.random.default_rng(seed)
    other.true = {key: 50 + 1.5 * (true - 70) + 0.2 * rng.standard_normal() for key, true in world.true.items()}
    return other


def errors_and_coverage(
    count: int, others: int, differs: tuple[str, ...], related: bool
) -> tuple[float, float, list[float]]:
    """The root mean square error of gains, the share of intervals that hold them, and each world's kinship."""
    squares, within, kinships = [], [], []
    for seed in range(12):
        world = Planted(seed)
        beside = akin(world, seed) if related else Planted(seed + 100, spread=1.0)
        given = [evidence(beside.looks(others), differs)] if others else []
        estimates = Estimates(world.looks(count), ADD, TARGET, given)
        for a, found in zip(EVERY[1:], estimates(EVERY[1:]), strict=True):
            gain = world.true[a.key] - world.true[ADD.key]
            squares.append((found.gain.mean - gain) ** 2)
            within.append(found.gain.low <= gain <= found.gain.high)
        kinships += estimates.kinship.values()
    return float(np.mean(squares)) ** 0.5, float(np.mean(within)), kinships


@pytest.mark.parametrize("differs", [OTHER_DATA, OTHER_SCHEDULE])
def test_a_run_that_ranks_alike_helps(differs: tuple[str, ...]) -> None:
    alone, covered, _ = errors_and_coverage(8, 0, differs, True)
    helped, still_covered, kinships = errors_and_coverage(8, 40, differs, True)
    assert helped < 0.7 * alone
    assert still_covered >= max(0.85, covered - 0.03)
    assert np.mean(kinships) > 0.6


@pytest.mark.parametrize("differs", [OTHER_DATA, OTHER_SCHEDULE])
def test_a_run_that_ranks_at_random_hardly_moves_anything(differs: tuple[str, ...]) -> None:
    alone, covered, _ = errors_and_coverage(12, 0, differs, False)
    misled, still_covered, kinships = errors_and_coverage(12, 40, differs, False)
    assert misled < 1.1 * alone
    assert still_covered > covered - 0.05
    assert abs(np.mean(kinships)) < 0.25


def test_what_only_the_other_run_shows_stays_there() -> None:
    """Its scores and losses agree with each other perfectly, on ranks that are not this run's."""
    world, beside = Planted(1), Planted(101, spread=2.0, noise=0.0)
    plain = Estimates(world.looks(30), ADD, TARGET)(EVERY[1:])
    found = Estimates(world.looks(30), ADD, TARGET, [evidence(beside.looks(60))])(EVERY[1:])
    moved = [abs(a.gain.mean - b.gain.mean) for a, b in zip(found, plain, strict=True)]
    assert np.mean(moved) < 0.08


def test_trainings_of_the_same_setting_count_as_the_runs_own() -> None:
    world = Planted(2)
    looks = world.looks(24)
    own, elsewhere = looks[:12], looks[12:]
    whole = Estimates(looks, ADD, TARGET)(EVERY)
    apart = Estimates(own, ADD, TARGET, [evidence(elsewhere, differs=())])
    assert apart(EVERY) == whole
    assert (apart.scored, apart.looks.trainings, apart.kinship) == (12, len(looks), {})


def test_what_the_run_has_trained_itself_counts_once() -> None:
    looks = Planted(2).looks(12)
    twice = [evidence(looks[4:], differs=(), name=name) for name in ("a", "a2")]
    assert Estimates(looks, ADD, TARGET, twice)(EVERY) == Estimates(looks, ADD, TARGET)(EVERY)


def test_several_runs_have_a_kinship_each() -> None:
    world = Planted(3)
    given = [evidence(akin(world, 3).looks(30), name="kin"), evidence(Planted(77).looks(30), name="stranger")]
    kinship = Estimates(world.looks(24), ADD, TARGET, given).kinship
    assert kinship["kin"] > 0.5 > kinship["stranger"]


def test_other_runs_alone_are_no_score_of_this_one() -> None:
    with pytest.raises(NoEstimate, match="no training of 3 epochs from inherit has a score"):
        Estimates([], ADD, TARGET, [evidence(Planted(0).looks(8))])
    one = training(ADD, 0, 0.7, 1.0)
    assert Estimates([one], ADD, TARGET, [evidence(Planted(0).looks(8))])([EVERY[5]])


def test_the_gradient_and_the_information_know_other_runs() -> None:
    given = [evidence(Planted(9).looks(5, repeated=1)), evidence(Planted(8).looks(4, repeated=1), OTHER_SCHEDULE, "b")]
    looks = Looks.of(Planted(5, noise=0.02).looks(6, repeated=1), TARGET, None, given)
    model = Model(looks, parts(looks.architectures, looks.architectures))
    theta = model.prior.mean + 0.3 * np.random.default_rng(0).standard_normal(model.layout.size)
    steps = 1e-5 * np.eye(model.layout.size)
    measured = [(model.log_posterior(theta + s)[0] - model.log_posterior(theta - s)[0]) / 2e-5 for s in steps]
    assert model.log_posterior(theta)[1] == pytest.approx(measured, rel=1e-4, abs=1e-4)
    inverse = np.linalg.inv(model.covariance(theta))
    turned = [inverse @ (model.covariance(theta + s) - model.covariance(theta - s)) / 2e-5 for s in steps]
    told = np.array([[0.5 * np.trace(a @ b) for b in turned] for a in turned]) + np.diag(1 / model.prior.sd**2)
    assert model.information(theta) == pytest.approx(told, rel=1e-2, abs=1e-3)


def test_parameters_are_fitted_to_this_runs_trainings_first() -> None:
    looks = Looks.of(Planted(4).looks(20), TARGET, None, [evidence(Planted(7).looks(60))])
    told = looks.telling(40)
    assert len(set(told.training.tolist())) == 40
    assert sum(number < looks.own for number in set(told.training.tolist())) == 20


def test_evidence_is_what_it_was_when_it_is_read_back() -> None:
    given = replace(evidence(Planted(0).looks(3)), left_out={"operators that are not offered": 2}, scored=7)
    again = Evidence.from_json(given.to_json())
    assert (again.run, again.identity, again.differs, again.left_out, again.scored) == (
        given.run, given.identity, given.differs, given.left_out, given.scored,
    )  # fmt: skip
    assert [(t.identity, t.score, t.loss, t.images) for t in again.trainings] == [
        (t.identity, t.score, t.loss, t.images) for t in given.trainings
    ]
