"""Budgets that leave hardly anything: every search reaches its number of trials all the same, or has tried them all."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from costless import FormulaEngine, costs_of, part, plainly_predicted, planted_profile, prepared_of, searched

from nas.proposing.proposer import Problem, make_proposer
from nas.registry import PROPOSERS
from search_spaces import InputSpec, SearchSpace
from search_spaces.architecture import Architecture
from trials.budgets.constraints import Constraint
from trials.budgets.feasibility import Feasibility
from trials.budgets.pricing import Pricing
from trials.profile import DeviceProfile
from trials.profile.predicted_set import PredictedSet
from trials.trial import TrialState

LARGE = SearchSpace.named("resnet20", InputSpec(3, 32, 10))
SMALL = SearchSpace.named("resnet8", InputSpec(1, 28, 10))


@cache
def limit_passed_by(share: float, space: SearchSpace = LARGE) -> float:
    """The latency in ms that such a share of a space keeps to, on the planted device."""
    profile, rng = planted_profile(space), random.Random(0)
    drawn = sorted(profile.predict_ms(space.sample(rng)) for _ in range(60_000))
    return drawn[int(share * len(drawn))]


def within(space: SearchSpace, limit_ms: float, flops: float | None = None) -> tuple[PredictedSet, DeviceProfile]:
    profile, table = planted_profile(space), costs_of(space)
    baseline = replace(table(space.baseline), latency_ms=1.0)
    budgets = () if flops is None else (Constraint.parse("macs", f"{flops}x"),)
    bounds = Feasibility(space, table, budgets, baseline).bounds
    left = bounds[0] - table.fixed[0], bounds[1] - table.fixed[1]
    return PredictedSet(space, [table.options(v) for v in space.variables], left, profile, limit_ms), profile


@pytest.mark.slow
@pytest.mark.parametrize("share", [1 / 3_000, 0.02])
def test_twelve_searches_under_a_narrow_latency_reach_their_trials(share: float, memory_path: Path) -> None:
    limit, profile = limit_passed_by(share), planted_profile(LARGE)
    slowest = 0.0
    for seed in range(12):
        settings = {
            "space": "resnet20", "trials": 30, "sampler": list(PROPOSERS)[seed % len(PROPOSERS)], "seed": seed,
            "max_latency": f"{limit:.6f}ms", "noise_seeds": 1,
        }  # fmt: skip
        said: list[str] = []
        began = time.process_time()
        view = searched(prepared_of(settings, memory_path / str(seed), profile), FormulaEngine(), 1.0, said)
        slowest = max(slowest, (time.process_time() - began) / len(view.results))
        trained = [r for r in view.results if r.state is TrialState.COMPLETE]
        assert len({r.architecture.key for r in trained}) == len(trained) == 30, settings
        assert all(plainly_predicted(profile, r.architecture) <= limit + 1e-6 for r in trained)
        assert any("the latency budget is narrow: about 1 in" in line for line in said)
        assert not any("ended early" in line for line in said)
        if settings["sampler"] == "ehvi":
            assert sum(r.origin == "sampler" for r in trained) >= 27, "its own pool is within the budgets"
            assert sum(r.state is TrialState.GATED for r in view.results) <= 1, "but for the control"
    assert slowest < 0.5, "seconds a proposal and all that is recorded of it, on a busy machine"


def test_what_is_drawn_is_uniform_over_all_that_is_within() -> None:
    small, profile = within(SMALL, limit_passed_by(0.3, SMALL), flops=1.05)
    inside = {
        a.key for a in SMALL.enumerate()
        if plainly_predicted(profile, a) <= limit_passed_by(0.3, SMALL)
        and costs_of(SMALL)(a).macs <= 1.05 * costs_of(SMALL)(SMALL.baseline).macs
    }  # fmt: skip
    assert small.members is not None
    assert len(inside) == len(small.members) > 50
    small.__dict__["members"] = None  # as if they were too many to be listed
    drawn = Counter(map(bytes, small.drawn(random.Random(1), 100 * len(inside))))
    assert len(drawn) == len(inside)
    chi_squared = sum((times - 100) ** 2 / 100 for times in drawn.values())
    assert abs(chi_squared - len(inside)) < 5 * (2 * len(inside)) ** 0.5


@pytest.mark.parametrize(("share", "flops"), [(1 / 3_000, None), (0.02, None), (0.02, 1.03)])
def test_draws_of_a_large_space_match_those_that_rejection_would_take(share: float, flops: float | None) -> None:
    there, _ = within(LARGE, limit_passed_by(share), flops)
    began = time.process_time()
    rows = there.drawn(random.Random(0), 4_000)
    assert len(rows) == 4_000
    assert there.inside(rows).all()
    assert time.process_time() - began < 5
    if share == 0.02:  # by rejection: how often each choice of the first and the last variable is made
        rng = np.random.default_rng(0)
        sizes = [len(v.choices) for v in LARGE.variables]
        every = np.stack([rng.integers(0, size, 600_000) for size in sizes], 1)
        taken = every[there.inside(every)]
        assert len(taken) > 150
        for v in (0, len(sizes) - 1):
            ours = np.bincount(rows[:, v], minlength=sizes[v]) / len(rows)
            theirs = np.bincount(taken[:, v], minlength=sizes[v]) / len(taken)
            assert np.abs(ours - theirs).max() < 5 * (0.25 / len(taken)) ** 0.5


@cache
def of_a_few() -> tuple[float, int]:
    """A latency that some dozens of architectures keep to, and how many these are."""
    for percent in range(90, 120):
        there, _ = within(LARGE, percent / 100)
        if there.members is not None and len(there.members) > 20:
            return percent / 100, len(there.members)
    raise AssertionError


@pytest.mark.parametrize("name", PROPOSERS)
def test_nothing_is_left_is_said_where_all_that_is_within_was_tried(name: str) -> None:
    limit, few = of_a_few()
    assert few < 2_000
    profile, baseline = planted_profile(LARGE), replace(costs_of(LARGE)(LARGE.baseline), latency_ms=1.0)
    pricing = Pricing((Constraint.parse("latency_ms", f"{limit}ms"),), baseline, profile)
    feasibility = Feasibility(LARGE, costs_of(LARGE), (), baseline)
    proposer = make_proposer(name, Problem(LARGE, feasibility, pricing, ("accuracy",), 0))
    for number in range(few):
        proposal = proposer.propose_within_budget(number)
        assert proposal is not None
        assert plainly_predicted(profile, proposal.architecture) <= limit
    assert proposer.propose_within_budget(few) is None
    assert proposer.nothing_left


def test_a_search_of_all_that_is_within_says_that_it_is(memory_path: Path) -> None:
    limit, few = of_a_few()
    settings = {
        "space": "resnet20", "trials": few + 9, "sampler": "random", "max_latency": f"{limit}ms", "noise_seeds": 1,
    }  # fmt: skip
    said: list[str] = []
    view = searched(prepared_of(settings, memory_path / "run", planted_profile(LARGE)), FormulaEngine(), 1.0, said)
    assert view.count(TrialState.COMPLETE) in (few, few + 1), "all-add is trained whatever it takes"
    assert said[-1] == "the search ended early: no unseen architecture within the budgets was left to try"


def measured_ms(architecture: Architecture) -> float:
    """Without a profile: every choice takes its time, by and large the same for an operator."""
    return 1.0 + sum(
        0.0 if c.op == "add" else 0.01 + 0.1 * part(c) + 0.01 * part(p, c) for p, c in architecture.choices.items()
    )


@pytest.mark.parametrize("share", [pytest.param(1 / 3_000, marks=pytest.mark.slow), 0.02])
def test_where_workers_measure_first_it_goes_on_near_what_is_within(share: float, memory_path: Path) -> None:
    rng = random.Random(0)
    limit = sorted(measured_ms(LARGE.sample(rng)) for _ in range(60_000))[int(share * 60_000)]
    for seed in range(12):
        settings = {
            "space": "resnet20", "trials": 15, "sampler": ("random", "tpe", "evolution")[seed % 3], "noise_seeds": 1,
            "max_latency": f"{limit:.6f}ms", "seed": seed,
        }  # fmt: skip
        view = searched(prepared_of(settings, memory_path / str(seed)), FormulaEngine(measured_ms), 1.0)
        assert view.count(TrialState.COMPLETE) == 15, settings
        assert len(view.results) < 15 * 15


def test_where_workers_measure_first_and_all_that_is_near_was_measured_it_ends(memory_path: Path) -> None:
    """Nothing is proven then, which is said."""
    said: list[str] = []
    prepared = prepared_of(
        {"space": "resnet20", "trials": 5, "max_latency": "1.0x", "noise_seeds": 1}, memory_path / "r"
    )
    view = searched(prepared, FormulaEngine(measured_ms), 1.0, said)
    assert view.count(TrialState.COMPLETE) == 1
    near = {a.key for a in LARGE.neighbours(LARGE.baseline)}
    assert near <= {r.architecture.key for r in view.results}
    assert any("the budgets are narrow: 50 candidates in a row" in line for line in said)
    assert said[-1].startswith("the search ended early: no unseen architecture within the budgets was found, though")
