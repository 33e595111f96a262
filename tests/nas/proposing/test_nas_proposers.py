"""What every registered proposer guarantees, see `nas.proposing.proposer.Proposer`."""

from __future__ import annotations

import dataclasses

import pytest

from nas.proposing.proposer import Problem, Proposal, Proposer, make_proposer
from nas.registry import PROPOSERS
from search_spaces import InputSpec, SearchSpace
from trials.budgets.constraints import Constraint
from trials.budgets.feasibility import Feasibility
from trials.budgets.pricing import Pricing
from trials.costs import CostTable
from trials.trial import TrialResult, TrialState

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
COSTS = CostTable(SPACE)
BASELINE = dataclasses.replace(COSTS(SPACE.baseline), latency_ms=1.0)
BUDGET = (Constraint.parse("macs", "1.05x"),)
PROBLEM = Problem(
    SPACE, Feasibility(SPACE, COSTS, BUDGET, BASELINE), Pricing(BUDGET, BASELINE), ("accuracy", "macs"), seed=3
)


def ended(number: int, proposal: Proposal) -> TrialResult:
    """More attention is better, up to a point."""
    costs = COSTS(proposal.architecture)
    fused = sum(choice.op != "add" for choice in proposal.architecture.choices.values())
    state = TrialState.COMPLETE if PROBLEM.feasibility(proposal.architecture) else TrialState.GATED
    score = {"score": 0.5 + 0.1 * fused, "loss": 1.0} if state is TrialState.COMPLETE else {}
    return TrialResult(
        number, state, proposal.origin, proposal.architecture, 0, 3, costs.macs, costs.params, **score
    )  # fmt: skip


def course(proposer: Proposer, numbers: range) -> list[tuple[Proposal, TrialResult]]:
    found = []
    for number in numbers:
        proposal = proposer.propose(number)
        assert proposal is not None
        result = ended(number, proposal)
        proposer.tell(result)
        found.append((proposal, result))
    return found


@pytest.fixture(params=PROPOSERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_never_proposes_what_is_known(name: str) -> None:
    proposer = make_proposer(name, PROBLEM)
    reserved = [SPACE.baseline, SPACE.uniform("cbam", 4), SPACE.uniform("aff", 8)]
    assert all(proposer.reserve(architecture) for architecture in reserved)
    assert not any(proposer.reserve(architecture) for architecture in reserved)
    found = [proposal.architecture.key for proposal, _ in course(proposer, range(60))]
    assert len({*found, *(architecture.key for architecture in reserved)}) == 63


def test_a_resumed_search_proposes_what_an_uninterrupted_one_would_have(name: str) -> None:
    whole = course(make_proposer(name, PROBLEM), range(30))
    assert whole == course(make_proposer(name, PROBLEM), range(30))
    resumed = make_proposer(name, PROBLEM)
    resumed.replay(result for _, result in whole[:17])
    assert course(resumed, range(17, 30)) == whole[17:]
    other = course(make_proposer(name, dataclasses.replace(PROBLEM, seed=4)), range(30))
    assert other != whole


def test_what_is_random_is_within_the_budgets(name: str) -> None:
    proposer = make_proposer(name, PROBLEM)
    found = [proposer.propose_within_budget(number) for number in range(40)]
    assert all(proposal is not None and proposal.origin == "random" for proposal in found)
    assert all(PROBLEM.feasibility(proposal.architecture) for proposal in found if proposal is not None)
    drawn = [proposal for proposal, _ in course(proposer, range(40, 60)) if proposal.origin == "random"]
    assert all(PROBLEM.feasibility(proposal.architecture) for proposal in drawn)


def test_it_ends_where_nothing_is_left(name: str) -> None:
    small = SearchSpace.named("resnet8", InputSpec(1, 28, 10), operators=("add", "concat"))
    costs = CostTable(small)
    problem = dataclasses.replace(
        PROBLEM, space=small, feasibility=Feasibility(small, costs, (), costs(small.baseline)),
        pricing=Pricing((), BASELINE),
    )  # fmt: skip
    proposer = make_proposer(name, problem)
    found = [proposer.propose(number) for number in range(small.size + 2)]
    assert sum(proposal is not None for proposal in found) == small.size == 8
    assert found[-2:] == [None, None]
