"""The feasible set: its count is brute force's, its samples are uniform, its extremes are the extremes."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import InputSpec, SearchSpace
from trials.costs import CostTable, FeasibleSet, RelaxedSet, TooManySums, feasible_set, sums

Pair = tuple[int, int]
Options = list[list[Pair]]


@st.composite
def questions(draw: st.DrawFn) -> tuple[Options, Pair]:
    """A few variables, some of them alike, and bounds from below nothing to above everything."""
    cost = st.tuples(st.integers(-5, 40), st.integers(0, 9))
    kinds = draw(st.lists(st.lists(cost, min_size=1, max_size=4), min_size=1, max_size=3))
    options = [draw(st.permutations(draw(st.sampled_from(kinds)))) for _ in range(draw(st.integers(1, 5)))]
    largest = [sum(max(costs[which] for costs in variable) for variable in options) for which in (0, 1)]
    return options, (draw(st.integers(-30, largest[0] + 2)), draw(st.integers(-2, largest[1] + 2)))


def total(options: Options, member: tuple[int, ...] | list[int], which: int) -> int:
    return sum(variable[option][which] for variable, option in zip(options, member, strict=True))


def brute_force(options: Options, bounds: Pair) -> set[tuple[int, ...]]:
    everything = product(*(range(len(variable)) for variable in options))
    return {a for a in everything if all(total(options, a, which) <= bounds[which] for which in (0, 1))}


@given(questions())
@settings(max_examples=150, deadline=None)
def test_members_are_those_of_brute_force(question: tuple[Options, Pair]) -> None:
    options, bounds = question
    inside = brute_force(options, bounds)
    found = FeasibleSet(options, bounds)
    assert found.count == len(inside)
    assert {tuple(member) for member in found.members()} == inside
    sample = found.sample(random.Random(0))
    assert sample is None if not inside else tuple(sample or ()) in inside


@given(questions())
@settings(max_examples=80, deadline=None)
def test_smallest_and_largest_are_the_extremes(question: tuple[Options, Pair]) -> None:
    options, bounds = question
    inside = brute_force(options, bounds)
    cut = [which for which in (0, 1) if any(total(options, a, which) > bounds[which]
                                            for a in product(*(range(len(v)) for v in options)))]  # fmt: skip
    found = FeasibleSet(options, bounds)
    if not inside:
        assert found.smallest() is found.largest() is None
    elif cut:
        totals = [total(options, member, cut[0]) for member in inside]
        smallest, largest = found.smallest(), found.largest()
        assert smallest is not None
        assert largest is not None
        assert {tuple(smallest), tuple(largest)} <= inside
        assert (total(options, smallest, cut[0]), total(options, largest, cut[0])) == (min(totals), max(totals))


@given(questions())
@settings(max_examples=40, deadline=None)
def test_a_relaxed_set_brackets_the_count_and_samples_members(question: tuple[Options, Pair]) -> None:
    options, bounds = question
    inside = brute_force(options, bounds)
    found = RelaxedSet(options, bounds)
    assert found.at_least <= len(inside) <= found.at_most
    sample = found.sample(random.Random(0))
    assert sample is None if not inside else tuple(sample or ()) in inside


RNG = random.Random(5)
#: 5 variables of 2 kinds, 4,500 architectures of unlike costs, and bounds that leave a part under either.
WIDE = [[(RNG.randrange(10**6), RNG.randrange(10**5)) for _ in range(n)] for n in (5, 6)]
CHI_SQUARED: Options = [WIDE[0], WIDE[0], WIDE[1], WIDE[1], WIDE[0]]
CHI_SQUARED_BOUNDS = (3_000_000, 260_000)


def chi_squared(found: FeasibleSet | RelaxedSet, cells: list[tuple[int, ...]], draws: int) -> float:
    """χ² of uniform samples, in standard deviations from its mean under uniformity."""
    rng = random.Random(0)
    counts = Counter(tuple(found.sample(rng) or ()) for _ in range(draws))
    assert set(counts) <= set(cells)
    expected, freedom = draws / len(cells), len(cells) - 1
    statistic = sum((counts[cell] - expected) ** 2 / expected for cell in cells)
    return (statistic - freedom) / math.sqrt(2 * freedom)


def test_samples_are_uniform() -> None:
    inside = sorted(brute_force(CHI_SQUARED, CHI_SQUARED_BOUNDS))
    assert 100 < len(inside) < 4000
    assert abs(chi_squared(FeasibleSet(CHI_SQUARED, CHI_SQUARED_BOUNDS), inside, 8 * len(inside))) < 4


def test_samples_of_a_relaxed_set_are_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trials.costs.relaxed.CELLS", 256)
    monkeypatch.setattr("trials.costs.relaxed.PIECE", 20)
    inside = sorted(brute_force(CHI_SQUARED, CHI_SQUARED_BOUNDS))
    found = RelaxedSet(CHI_SQUARED, CHI_SQUARED_BOUNDS)
    assert found.at_least < len(inside) < found.at_most  # the grid is coarse enough to matter
    assert abs(chi_squared(found, inside, 8 * len(inside))) < 4


def test_sampling_is_determined_by_the_random_numbers_given() -> None:
    for kind in (FeasibleSet, RelaxedSet):
        draws = [
            [kind(CHI_SQUARED, CHI_SQUARED_BOUNDS).sample(rng) for _ in range(5)]
            for rng in (random.Random(1), random.Random(1), random.Random(2))
        ]
        assert draws[0] == draws[1] != draws[2]


def test_counts_beyond_64_bits_are_exact() -> None:
    """80 variables of 0 or 1 and at most 40: half of 2⁸⁰, and half of the middle binomial coefficient."""
    found = FeasibleSet([[(0, 0), (1, 0)]] * 80, (40, 0))
    assert found.count == (2**80 + math.comb(80, 40)) // 2
    last = found.member(found.count - 1)
    assert sum(last) <= 40
    with pytest.raises(IndexError, match="of a set of"):
        found.member(found.count)


def test_too_many_sums_are_said_and_bracketed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(3)
    options: Options = [[(rng.randrange(10**9), rng.randrange(10**8)) for _ in range(6)] for _ in range(10)]
    bounds = (5 * 10**9, 5 * 10**8)
    exact = FeasibleSet(options, bounds).count
    monkeypatch.setattr(sums, "MAX_SUMS", 3000)
    with pytest.raises(TooManySums):
        FeasibleSet(options, bounds)
    found = feasible_set(options, bounds)
    assert isinstance(found, RelaxedSet)
    assert 0.9 * exact < found.at_least <= exact <= found.at_most < 1.1 * exact


@pytest.mark.parametrize(("name", "tie"), [("resnet14", "none"), ("resnet14", "stage"), ("resnet8-fpn-fcos", "none")])
def test_the_options_of_a_space_are_those_of_its_architectures(name: str, tie: str) -> None:
    """Tied points are one variable, whose options cost what all of them do."""
    space = SearchSpace.named(name, InputSpec(3, 16, 4), ("add", "se", "concat"), (4,), tie=tie)  # type: ignore[arg-type]
    table = CostTable(space)
    options = [table.options(variable) for variable in space.variables]
    every = [table(architecture) for architecture in space.enumerate()]
    middle = sorted(costs.macs for costs in every)[len(every) // 2]
    fewer = sorted(costs.params for costs in every)[2 * len(every) // 3]
    found = FeasibleSet(options, (middle - table.fixed[0], fewer - table.fixed[1]))
    assert found.count == sum(costs.macs <= middle and costs.params <= fewer for costs in every)
    assert 0 < found.count < len(every) == space.size


@pytest.mark.slow
def test_large_spaces_are_counted_in_seconds() -> None:
    space = SearchSpace.named("resnet50", InputSpec(3, 64, 10))
    table = CostTable(space)
    options = [table.options(variable) for variable in space.variables]
    means = [sum(sum(c[which] for c in v) // len(v) for v in options) for which in (0, 1)]
    exact, relaxed = FeasibleSet(options, (means[0], means[1])), RelaxedSet(options, (means[0], means[1]))
    assert relaxed.at_least <= exact.count <= relaxed.at_most
    rng = random.Random(0)
    for found in (exact, relaxed):
        member = found.sample(rng)
        assert member is not None
        assert all(total(options, member, which) <= means[which] for which in (0, 1))
