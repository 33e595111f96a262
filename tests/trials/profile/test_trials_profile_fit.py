"""The design of a profile and its fit, on latencies whose making is known."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from search_spaces import Architecture, InputSpec, SearchSpace
from trials.costs import fusion_parts
from trials.profile.design import designed_architectures
from trials.profile.fitting import Observation, Regression, cross_validate, fit_flops
from trials.profile.profiling import prediction_error

RESNET20 = SearchSpace.named("resnet20", InputSpec(3, 32, 10))


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "inception-cifar", "resnet18-fpn"])
def test_the_design_covers_every_choice_evenly(name: str) -> None:
    space = SearchSpace.named(name)
    design = designed_architectures(space, 100, seed=0)
    assert len({architecture for _, architecture in design}) == 100
    assert space.baseline not in {architecture for _, architecture in design}
    mixtures = [architecture for part, architecture in design if part == "random"]
    assert len(mixtures) >= 50
    for variable in space.variables:
        seen = Counter(a.choices[variable.points[0]] for a in mixtures)
        share = len(mixtures) / len(variable.choices)
        assert set(seen) == set(variable.choices)
        assert all(0.4 * share <= count <= 2.2 * share for count in seen.values()), variable.name
    uniform = {architecture for part, architecture in design if part == "uniform"}
    assert uniform == {space.uniform(op) for op in space.operators if op != "add"}
    assert design == designed_architectures(space, 100, seed=0)
    assert design != designed_architectures(space, 100, seed=1)


def test_a_small_space_is_measured_whole() -> None:
    space = SearchSpace.named("resnet8", InputSpec(3, 32, 10), vary=["layer1"])
    assert {a for _, a in designed_architectures(space, 100, seed=0)} == set(space.enumerate()) - {space.baseline}


@cache
def regression() -> Regression:
    return Regression(RESNET20)


def latencies(seed: int, noise: float) -> tuple[list[Observation], dict[Architecture, float]]:
    """100 designed and 40 other architectures of a device on which launches and memory cost more than arithmetic,
    operators have habits of their own, and an SE after an AFF costs extra. Returns what is measured, and the truth."""
    rng = np.random.default_rng(seed)
    work = fusion_parts(RESNET20)
    habits = {op: rng.normal(0.0, 0.02) for op in RESNET20.operators}
    own = {(p.name, str(c)): rng.normal(0.0, 0.004) for p in RESNET20.points for c in p.choices}

    def truth(architecture: Architecture) -> float:
        total = 1.0
        for point, choice in architecture.choices.items():
            if choice.op != "add":
                done = work[point][choice]
                total += 4e-3 * done.kernels + 6e-8 * done.bytes_moved + 4e-8 * done.macs
                total += habits[choice.op] + own[point, str(choice)]
        ops = [choice.op for choice in architecture.choices.values()]
        return total + 0.02 * sum(pair == ("aff", "se") for pair in pairwise(ops))

    designed = designed_architectures(RESNET20, 100, seed)
    observed = [Observation(a, part, truth(a) * (1 + rng.normal(0.0, noise)), noise) for part, a in designed]
    fresh = {a: truth(a) for _, a in designed_architectures(RESNET20, 60, seed + 1000)}
    return observed, fresh


@pytest.mark.parametrize("noise", [0.005, 0.02])
def test_effects_are_found_under_noise(noise: float) -> None:
    observed, fresh = latencies(seed=1, noise=noise)
    effects, by_flops = regression().fit(observed), fit_flops(regression(), observed)
    measured = np.array(list(fresh.values()))
    error = prediction_error(measured, np.array([effects(a) for a in fresh]))
    flops = prediction_error(measured, np.array([by_flops(a) for a in fresh]))
    assert error.mape < 0.005 + 0.6 * noise, (error, flops)
    assert error.mape < 0.5 * flops.mape, (error, flops)
    assert error.spearman > 0.98
    assert effects(RESNET20.baseline) == 1.0


def test_the_held_out_error_is_the_error_on_new_architectures() -> None:
    observed, fresh = latencies(seed=2, noise=0.01)
    held_out = cross_validate(regression(), observed)
    estimated = prediction_error(held_out.measured, held_out.predicted)
    effects = regression().fit(observed)
    against_truth = prediction_error(np.array(list(fresh.values())), np.array([effects(a) for a in fresh]))
    # What was held out was measured with noise, of mean absolute size .8 %, and so is its error.
    assert against_truth.mape < estimated.mape < against_truth.mape + 0.012
    assert estimated.architectures == sum(o.part == "random" for o in observed)


def test_bursts_that_nobody_noticed_do_not_spoil_the_fit() -> None:
    """One measurement in twelve took two to four times as long, and says that it is as good as the others."""
    observed, fresh = latencies(seed=4, noise=0.01)
    hit = [replace(o, relative=o.relative * (2 + i % 3)) if i % 12 == 5 else o for i, o in enumerate(observed)]
    effects = regression().fit(hit)
    error = prediction_error(np.array(list(fresh.values())), np.array([effects(a) for a in fresh]))
    assert error.mape < 0.03, error
    assert error.spearman > 0.95, error


def test_an_imprecise_measurement_counts_for_less() -> None:
    observed, fresh = latencies(seed=3, noise=0.005)
    spoilt = [
        Observation(o.architecture, o.part, o.relative * (1.3 if index % 9 == 0 else 1.0), 0.005)
        for index, o in enumerate(observed)
    ]
    told = [Observation(o.architecture, o.part, o.relative, 0.3 if i % 9 == 0 else 0.005) for i, o in enumerate(spoilt)]
    measured = np.array(list(fresh.values()))
    blind, warned = (
        prediction_error(measured, np.array([effects(a) for a in fresh]))
        for effects in (regression().fit(spoilt), regression().fit(told))
    )
    assert warned.mape < 0.012
    assert warned.mape < blind.mape
