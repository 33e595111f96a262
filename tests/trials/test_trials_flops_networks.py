"""Every network of the catalogue: the cost table is the whole count, `cat` points included."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from search_spaces import InputSpec, SearchSpace, register
from search_spaces.fusions import unregister
from trials.flops import CostTable, count_macs, count_params


@pytest.fixture
def mixed() -> Iterator[str]:
    """An operator of any number of inputs, with parameters and multiply-adds of its own."""

    @register("mixed", max_inputs=None)
    class Mixed(nn.Module):
        """PW(Σ xᵢ)."""

        def __init__(self, channels: int, *, inputs: int = 2) -> None:
            super().__init__()
            self.project = nn.Conv2d(channels, channels, 1)

        def forward(self, *maps: torch.Tensor) -> torch.Tensor:
            return self.project(sum(maps[1:], maps[0]))

    yield "mixed"
    unregister("mixed")


def assert_counts_agree(space: SearchSpace) -> None:
    architecture = space.sample(random.Random(4))
    network = space.build(architecture)
    costs = CostTable(space)(architecture)
    size = space.input.size
    assert costs.macs == count_macs(network, torch.randn(1, space.input.channels, size, size))
    assert costs.params == count_params(network)


@pytest.mark.parametrize(
    ("name", "size"),
    [("inception-cifar", 17), ("resnet20-fpn", 15), ("resnet20-pan", 17), ("resnet18-fpn", 33), ("resnet18-pan", 33)],
)
def test_trunk_and_choices_add_up(name: str, size: int) -> None:
    assert_counts_agree(SearchSpace.named(name, InputSpec(3, size, 5)))


@pytest.mark.parametrize("name", ["resnext50", "resnet101", "resnet34-fpn", "resnet50-fpn"])
def test_trunk_and_choices_of_a_large_network_add_up(name: str) -> None:
    assert_counts_agree(SearchSpace.named(name, InputSpec(3, 33, 5), ("add", "se"), (16,)))


def test_points_of_three_maps_add_up() -> None:
    operators = ("add", "concat", "sk", "weighted", "se_concat", "aff")
    for size in (15, 16):
        assert_counts_agree(SearchSpace.named("resnet20-bifpn", InputSpec(3, size, 5), operators))


def test_points_that_concatenate_add_up(mixed: str) -> None:
    assert_counts_agree(SearchSpace.named("googlenet", InputSpec(3, 33, 5), ("add", mixed)))


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [("resnet101", 44_549_160, 7.8e9), ("resnext50", 25_028_904, 4.23e9), ("googlenet", 6_624_904, 1.5e9)],
)
def test_published_costs(name: str, params: int, macs: float) -> None:
    """torchvision's documented parameters and multiply-adds."""
    space = SearchSpace.named(name, operators=("add",))
    costs = CostTable(space)(space.baseline)
    assert costs.params == params
    assert costs.macs == pytest.approx(macs, rel=0.02)
