"""A search that has grown: proposals stay the sampler's, and the same; the view of each event is that read anew."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest

from nas.proposing.proposer import Problem, Proposal, Proposer, make_proposer
from nas.proposing.window import CAPACITY
from nas.session import weights
from reports.view import RunView
from search_spaces import InputSpec, SearchSpace
from trials.budgets.constraints import Constraint
from trials.budgets.feasibility import Feasibility
from trials.budgets.pricing import Pricing
from trials.costs import CostTable
from trials.trial import TrialResult, TrialState

#: What was proposed before proposals were made by one sampler that is reused, recorded from that code.
BEFORE = Path(__file__).with_name("golden") / "proposals.json"
SMALL = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
LARGE = SearchSpace.named("resnet20", InputSpec(3, 32, 10))
COSTS = {space.name: CostTable(space) for space in (SMALL, LARGE)}
BUDGET = (Constraint.parse("macs", "1.05x"),)


def study(space: SearchSpace, objectives: tuple[str, ...], budget: tuple[Constraint, ...] = BUDGET) -> Proposer:
    costs = COSTS[space.name]
    baseline = dataclasses.replace(costs(space.baseline), latency_ms=1.0)
    feasibility = Feasibility(space, costs, budget, baseline)
    return make_proposer("tpe", Problem(space, feasibility, Pricing(budget, baseline), objectives, seed=0))


def ended(number: int, proposal: Proposal, space: SearchSpace, budget: tuple[Constraint, ...] = BUDGET) -> TrialResult:
    """A result whose accuracy is a fixed function of the architecture: cbam is good here."""
    labels = list(proposal.architecture.labels().values())
    score = 0.4 + 0.4 * sum(label.startswith("cbam") for label in labels) / len(labels) + 0.01 * len(set(labels))
    costs, baseline = COSTS[space.name](proposal.architecture), COSTS[space.name](space.baseline)
    within = all(c.violation(costs.macs, baseline) <= 0 for c in budget)
    state = TrialState.COMPLETE if within else TrialState.GATED
    outcome = {"score": score, "loss": 1 - score} if within else {}
    return TrialResult(number, state, proposal.origin, proposal.architecture, 0, 3, costs.macs, costs.params, **outcome)


def known(space: SearchSpace, count: int, budget: tuple[Constraint, ...] = ()) -> list[TrialResult]:
    """Results of different random architectures."""
    rng, drawn = random.Random(0), {}
    while len(drawn) < count:
        architecture = space.sample(rng)
        drawn[architecture.key] = architecture
    return [ended(n, Proposal(a, "sampler"), space, budget) for n, a in enumerate(drawn.values())]


@pytest.mark.parametrize("space", [SMALL, LARGE], ids=lambda space: space.name)
@pytest.mark.parametrize("objectives", [("accuracy", "macs"), ("accuracy",)], ids=len)
def test_the_same_is_proposed_as_before_until_a_random_one_was(space: SearchSpace, objectives: tuple[str, ...]) -> None:
    before = json.loads(BEFORE.read_text())[f"{space.name} {' '.join(objectives)}"]
    same = next((number for number, line in enumerate(before) if line.startswith("r ")), len(before))
    assert same >= (100 if space is LARGE else 30)
    subject = study(space, objectives)
    for number, line in enumerate(before[:same]):
        proposal = subject.propose(number)
        assert proposal is not None
        assert ["s", *proposal.architecture.labels().values()] == line.split()
        subject.tell(ended(number, proposal, space))


def test_of_a_small_space_nearly_all_known_proposals_are_still_the_samplers() -> None:
    subject = study(SMALL, ("accuracy", "macs"), ())
    subject.replay(known(SMALL, SMALL.size - 40))
    for number in range(SMALL.size - 40, SMALL.size - 5):
        proposal = subject.propose(number)
        assert proposal is not None
        assert proposal.origin == "sampler"
        subject.tell(ended(number, proposal, SMALL, ()))


def test_after_thousands_proposals_are_the_samplers_and_good_ones() -> None:
    subject = study(LARGE, ("accuracy", "macs"), ())
    recorded = known(LARGE, 3_000)
    subject.replay(recorded)
    proposed = []
    for number in range(3_000, 3_040):
        proposal = subject.propose(number)
        assert proposal is not None
        assert proposal.origin == "sampler"
        proposed.append(ended(number, proposal, LARGE, ()))
        subject.tell(proposed[-1])

    def mean(results: list[TrialResult]) -> float:
        return sum(result.score or 0 for result in results) / len(results)

    assert mean(proposed) > mean(recorded) + 0.03


def test_resumed_beyond_the_window_it_goes_on_as_the_uninterrupted_one() -> None:
    recorded = known(LARGE, CAPACITY + 240)
    whole, resumed = (study(LARGE, ("accuracy", "macs"), ()) for _ in range(2))
    whole.replay(recorded)
    for number in range(len(recorded), len(recorded) + 20):  # across a renewal of the best
        proposal = whole.propose(number)
        assert proposal is not None
        recorded.append(ended(number, proposal, LARGE, ()))
        whole.tell(recorded[-1])
    resumed.replay(recorded)
    assert resumed.propose(len(recorded)) == whole.propose(len(recorded))


def test_the_view_one_event_later_is_that_read_anew() -> None:
    budget = (Constraint.parse("macs", "1.03x"),)
    costs = COSTS[SMALL.name](SMALL.baseline)
    description = {"objectives": ["accuracy", "macs"]}
    view = RunView(Path("run"), {}, description, costs, budget, (), ())
    results = known(SMALL, 150)
    random.Random(1).shuffle(results)
    for result in results:
        view = view.with_result(result)
    stopped = dataclasses.replace(results[0], number=500, state=TrialState.STOPPED, score=None)
    view = view.with_result(stopped).with_result(dataclasses.replace(results[0], number=500, score=0.99))
    anew = RunView(Path("run"), {}, description, costs, budget, view.results, ())
    assert view.results == tuple(sorted(view.results, key=lambda r: r.number))
    assert view.trials == anew.trials
    assert {t.result.number for t in view.front} == {t.result.number for t in anew.front} > set()


def test_weights_are_counted_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = weights.Weights(tmp_path, lambda: None)
    for number in range(4):
        kept.write(number, bytes(100))
    kept.write(3, bytes(50))
    view = RunView(tmp_path, {}, {"objectives": ["accuracy", "macs"]}, None, (), (), ())
    monkeypatch.setattr(weights, "MAX_WEIGHT_BYTES", 160)
    weights.Weights(tmp_path, lambda: None).prune(view)
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == [
        "trial-00002.safetensors", "trial-00003.safetensors",
    ]  # fmt: skip
