"""What is looked at again, and what else than trials reaches our sampler's model."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from nas.proposing.coded import Coded
from nas.proposing.ehvi import EHVI
from nas.proposing.promotion import Promoter, _of_the_best, _of_the_front
from nas.proposing.proposer import Problem
from nas.proposing.surrogate import Parameters, Surrogate
from reports import RunView
from search_spaces import InputSpec, SearchSpace
from search_spaces.architecture import Architecture, FusionChoice
from trials.budgets.feasibility import Feasibility
from trials.budgets.pricing import Pricing
from trials.costs import CostTable
from trials.record.training import Training
from trials.trial import TrialResult, TrialState

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
COSTS = CostTable(SPACE)
BASELINE = COSTS(SPACE.baseline)
PROBLEM = Problem(
    SPACE, Feasibility(SPACE, COSTS, (), BASELINE), Pricing((), BASELINE), ("accuracy", "macs"), seed=0, epochs=9
)


def of(*operators: str) -> Architecture:
    ratios: Mapping[str, int | None] = {"add": None, "concat": None}
    chosen = [FusionChoice(op, ratios.get(op, 4)) for op in operators]
    return Architecture(SPACE.name, dict(zip(SPACE.baseline.choices, chosen, strict=True)))


def trained(architecture: Architecture, gain: float, epochs: int = 3, seed: int = 0) -> Training:
    """Points above all-add, in score and loss."""
    score = 0.7 + gain / 100
    return Training(architecture, seed, epochs, "inherit:x", score=score, loss=1 - 0.02 * gain, images=20_000)


def as_trial(number: int, training: Training) -> TrialResult:
    costs = COSTS(training.architecture)
    return TrialResult(
        number, TrialState.COMPLETE, "sampler", training.architecture, 0, 3, costs.macs, costs.params,
        start=training.start, score=training.score, loss=training.loss, images=20_000,
    )  # fmt: skip


def view_of(trials: list[Training], beside: list[Training], objectives: tuple[str, ...] = ("accuracy",)) -> RunView:
    config = {"rungs": [3, 9], "training": {"epochs": 3}, "objectives": list(objectives)}
    results = tuple(as_trial(number, training) for number, training in enumerate(trials))
    described = {"objectives": list(objectives), "task": "classification", "latency_protocol": {}}
    return RunView(Path("nowhere"), config, described, BASELINE, (), results, (), beside=tuple(beside))


CBAM = [of("cbam", *rest) for rest in (("cbam", "cbam"), ("cbam", "add"), ("add", "cbam"), ("cbam", "se"))]
IAFF = [of("iaff", *rest) for rest in (("iaff", "iaff"), ("iaff", "add"), ("add", "iaff"), ("iaff", "se"))]


def test_what_is_lucky_among_its_like_is_not_looked_at_first() -> None:
    """One with iaff scored highest, and all others with it are poor; those with cbam are good, all of them."""
    looks = [trained(SPACE.baseline, 0.0)]
    looks += [trained(a, gain) for a, gain in zip(IAFF, (0.55, -0.5, -0.5, -0.4), strict=True)]
    looks += [trained(a, gain) for a, gain in zip(CBAM, (0.5, 0.45, 0.45, 0.5), strict=True)]
    view = view_of(looks, [])
    candidates = [t for t in view.complete if t.result.architecture != SPACE.baseline]
    best = max(candidates, key=lambda t: t.result.score or 0)
    assert best.result.architecture == IAFF[0]
    chosen = Promoter(PROBLEM, 9).choose(candidates, view, turn=0)
    assert chosen.result.architecture in CBAM
    assert Promoter(PROBLEM, 9).choose(candidates[:1], view, turn=0) is candidates[0]


def test_what_is_uncertain_is_worth_more_than_what_is_known() -> None:
    mean, sd = np.array([0.5, 0.4, 0.4, 0.0]), np.array([0.1, 0.02, 0.3, 0.1])
    found = _of_the_best(mean, sd, [0, 1, 2, 3])
    assert found[2] > found[1]
    assert found[0] == found.max(), "by the second best, it may be the best"
    # The cheap third is on the front though it is worse than the first, and the fourth nowhere near.
    costs = np.array([[1.0], [0.9], [0.2], [0.5]])
    by_front = _of_the_front(costs, mean, sd, [0, 1, 2, 3])
    assert int(np.argmax(by_front)) == 2
    assert by_front[3] < by_front[2]


@pytest.mark.parametrize("turn", [0, 1])
def test_turns_go_by_the_best_and_by_the_front(turn: int) -> None:
    """Dear architectures are a little better than cheap ones, which are known to be ahead of all-add too."""
    looks = [trained(SPACE.baseline, 0.0), trained(of("aff", "aff", "aff"), 0.6), trained(of("se", "add", "add"), 0.5)]
    looks += [trained(of("aff", "aff", "add"), 0.4), trained(of("iaff", "iaff", "iaff"), 0.5)]
    view = view_of(looks, [], ("accuracy", "macs"))
    candidates = [t for t in view.complete if t.result.architecture != SPACE.baseline]
    chosen = Promoter(PROBLEM, 9).choose(candidates, view, turn).result.architecture
    cheap = min(candidates, key=lambda t: t.result.macs).result.architecture
    assert (chosen == cheap) is bool(turn)


def test_gains_after_a_schedule_that_nobody_was_trained_for_are_what_shorter_ones_tell() -> None:
    rng, coded = random.Random(0), Coded(SPACE, PROBLEM.feasibility)
    drawn = [SPACE.baseline, *(SPACE.sample(rng) for _ in range(20))]
    share = {a.key: float(np.mean([c.op == "cbam" for c in a.choices.values()])) for a in drawn}
    short = [trained(a, share[a.key]) for a in drawn]
    model = Surrogate(coded, short, ("inherit:x", 9), Parameters())
    mean, sd = model.gains(coded.rows(drawn))
    assert np.corrcoef(mean, [share[a.key] for a in drawn])[0, 1] > 0.9
    long = [trained(a, 0.4 * share[a.key], epochs=9) for a in drawn[:8]]
    known, surer = Surrogate(coded, short, ("inherit:x", 9), Parameters(), long).gains(coded.rows(drawn))
    assert np.mean(surer[1:8]) < np.mean(sd[1:8])
    slope = np.polyfit([share[a.key] for a in drawn], known, 1)[0]
    assert 0.2 < slope < 0.8, "what the few say that were trained for so long"


def test_trainings_of_no_trial_reach_our_samplers_model() -> None:
    """Longer looks say that se is the good one, where the first had cbam ahead."""
    rng = random.Random(1)
    drawn = list({a.key: a for a in (SPACE.baseline, *(SPACE.sample(rng) for _ in range(24)))}.values())

    def share(architecture: Architecture, op: str) -> float:
        return float(np.mean([choice.op == op for choice in architecture.choices.values()]))

    def proposed(longer: bool) -> list[Architecture]:
        subject = EHVI(dataclasses.replace(PROBLEM, objectives=("accuracy",)))
        subject.replay(as_trial(n, trained(a, share(a, "cbam"))) for n, a in enumerate(drawn))
        for architecture in drawn if longer else ():
            gain = 2 * share(architecture, "se") - share(architecture, "cbam")
            subject.learn(trained(architecture, gain, epochs=9))
        found = [subject.propose(len(drawn) + k) for k in range(6)]
        return [one.architecture for one in found if one is not None]

    by_short, by_both = proposed(False), proposed(True)
    assert np.mean([share(a, "cbam") for a in by_short]) > 0.5
    assert np.mean([share(a, "se") for a in by_both]) > 0.5
    assert [a.key for a in proposed(True)] == [a.key for a in by_both]
