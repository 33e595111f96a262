from __future__ import annotations

import dataclasses
import random
import re

import optuna
import pytest

from nas.proposing.proposer import Problem, Proposal, Proposer, make_proposer
from search_spaces import InputSpec, SearchSpace
from trials.budgets.constraints import Constraint, Costs
from trials.budgets.feasibility import Feasibility, Share
from trials.budgets.pricing import Pricing
from trials.costs import CostTable
from trials.trial import Latency, TrialResult, TrialState

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
COSTS = CostTable(SPACE)
BASELINE = dataclasses.replace(COSTS(SPACE.baseline), latency_ms=1.0)
BUDGET = (Constraint.parse("macs", "1.05x"),)


def study(constraints: tuple[Constraint, ...] = BUDGET, space: SearchSpace = SPACE, **changes: object) -> Proposer:
    settings: dict = {"objectives": ("accuracy", "macs"), "seed": 0} | changes
    sampler = settings.pop("sampler", "tpe")
    costs = COSTS if space is SPACE else CostTable(space)
    feasibility = Feasibility(space, costs, constraints, BASELINE)
    return make_proposer(sampler, Problem(space, feasibility, Pricing(constraints, BASELINE), **settings))


def ended(number: int, proposal: Proposal, state: TrialState = TrialState.COMPLETE) -> TrialResult:
    """A result whose accuracy is a fixed function of the architecture: cbam is good here."""
    labels = list(proposal.architecture.labels().values())
    accuracy = 0.5 + 0.1 * sum(label.startswith("cbam") for label in labels) + 0.01 * len(set(labels))
    costs = COSTS(proposal.architecture)
    outcome = {"score": accuracy, "loss": 1 - accuracy} if state is TrialState.COMPLETE else {}
    return TrialResult(number, state, "sampler", proposal.architecture, 0, 3, costs.macs, costs.params, **outcome)


def search(trials: int, **changes: object) -> list[TrialResult]:
    subject, results = study(**changes), []
    for number in range(trials):
        proposal = subject.propose(number)
        assert proposal is not None
        feasible = COSTS(proposal.architecture).macs <= 1.05 * BASELINE.macs
        results.append(ended(number, proposal, TrialState.COMPLETE if feasible else TrialState.GATED))
        subject.tell(results[-1])
    return results


def test_nothing_is_proposed_twice_and_the_same_seed_proposes_the_same() -> None:
    first, again, other = search(40), search(40), search(40, seed=1)
    keys = [result.architecture.key for result in first]
    assert len(set(keys)) == 40
    assert keys == [result.architecture.key for result in again]
    assert keys != [result.architecture.key for result in other]


def test_a_rebuilt_study_goes_on_as_the_uninterrupted_one() -> None:
    whole = search(40)
    rebuilt = study()
    rebuilt.replay(whole[:25])
    for expected in whole[25:]:
        proposal = rebuilt.propose(expected.number)
        assert proposal is not None
        assert proposal.architecture == expected.architecture
        rebuilt.tell(expected)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "ehvi", "random"])
def test_thousands_of_trials_are_replayed_without_copies_of_what_all_have(sampler: str) -> None:
    rebuilt = study(sampler=sampler)
    rebuilt.replay(search(12))
    trials = rebuilt._study.get_trials(deepcopy=False)  # type: ignore[attr-defined]
    assert [trial.number for trial in trials] == list(range(len(trials))) != []
    distributions = rebuilt.distributions  # type: ignore[attr-defined]
    assert all(trial.distributions[name] is one for trial in trials for name, one in distributions.items())
    created = optuna.trial.create_trial(
        state=trials[0].state, values=trials[0].values, params=trials[0].params, distributions=distributions,
        constraints=trials[0].constraints, user_attrs=trials[0].user_attrs,
    )  # fmt: skip
    for name in ("values", "params", "distributions", "constraints", "user_attrs", "system_attrs"):
        assert getattr(trials[0], name) == getattr(created, name)


def test_the_sampler_learns_what_is_good_and_what_is_over_budget() -> None:
    results = search(120)
    feasible = [result.state is TrialState.COMPLETE for result in results]
    assert sum(feasible[60:]) / 60 > 0.9 > sum(feasible[:20]) / 20
    best = max(result.score or 0 for result in results)
    assert best >= 0.8  # three times cbam, or two and two others: found among 840


def test_gated_trials_that_a_wider_budget_allows_can_be_proposed_again() -> None:
    tight = study((Constraint.parse("macs", "1.0001x"),))
    gated = TrialResult.of(_job(SPACE.uniform("cbam")), TrialState.GATED)
    tight.tell(gated)
    assert not tight.reserve(gated.architecture)
    wide = study((Constraint.parse("macs", "2x"),))
    wide.tell(gated)
    assert wide.reserve(gated.architecture)


def test_a_small_space_is_searched_whole_and_then_ends() -> None:
    small = SearchSpace.named("resnet8", InputSpec(1, 28, 10), ["add", "se"], [4])
    subject = study((), small)
    seen = set()
    while (proposal := subject.propose(len(seen))) is not None:
        seen.add(proposal.architecture.key)
        subject.tell(ended(len(seen) - 1, proposal))
    assert len(seen) == small.size == 8


