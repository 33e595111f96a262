"""Our own sampler: its opening, what it believes, and that a worker does not wait for a model of many trials."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest

from nas.proposing.coded import Coded
from nas.proposing.ehvi import EHVI, OPENING, SLOW, renewed_at
from nas.proposing.opening import spread_choice
from nas.proposing.proposer import Problem, Proposal
from nas.proposing.surrogate import Parameters, Surrogate, fitted_to
from search_spaces import InputSpec, SearchSpace
from search_spaces.architecture import Architecture
from trials.budgets.constraints import Constraint
from trials.budgets.feasibility import Feasibility
from trials.budgets.pricing import Pricing
from trials.costs import CostTable
from trials.record.evidence import Evidence
from trials.record.training import Training
from trials.trial import TrialResult, TrialState

SMALL = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
LARGE = SearchSpace.named("resnet20", InputSpec(3, 32, 10))
COSTS = {space.name: CostTable(space) for space in (SMALL, LARGE)}
BUDGET = (Constraint.parse("macs", "1.05x"),)


def problem(space: SearchSpace = SMALL, **changes: object) -> Problem:
    baseline = COSTS[space.name](space.baseline)
    feasibility = Feasibility(space, COSTS[space.name], BUDGET, baseline)
    return dataclasses.replace(
        Problem(space, feasibility, Pricing(BUDGET, baseline), ("accuracy", "macs"), seed=0), **changes  # type: ignore[arg-type]
    )  # fmt: skip


def ended(number: int, architecture: Architecture, rng: random.Random | None = None) -> TrialResult:
    """cbam is worth half a point at each place, and looks are noisy where a generator is given."""
    costs = COSTS[architecture.space](architecture)
    share = np.mean([choice.op == "cbam" for choice in architecture.choices.values()])
    score = 0.7 + 0.015 * float(share) + (rng.gauss(0, 0.0005) if rng else 0.0)
    return TrialResult(
        number, TrialState.COMPLETE, "sampler", architecture, 0, 3, costs.macs, costs.params, score=score,
        loss=2 - 2 * score,
    )  # fmt: skip


def proposed(subject: EHVI, number: int) -> Architecture:
    found = subject.propose(number)
    assert isinstance(found, Proposal)
    return found.architecture


def operators(architecture: Architecture) -> set[str]:
    return {choice.op for choice in architecture.choices.values()}


def test_the_opening_has_every_operator_and_is_spread() -> None:
    coded = Coded(SMALL, problem().feasibility)
    seen = coded.baseline
    for _ in range(4):
        place = spread_choice(coded, coded.all, seen, random.Random(1), np.zeros(len(coded.all)))[0]
        seen = np.concatenate([seen, coded.all[place : place + 1]])
    chosen = [coded.architecture(row) for row in seen]
    assert set.union(*map(operators, chosen)) == set(SMALL.operators)
    assert all(problem().feasibility(a) for a in chosen)
    alike = [sum(a.choices[p] == b.choices[p] for p in a.choices) for i, a in enumerate(chosen) for b in chosen[:i]]
    assert max(alike) <= 1


def test_rows_are_architectures_and_cost_what_these_cost() -> None:
    for space in (SMALL, LARGE):
        coded, rng = Coded(space, problem(space).feasibility), random.Random(2)
        drawn = [space.sample(rng) for _ in range(50)]
        rows = coded.rows(drawn)
        assert [coded.architecture(row) for row in rows] == drawn
        assert coded.costs(rows).tolist() == [[COSTS[space.name](a).macs, COSTS[space.name](a).params] for a in drawn]
        within = {coded.architecture(row).key for row in coded.within(rows)}
        assert within == {a.key for a in drawn if problem(space).feasibility(a)}
    assert len(coded.near(rows[:2], rng, 10)) == 2 * int(coded.choices.sum()) + 20


def test_what_one_believes_in_is_looked_at_sooner_and_data_override_it() -> None:
    def course(beliefs: dict[str, float], trials: int) -> list[Architecture]:
        subject, found = EHVI(problem(beliefs=beliefs)), []
        for number in range(trials):
            found.append(proposed(subject, number))
            subject.tell(ended(number, found[-1]))
        return found

    def share(found: list[Architecture], op: str) -> float:
        return float(np.mean([choice.op == op for a in found for choice in a.choices.values()]))

    plain, wrong = course({}, 24), course({"iaff": 4.0}, 24)
    assert share(wrong[:8], "iaff") > share(plain[:8], "iaff")
    assert share(wrong[12:], "cbam") > 3 * share(wrong[12:], "iaff")


def test_parameters_and_models_of_many_are_renewed_as_they_grow() -> None:
    assert [fitted_to(n) for n in (1, 4, 5, 6, 7, 8, 100)] == [1, 4, 5, 6, 7, 8, 97]
    assert [renewed_at(n) for n in (1, 50, SLOW, SLOW + 2, SLOW + 3)] == [1, 50, SLOW, SLOW, SLOW + 3]
    steps = {renewed_at(n) for n in range(900, 1000)}
    assert 3 <= len(steps) <= 5


def test_what_is_known_of_candidates_together_is_what_is_known_of_each() -> None:
    """Of more trainings than are solved at once."""
    coded, rng = Coded(LARGE, problem(LARGE).feasibility), random.Random(3)
    trainings = [Training.of(ended(n, LARGE.sample(rng), rng)) for n in range(150)]
    model = Surrogate(coded, trainings, ("scratch", 3), Parameters())
    rows = np.concatenate([coded.baseline, model.trained[:5], coded.rows(LARGE.sample(rng) for _ in range(30))])
    mean, sd = model.gains(rows)
    together, covariance = model.joint(rows)
    assert together == pytest.approx(mean, abs=1e-9) == model.means(rows)
    assert np.diag(covariance) == pytest.approx(sd**2, abs=1e-6)
    assert mean[0] == pytest.approx(0, abs=1e-9)
    assert np.linalg.eigvalsh(covariance).min() > -1e-6


@pytest.mark.parametrize("space", [SMALL, LARGE], ids=lambda space: space.name)
def test_side_by_side_proposals_of_many_trials_do_not_depend_on_time(space: SearchSpace) -> None:
    """Eight run; the model that a proposal is by was begun eight results before it, however long it took."""

    def course() -> list[str]:
        subject, rng, found = EHVI(problem(space)), random.Random(0), []
        told = {a.key: a for a in (space.sample(rng) for _ in range(SLOW + 20))}
        subject.replay(ended(n, a, rng) for n, a in enumerate(told.values()))
        number = len(told)
        running = [proposed(subject, number + k) for k in range(8)]
        for step in range(16):
            subject.tell(ended(number + step, running.pop(0), rng))
            running.append(proposed(subject, number + step + 8))
            found.append(running[-1].key)
        assert len(set(found)) == 16
        return found

    assert course() == course()


def elsewhere(count: int, worth: float = 0.015) -> Evidence:
    """What another run trained, on harder data: cbam is worth as much there, or the contrary."""
    rng, found = random.Random(9), []
    for a in (SMALL.baseline, *(SMALL.sample(rng) for _ in range(count - 1))):
        share = float(np.mean([choice.op == "cbam" for choice in a.choices.values()]))
        score = 0.5 + worth * share + rng.gauss(0, 0.0005)
        found.append(Training(a, 0, 3, score=score, loss=2 - 2 * score))
    return Evidence("runs/a", "a", ("data",), count, {}, tuple({t.identity: t for t in found}.values()))


def test_what_another_run_found_is_proposed_once_the_opening_is_over() -> None:
    given = elsewhere(40)

    def course(subject: EHVI, trials: int) -> list[Architecture]:
        found = [SMALL.baseline, SMALL.uniform("se")]
        subject.replay([ended(number, architecture) for number, architecture in enumerate(found)])
        for number in range(2, trials):
            found.append(proposed(subject, number))
            subject.tell(ended(number, found[-1]))
        return found

    alone, warm = course(EHVI(problem()), 9), course(EHVI(problem(evidence=(given,))), 9)
    assert warm[:OPENING] == alone[:OPENING], "the opening is this run's own: it shows how far the other one goes along"
    assert warm[OPENING:] != alone[OPENING:]
    of_the_other = max(ended(0, t.architecture).score or 0 for t in given.trainings if within(t.architecture))
    assert max(ended(0, a).score or 0 for a in warm) >= of_the_other, "it is trained here too, or something better"


def within(architecture: Architecture) -> bool:
    return problem().feasibility(architecture)


def test_what_is_trained_here_alone_is_on_the_front_of_proposals() -> None:
    coded = Coded(SMALL, problem().feasibility)
    trainings = [Training.of(ended(0, SMALL.baseline)), Training.of(ended(1, SMALL.uniform("se")))]
    model = Surrogate(coded, trainings, ("scratch", 3), Parameters(), evidence=[elsewhere(20)])
    assert {coded.architecture(row).key for row in model.trained} == {t.architecture.key for t in trainings}
    assert model.gains(coded.baseline)[0] == pytest.approx([0], abs=1e-9)
