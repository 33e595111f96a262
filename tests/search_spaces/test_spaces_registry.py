"""Operators by name, and a user's own among them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from search_spaces import InputSpec, SearchSpace, SpaceError, operator, operator_names, register
from search_spaces.architecture import FusionChoice
from search_spaces.fusions import build_fusion, unregister


class Mean(nn.Module):
    """(x + y) / 2.

    More about it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x + y) / 2


@pytest.fixture
def mean() -> Iterator[str]:
    register("mean")(Mean)
    yield "mean"
    unregister("mean")


@pytest.mark.parametrize(
    ("name", "takes_reduction"),
    [("add", False), ("concat", False), ("se", True), ("cbam", True), ("aff", True), ("iaff", True)],
)
def test_the_six_are_there(name: str, takes_reduction: bool) -> None:
    assert name in operator_names()
    assert operator(name).takes_reduction is takes_reduction
    assert operator(name).summary


def test_a_users_operator_is_searched_and_forgotten(mean: str) -> None:
    assert operator(mean).summary == "(x + y) / 2."
    space = SearchSpace.named("resnet8", InputSpec(1, 8, 3), operators=("add", mean))
    assert space.size == 8
    network = space.build(space.uniform(mean)).eval()
    assert isinstance(network.get_submodule("layer2.0.fuse"), Mean)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    unregister(mean)
    with pytest.raises(SpaceError, match="unknown fusion operator 'mean'"):
        operator(mean)


def test_a_name_is_taken_once(mean: str) -> None:
    with pytest.raises(SpaceError, match="'mean' is already registered by Mean"):
        register(mean)(Mean)
    with pytest.raises(SpaceError, match="'add' is already registered"):
        register("add")(Mean)
    assert operator("add").module is not Mean


@pytest.mark.parametrize("name", ["", "a/b", "two words", "café-au-lait"])
def test_a_name_that_a_choice_cannot_carry(name: str) -> None:
    with pytest.raises(SpaceError, match="letters, digits and underscores"):
        register(name)(Mean)
    assert name not in operator_names()


@pytest.mark.parametrize("doc", [None, "", "  \n  "])
def test_an_operator_without_a_docstring(doc: str | None) -> None:
    silent = type("Silent", (Mean,), {"__doc__": doc})
    register("silent")(silent)
    try:
        assert operator("silent").summary == ""
    finally:
        unregister("silent")


@pytest.mark.parametrize(
    ("given", "nearest"), [("afff", "aff"), ("Concat", "concat"), ("cbm", "cbam"), ("iAFF", "iaff")]
)
def test_an_unknown_name_is_answered_with_the_nearest(given: str, nearest: str) -> None:
    with pytest.raises(SpaceError, match=f"unknown fusion operator '{given}': did you mean '{nearest}'"):
        operator(given)


def test_a_name_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(SpaceError, match="unknown fusion operator '0000': known are ") as error:
        operator("0000")
    assert all(name in str(error.value) for name in operator_names())


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (FusionChoice("add", 4), "'add' takes no reduction ratio, but 4 was given"),
        (FusionChoice("aff"), "'aff' needs a reduction ratio, such as 'aff/4'"),
        (FusionChoice("se", 17), "reduction ratio 17 of 'se' is above its 16 channels"),
        (FusionChoice("sse", 4), "unknown fusion operator 'sse': did you mean 'se'"),
    ],
)
def test_a_choice_that_cannot_be_built(choice: FusionChoice, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        build_fusion(choice, 16)


def test_a_ratio_as_large_as_the_channels_is_the_last_allowed() -> None:
    x, y = torch.randn(2, 2, 16, 3, 3)
    assert build_fusion(FusionChoice("se", 16), 16)(x, y).shape == x.shape