@pytest.mark.parametrize("bound", ["1.001x", "1.0001x"])
def test_within_a_tight_budget_a_random_architecture_is_still_found(bound: str) -> None:
    constraints = (Constraint.parse("macs", bound),)
    proposal = study(constraints).propose_within_budget(0)
    assert proposal is not None
    assert constraints[0].violation(COSTS(proposal.architecture).macs, BASELINE) <= 0


def test_latency_can_be_an_objective_and_an_unmeasured_one_is_not_told_as_a_value() -> None:
    subject = study((), objectives=("accuracy", "latency_ms"))
    for number in range(12):
        proposal = subject.propose(number)
        assert proposal is not None
        result = ended(number, proposal)
        if number % 2:
            latency = Latency(1.0 + number, 2.0 + number, 1, 2, 1, 1, 0, 0, True, 30)
            result = dataclasses.replace(result, latency=latency)
        subject.tell(result)


def test_random_search_is_a_sampler_too() -> None:
    subject = study(sampler="random")
    proposals = [subject.propose(number) for number in range(20)]
    assert len({p.architecture.key for p in proposals if p}) == 20
    assert {p.origin for p in proposals if p} == {"random"}


def test_the_feasible_part_is_counted_also_of_large_spaces() -> None:
    share = Feasibility(SPACE, COSTS, BUDGET, BASELINE).share()
    inside = sum(COSTS(a).macs <= 1.05 * BASELINE.macs for a in SPACE.enumerate())
    assert share == Share(inside, inside, SPACE.size)
    large = SearchSpace.named("resnet20")
    costs = CostTable(large)
    feasibility = Feasibility(large, costs, BUDGET, costs(large.baseline))
    share, rng = feasibility.share(), random.Random(0)
    assert 0 < share.at_least == share.at_most < large.size == share.size
    drawn = sum(feasibility(large.sample(rng)) for _ in range(2000)) / 2000
    assert share.value == pytest.approx(drawn, abs=0.05)


def test_samples_are_within_the_budgets_and_wanted_down_to_the_last() -> None:
    feasibility = Feasibility(SPACE, COSTS, (Constraint.parse("macs", "1.004x"),), BASELINE)
    inside = {a.key for a in SPACE.enumerate() if feasibility(a)}
    assert 5 < len(inside) == feasibility.share().at_most < 100
    seen: set[str] = set()
    while (found := feasibility.sample(random.Random(len(seen)), lambda a: a.key not in seen)) is not None:
        seen.add(found.key)
    assert seen == inside


def test_a_budget_of_exactly_one_architecture_holds_it() -> None:
    """What the set and the violations say of a cost on the very edge is the same."""
    for architecture in list(SPACE.enumerate())[::40]:
        for relative in (False, True):
            bound = COSTS(architecture).macs / (BASELINE.macs if relative else 1)
            feasibility = Feasibility(SPACE, COSTS, (Constraint("macs", bound, relative),), BASELINE)
            assert feasibility.share().at_most == sum(map(feasibility, SPACE.enumerate()))


def test_smallest_and_largest_within_the_budgets() -> None:
    extremes = Feasibility(SPACE, COSTS, BUDGET, BASELINE).extremes()
    assert extremes is not None
    inside = [COSTS(a).macs for a in SPACE.enumerate() if COSTS(a).macs <= 1.05 * BASELINE.macs]
    assert [COSTS(a).macs for a in extremes] == [min(inside), max(inside)]


def test_an_impossible_budget_names_the_closest_architecture() -> None:
    impossible = Feasibility(SPACE, COSTS, (Constraint.parse("macs", "9M"),), BASELINE).impossible()
    assert impossible == (
        "no architecture of resnet8 is within macs <= 9e+06 (a limit of 9,000,000): "
        "the closest, add at every point, has macs 9,559,168 and params 77,754"
    )
    assert Feasibility(SPACE, COSTS, BUDGET, BASELINE).impossible() is None


def test_budgets_that_only_exclude_each_other_name_the_closest_architecture() -> None:
    traded = TradedCosts(SPACE)
    baseline = traded(SPACE.baseline)
    costs = [traded(a) for a in SPACE.enumerate()]
    limits = (min(c.macs for c in costs) + 40_000, min(c.params for c in costs) + 100)
    budgets = (Constraint("macs", limits[0], False), Constraint("params", limits[1], False))
    impossible = Feasibility(SPACE, traded, budgets, baseline).impossible()
    assert impossible is not None
    found = re.fullmatch(r"no .* together: the closest, (.*), has macs ([\d,]+) and params ([\d,]+)", impossible)
    assert found is not None
    given = [int(figure.replace(",", "")) for figure in found.groups()[1:]]
    excess = max(figure / limit for figure, limit in zip(given, limits, strict=True))
    least = min(max(c.macs / limits[0], c.params / limits[1]) for c in costs)
    assert 1 < least <= excess <= 1.001 * least


class TradedCosts(CostTable):
    """Of every choice the more multiply-adds, the fewer parameters: what no space of ours has."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space)
        for parts in self._parts.values():
            most = max(part.params for part in parts.values())
            for choice, part in parts.items():
                parts[choice] = part._replace(params=2 * most - part.params)


def _job(architecture):
    from trials.trial import TrialJob

    costs: Costs = COSTS(architecture)
    return TrialJob(0, "uniform", architecture, 0, 3, costs.macs, costs.params)
