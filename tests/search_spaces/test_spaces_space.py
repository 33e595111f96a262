"""Search spaces: what is on offer, how much there is, and what is answered to a slip."""

from __future__ import annotations

import json
import math
import pickle
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import FusionChoice, InputSpec, SearchSpace, SpaceError, names
from search_spaces.fusions import build_fusion
from search_spaces.listing import list_spaces

SMALL = InputSpec(1, 28, 10)
SPACES = (
    SearchSpace.named("resnet8", SMALL),
    SearchSpace.named("resnet14", SMALL, operators=("add", "concat")),
    SearchSpace.named("resnet8", SMALL, operators=("add", "iaff", "se"), reductions=(16, 2, 4)),
)
spaces = pytest.mark.parametrize("space", SPACES, ids=["all", "linear", "three"])


def labels(space: SearchSpace) -> list[list[str]]:
    return [[str(choice) for choice in point.choices] for point in space.points]


# ---- size


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet8", 6 * 10 * 14),
        ("resnet14", (6 * 10 * 14) ** 2),
        ("resnet20", (6 * 10 * 14) ** 3),
        ("resnet32", (6 * 10 * 14) ** 5),
        ("resnet56", (6 * 10 * 14) ** 9),
        ("resnet18", 14**8),
        ("resnet34", 14**16),
        ("resnet50", 14**16),
    ],
)
def test_the_size_of_a_named_space(name: str, size: int) -> None:
    assert SearchSpace.named(name).size == size


def test_ratios_of_one_bottleneck_width_are_one_choice() -> None:
    first, second, third = SPACES[0].points
    assert [str(choice) for choice in first.choices] == ["add", "concat", "se/4", "cbam/4", "aff/4", "iaff/4"]
    assert first.merged["aff/8"] == first.merged["aff/16"] == "aff/4"
    assert second.merged["aff/16"] == "aff/8"
    assert "aff/8" not in second.merged
    assert third.merged == {}


def test_a_merged_ratio_is_the_same_architecture() -> None:
    space = SPACES[0]
    kept = space.architecture({"layer1.0": "aff/4", "layer2.0": "se/8", "layer3.0": "iaff/16"})
    given_choices = {"layer1.0": " aff/8", "layer2.0": FusionChoice("se", 16), "layer3.0": "iaff/16"}
    assert space.architecture(given_choices) == kept
    assert space.architecture(given_choices).key == kept.key


@spaces
def test_choices_at_a_point_are_different_modules(space: SearchSpace) -> None:
    for point in space.points:
        counted = Counter(
            (choice.op, sum(p.numel() for p in build_fusion(choice, point.shape.channels).parameters()))
            for choice in point.choices
        )
        assert max(counted.values()) == 1


@spaces
def test_enumerate_gives_each_architecture_once(space: SearchSpace) -> None:
    everything = list(space.enumerate())
    assert len({architecture.key for architecture in everything}) == len(everything) == space.size
    assert all(space.architecture(architecture.choices) == architecture for architecture in everything[::37])


@spaces
def test_neighbours_differ_at_exactly_one_point(space: SearchSpace) -> None:
    for seed in range(3):
        centre = space.sample(random.Random(seed))
        neighbours = list(space.neighbours(centre))
        assert len(set(neighbours)) == len(neighbours) == sum(len(point.choices) - 1 for point in space.points)
        for neighbour in neighbours:
            assert sum(neighbour.choices[name] != choice for name, choice in centre.choices.items()) == 1
            assert space.architecture(neighbour.choices) == neighbour


# ---- sampling


def test_a_sample_is_uniform() -> None:
    space = SearchSpace.named("resnet8", SMALL, operators=("add", "concat", "se"), reductions=(4,))
    draws, rng = 2700, random.Random(5)
    counted = Counter(space.sample(rng).key for _ in range(draws))
    assert len(counted) == space.size == 27
    expected = draws / space.size
    chi_square = sum((count - expected) ** 2 / expected for count in counted.values())
    assert chi_square < 54.1  # the 0.999 quantile of 26 degrees of freedom


def test_a_sample_is_that_of_its_seed() -> None:
    space = SPACES[0]
    first, again, other = ([space.sample(rng) for _ in range(5)] for rng in map(random.Random, (1, 1, 2)))
    assert first == again
    assert first != other


@given(st.integers(0, 2**32))
def test_whatever_is_sampled_is_valid(seed: int) -> None:
    for space in SPACES:
        architecture = space.sample(random.Random(seed))
        assert space.architecture(architecture.labels()) == architecture


# ---- uniform architectures


def test_the_baseline_is_add_everywhere() -> None:
    assert set(SPACES[0].baseline.labels().values()) == {"add"}
    assert SPACES[0].baseline == SPACES[0].uniform("add")


