"""What every sampler of ours guarantees as an Optuna sampler, in anybody's own study."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import optuna
import pytest
from optuna.trial import TrialState as OptunaState

from nas.bench.arena.playing import Clock
from nas.proposing.ehvi import EHVISampler
from nas.proposing.evolution import EvolutionSampler
from nas.proposing.nsga2 import NSGA2Sampler
from nas.proposing.proposer import Problem, make_proposer
from nas.proposing.random import RandomSampler
from nas.proposing.sampler import asked
from nas.registry import PROPOSERS
from search_spaces import InputSpec, SearchSpace
from search_spaces.architecture import Architecture, FusionChoice
from trials.budgets.constraints import Constraint
from trials.budgets.feasibility import Feasibility
from trials.budgets.pricing import Pricing
from trials.costs import CostTable
from trials.trial import Failure, TrialResult, TrialState

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
COSTS = CostTable(SPACE)
BASELINE = dataclasses.replace(COSTS(SPACE.baseline), latency_ms=1.0)
BUDGET = (Constraint.parse("macs", "1.05x"),)
PROBLEM = Problem(
    SPACE, Feasibility(SPACE, COSTS, BUDGET, BASELINE), Pricing(BUDGET, BASELINE), ("accuracy", "macs"), seed=3
)
SAMPLERS: dict[str, Callable[..., optuna.samplers.BaseSampler]] = {
    "ehvi": EHVISampler, "nsga2": NSGA2Sampler, "evolution": EvolutionSampler, "random": RandomSampler,
}  # fmt: skip
#: Those that know the budgets propose within them, and nothing twice, without being told.
KNOWING = ("ehvi", "evolution", "random")


@pytest.fixture(params=SAMPLERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def quality(architecture: Architecture) -> float:
    """cbam is good, and best at the last point."""
    ops = [choice.op for choice in architecture.choices.values()]
    return 0.70 + 0.004 * ops.count("cbam") + 0.006 * (ops[-1] == "cbam")


def objective(trial: optuna.Trial) -> tuple[float, float]:
    architecture = asked(SPACE, trial)
    macs = COSTS(architecture).macs
    trial.set_constraint("macs", BUDGET[0].violation(macs, BASELINE))
    trial.set_user_attr("loss", 2 - quality(architecture))
    return quality(architecture), float(macs)


def study_of(name: str, problem: Problem = PROBLEM) -> optuna.Study:
    return optuna.create_study(directions=["maximize", "minimize"], sampler=SAMPLERS[name](problem))


def architectures(study: optuna.Study) -> list[Architecture]:
    return [SPACE.assign({n: FusionChoice.parse(str(v)) for n, v in t.params.items()}) for t in study.get_trials()]


def test_in_anybodys_study_it_proposes_choices_of_the_space_the_same_under_the_same_seed(name: str) -> None:
    studies = [study_of(name), study_of(name), study_of(name, dataclasses.replace(PROBLEM, seed=4))]
    for study in studies:
        study.optimize(objective, n_trials=18)
    first, again, other = map(architectures, studies)
    assert first == again != other
    assert all(SPACE.architecture(a.choices) == a for a in first)
    if name in KNOWING:
        assert len(set(first)) == 18
        assert all(PROBLEM.feasibility(a) for a in first)


def test_what_it_proposes_follows_from_what_a_study_holds_wherever_that_came_from(name: str) -> None:
    whole, half, replayed = study_of(name), study_of(name), study_of(name)
    whole.optimize(objective, n_trials=24)
    half.optimize(objective, n_trials=15)
    for trial in half.get_trials():
        replayed.add_trial(trial)
    replayed.optimize(objective, n_trials=9)
    assert architectures(replayed) == architectures(whole)


def test_eight_side_by_side_are_given_different_things(name: str) -> None:
    study, found = study_of(name), []

    def begin() -> optuna.Trial:
        trial = study.ask()
        found.append(asked(SPACE, trial))
        return trial

    def end(trial: optuna.Trial) -> None:
        architecture = SPACE.assign({n: FusionChoice.parse(str(v)) for n, v in trial.params.items()})
        trial.set_constraint("macs", BUDGET[0].violation(COSTS(architecture).macs, BASELINE))
        study.tell(trial, [quality(architecture), float(COSTS(architecture).macs)])

    Clock[optuna.Trial](8).run(
        lambda: begin() if len(found) < 30 else None, lambda trial: 1 + trial.number % 3 / 10, end
    )  # fmt: skip
    assert len(found) == 30
    if name in KNOWING:
        assert len(set(found)) == 30


def test_it_goes_on_where_trials_were_gated_failed_or_never_trained(name: str) -> None:
    study = study_of(name)
    states = [OptunaState.PRUNED, OptunaState.FAIL, OptunaState.COMPLETE]
    for number in range(15):
        trial = study.ask()
        architecture = asked(SPACE, trial)
        state = states[number % 3]
        trial.set_constraint("macs", 0.1 if state is OptunaState.PRUNED else -0.1)
        values = [quality(architecture), 1.0] if state is OptunaState.COMPLETE else None
        study.tell(trial, values, state=state)
    assert SPACE.architecture(asked(SPACE, study.ask()).choices)


@pytest.mark.parametrize("proposer", ["ehvi", "tpe"])
def test_an_operator_that_diverges_is_left_alone(proposer: str) -> None:
    subject, diverged = make_proposer(proposer, PROBLEM), []
    for number in range(60):
        proposal = subject.propose(number)
        assert proposal is not None
        ops = [choice.op for choice in proposal.architecture.choices.values()]
        diverged.append("se" in ops)
        costs = COSTS(proposal.architecture)
        if not PROBLEM.feasibility(proposal.architecture):
            state, outcome = TrialState.GATED, {}
        elif "se" in ops:
            state, outcome = TrialState.FAILED, {"failure": Failure.DIVERGED, "error": "the loss is infinite"}
        else:
            state, outcome = TrialState.COMPLETE, {"score": 0.7, "loss": 1.0}
        subject.tell(TrialResult(
            number, state, "sampler", proposal.architecture, 0, 3, costs.macs, costs.params, **outcome  # type: ignore[arg-type]
        ))  # fmt: skip
    within = [a for a in SPACE.enumerate() if PROBLEM.feasibility(a)]
    share = sum(any(choice.op == "se" for choice in a.choices.values()) for a in within) / len(within)
    assert any(diverged)
    assert sum(diverged[20:]) / 40 < share / 2


def test_every_proposer_that_is_registered_is_held_to_this_or_is_optunas_own() -> None:
    assert set(PROPOSERS) - set(SAMPLERS) <= {"tpe"}


def test_our_own_sampler_finds_what_is_good_sooner_than_uniform_draws() -> None:
    best = {name: study_of(name) for name in ("ehvi", "random")}
    for study in best.values():
        study.optimize(objective, n_trials=20)
    found = {name: sorted(quality(a) for a in architectures(study))[-5:] for name, study in best.items()}
    assert sum(found["ehvi"]) > sum(found["random"])
    assert max(found["ehvi"]) >= 0.71 + 0.004 - 1e-9
