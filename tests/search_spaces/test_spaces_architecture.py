"""Choices and architectures as values: text, JSON, key, equality, pickle."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import Architecture, FusionChoice, SpaceError

CHOICES = {"layer1.0": FusionChoice("aff", 4), "layer2.0": FusionChoice("se", 8), "layer3.0": FusionChoice("add")}
#: The key under which records of all versions hold this architecture.
KEY = "60a3cc84d14f2399"

choices = st.builds(
    FusionChoice,
    st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=8),
    st.none() | st.integers(1, 10_000),
)


@given(choices)
def test_a_choice_goes_round_as_text(choice: FusionChoice) -> None:
    assert FusionChoice.parse(str(choice)) == choice


@pytest.mark.parametrize(
    ("text", "choice"),
    [("add", FusionChoice("add")), ("aff/4", FusionChoice("aff", 4)), ("  iaff/16\n", FusionChoice("iaff", 16))],
)
def test_a_choice_is_read(text: str, choice: FusionChoice) -> None:
    assert FusionChoice.parse(text) == choice


@pytest.mark.parametrize(
    "text", ["", " ", "/", "/4", "aff/", "aff/x", "aff/4/8", "aff/4.0", "aff/1e2", "aff/1_0", "a b/4"]
)
def test_what_is_no_choice(text: str) -> None:
    with pytest.raises(SpaceError, match="OPERATOR or OPERATOR/RATIO"):
        FusionChoice.parse(text)


@pytest.mark.parametrize("ratio", [0, -1, -16])
def test_a_ratio_is_above_zero(ratio: int) -> None:
    for make in (lambda: FusionChoice("aff", ratio), lambda: FusionChoice.parse(f"aff/{ratio}")):
        with pytest.raises(SpaceError, match=f"reduction ratio of 'aff' is {ratio}: give a whole number above 0"):
            make()


def test_the_key_is_for_ever() -> None:
    assert Architecture("resnet8", CHOICES).canonical_json == (
        '{"choices":{"layer1.0":"aff/4","layer2.0":"se/8","layer3.0":"add"},"space":"resnet8"}'
    )
    assert Architecture("resnet8", CHOICES).key == KEY


def test_order_does_not_matter() -> None:
    architecture = Architecture("resnet8", CHOICES)
    backwards = Architecture("resnet8", dict(reversed(CHOICES.items())))
    assert backwards == architecture
    assert backwards.key == architecture.key
    assert len({backwards, architecture}) == 1
    assert list(backwards.labels()) == ["layer3.0", "layer2.0", "layer1.0"]


@pytest.mark.parametrize(
    "other",
    [
        Architecture("resnet14", CHOICES),
        Architecture("resnet8", {**CHOICES, "layer1.0": FusionChoice("aff", 8)}),
        Architecture("resnet8", {**CHOICES, "layer1.0": FusionChoice("iaff", 4)}),
        Architecture("resnet8", {name: choice for name, choice in CHOICES.items() if name != "layer1.0"}),
        "resnet8",
    ],
)
def test_what_differs_is_not_equal(other: object) -> None:
    architecture = Architecture("resnet8", CHOICES)
    assert architecture != other
    assert getattr(other, "key", None) != architecture.key


@settings(max_examples=40)
@given(st.dictionaries(st.text(max_size=10), choices, max_size=6), st.text(max_size=10))
def test_json_both_ways(points: dict[str, FusionChoice], space: str) -> None:
    architecture = Architecture(space, points)
    again = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
    assert again == architecture
    assert again.key == architecture.key
    assert Architecture.from_json(json.loads(architecture.canonical_json)) == architecture


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"space": "resnet8"},
        {"choices": {}},
        {"space": "resnet8", "choices": ["aff/4"]},
        {"space": "resnet8", "choices": None},
        [],
        "resnet8",
        None,
    ],
)
def test_json_of_something_else(data: object) -> None:
    with pytest.raises(SpaceError, match="an architecture is"):
        Architecture.from_json(data)  # type: ignore[arg-type]


def test_json_with_a_bad_choice_says_which() -> None:
    with pytest.raises(SpaceError, match="'aff/four'"):
        Architecture.from_json({"space": "resnet8", "choices": {"layer1.0": "aff/four"}})


def test_it_is_frozen_through_and_through() -> None:
    given_choices = dict(CHOICES)
    architecture = Architecture("resnet8", given_choices)
    key = architecture.key
    given_choices["layer1.0"] = FusionChoice("add")
    assert architecture.key == key
    with pytest.raises(TypeError):
        architecture.choices["layer1.0"] = FusionChoice("add")  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        architecture.space = "resnet14"  # type: ignore[misc]


def test_pickling() -> None:
    architecture = Architecture("resnet8", CHOICES)
    again = pickle.loads(pickle.dumps(architecture))
    assert again == architecture
    assert list(again.choices.items()) == list(architecture.choices.items())


def test_architectures_are_free_of_torch() -> None:
    code = "import sys, search_spaces as s; s.Architecture('a', {}).key; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