@pytest.mark.parametrize(
    ("op", "reduction", "expected"),
    [
        ("concat", None, ["concat"] * 3),
        ("aff", None, ["aff/4"] * 3),
        ("aff", 8, ["aff/4", "aff/8", "aff/8"]),
        ("iaff", 16, ["iaff/4", "iaff/8", "iaff/16"]),
    ],
)
def test_uniform(op: str, reduction: int | None, expected: list[str]) -> None:
    assert list(SPACES[0].uniform(op, reduction).labels().values()) == expected


@pytest.mark.parametrize(("op", "reduction"), [("afff", None), ("aff", 5), ("add", 4), ("eca", None)])
def test_uniform_of_what_is_not_on_offer_names_the_point(op: str, reduction: int | None) -> None:
    with pytest.raises(SpaceError, match=r"layer1\.0"):
        SPACES[0].uniform(op, reduction)


# ---- slips

GOOD = {"layer1.0": "add", "layer2.0": "add", "layer3.0": "add"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer2.1": "add"}, r"unknown fusion point of resnet8 'layer2\.1': did you mean 'layer[123]\.0'"),
        ({"layer2.0": "afff/4"}, r"at layer2\.0: unknown fusion operator 'afff': did you mean 'aff'"),
        ({"layer2.0": "aff/0"}, r"at layer2\.0: reduction ratio of 'aff' is 0"),
        ({"layer2.0": "aff/-4"}, r"at layer2\.0: reduction ratio of 'aff' is -4"),
        ({"layer2.0": "aff/4/4"}, r"at layer2\.0: choice 'aff/4/4'"),
        ({"layer2.0": "aff/64"}, r"'aff/64' is not on offer at layer2\.0: choose from add, .*aff/4"),
        ({"layer2.0": "aff"}, r"'aff' is not on offer at layer2\.0: choose from add, .*aff/4"),
        ({"layer2.0": "add/4"}, r"'add/4' is not on offer at layer2\.0"),
    ],
)
def test_a_bad_choice_is_answered_with_its_point(changes: dict[str, str], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        SPACES[0].architecture({**GOOD, **changes})


def test_a_missing_point_is_named() -> None:
    with pytest.raises(SpaceError, match=r"no choice for fusion point 'layer3\.0' of resnet8"):
        SPACES[0].architecture({"layer1.0": "add", "layer2.0": "add"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operators": ("concat", "se")}, "operators lack 'add'"),
        ({"operators": ()}, "operators lack 'add'"),
        ({"operators": ("add", "cbamm")}, "unknown fusion operator 'cbamm': did you mean 'cbam'"),
        ({"reductions": ()}, "reductions is empty"),
        ({"reductions": (4, 0)}, "reduction ratio 0: give a whole number above 0"),
        ({"reductions": (-2,)}, "reduction ratio -2"),
        ({"reductions": (2.5,)}, r"reduction ratio 2\.5"),
        ({"reductions": (True,)}, "reduction ratio True"),
        ({"reductions": (4, 65)}, r"reduction ratio 65 is above the 64 channels of layer3\.0, the widest fusion point"),
    ],
)
def test_a_space_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        SearchSpace.named("resnet8", SMALL, **options)  # type: ignore[arg-type]


def test_linear_operators_need_no_ratio() -> None:
    assert SearchSpace.named("resnet8", SMALL, operators=("add", "concat"), reductions=()).size == 8


def test_an_unknown_space_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpaceError, match="unknown space 'resnet81': did you mean 'resnet8'"):
        SearchSpace.named("resnet81")


def test_an_architecture_of_another_space_is_not_built() -> None:
    with pytest.raises(SpaceError, match="architecture of space 'resnet14' given to space 'resnet8'"):
        SPACES[0].build(SPACES[1].baseline)


# ---- as data


@spaces
def test_a_space_goes_round_as_json(space: SearchSpace) -> None:
    again = SearchSpace.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    assert labels(again) == labels(space)


@pytest.mark.parametrize(
    "data",
    [{}, {"name": "resnet8"}, {**SPACES[0].to_json(), "input": {"size": 28}}, {**SPACES[0].to_json(), "input": 28}],
)
def test_json_of_something_else(data: dict[str, object]) -> None:
    with pytest.raises(SpaceError, match="not the JSON of a search space"):
        SearchSpace.from_json(data)


@spaces
def test_a_space_is_pickled(space: SearchSpace) -> None:
    again = pickle.loads(pickle.dumps(space))
    assert again == space
    assert labels(again) == labels(space)


def test_operators_and_ratios_are_given_in_any_order_and_often() -> None:
    tidy = SearchSpace.named("resnet8", SMALL, operators=("add", "se"), reductions=(4, 8))
    assert SearchSpace.named("resnet8", SMALL, ("add", "se", "se", "add"), (8, 4, 8)) == tidy


def test_the_listing_says_what_each_space_is() -> None:
    listed = list_spaces()
    assert [entry["name"] for entry in listed] == list(names())
    for entry in listed:
        assert math.prod(entry["choices"]) == entry["size"]
        assert len(entry["choices"]) == entry["points"]
        assert entry["summary"]
    json.dumps(listed)
