"""Costs: the parts add up to the whole, and each part is what its operator does."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from search_spaces import FusionChoice, InputSpec, SearchSpace
from search_spaces.fusions import build_fusion
from trials.flops import CostTable, count_macs, count_params

# One multiply-add is one; of elementwise work one for each element computed, of pooling one for each read, of
# batch norm two for each (its statistics are folded into a scale and a shift). n = H·W, w the bottleneck's width.
Formula = Callable[[int, int, int], int]


def aff(c: int, n: int, w: int) -> int:
    local = 2 * c * w * n + 3 * w * n + 2 * c * n
    pooled = c * n + 2 * c * w + 3 * w + 2 * c
    gate = 2 * c * n
    selection = 4 * c * n
    return c * n + local + pooled + gate + selection


FORMULAS: dict[str, Formula] = {
    "add": lambda c, n, w: c * n,
    "concat": lambda c, n, w: 2 * c * c * n,
    "se": lambda c, n, w: 3 * c * n + 2 * c * w + w + 2 * c,
    "cbam": lambda c, n, w: (3 * c * n + 2 * (2 * c * w + w) + 3 * c) + (4 * c * n + (98 + 2 + 2) * n),
    "aff": aff,
    "iaff": lambda c, n, w: 2 * aff(c, n, w) - c * n,
}


@pytest.mark.parametrize(("channels", "height", "width", "reduction"), [(16, 7, 5, 4), (30, 4, 4, 2), (64, 1, 1, 16)])
@pytest.mark.parametrize("name", FORMULAS)
def test_an_operator_costs_what_its_formula_says(
    name: str, channels: int, height: int, width: int, reduction: int
) -> None:
    choice = FusionChoice(name, None if name in ("add", "concat") else reduction)
    maps = torch.zeros(1, channels, height, width)
    counted = count_macs(build_fusion(choice, channels), maps, maps)
    assert counted == FORMULAS[name](channels, height * width, max(4, channels // reduction))


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), (1, 3, 5, 5), 3 * 8 * 9 * 25),
        (nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2), (1, 4, 6, 6), 2 * 8 * 9 * 9),
        (nn.Linear(10, 7), (1, 10), 70),
        (nn.BatchNorm2d(4), (1, 4, 3, 3), 72),
        (nn.MaxPool2d(3, stride=2, padding=1), (1, 4, 6, 6), 144),
        (nn.AdaptiveAvgPool2d(1), (1, 4, 6, 6), 144),
        (nn.ReLU(), (1, 4, 6, 6), 144),
        (nn.SiLU(), (1, 4, 6, 6), 144),
        (nn.Softmax(dim=1), (1, 4, 6, 6), 144),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_layer_costs_its_multiply_adds(layer: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    assert count_macs(layer, torch.zeros(shape)) == expected


class Calls(nn.Module):
    """One function of tensors as a module."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.function(*tensors)


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (torch.bmm, [(1, 3, 4), (1, 4, 5)], 60),
        (torch.matmul, [(2, 3, 4), (2, 4, 5)], 120),
        (nn.functional.scaled_dot_product_attention, [(1, 5, 4), (1, 7, 4), (1, 7, 6)], 5 * 7 * (4 + 1 + 6)),
        (lambda u: nn.functional.group_norm(u, 2, torch.ones(4), torch.ones(4)), [(1, 4, 3, 3)], 5 * 36),
        (
            lambda u: nn.functional.layer_norm(u, [4, 1, 1], torch.ones(4, 1, 1), torch.ones(4, 1, 1)),
            [(1, 4, 1, 1)],
            20,
        ),
        (lambda u: torch.softmax(u, 1), [(1, 4, 3, 3)], 36),
        (lambda u: u.argmax(dim=1), [(1, 4, 3, 3)], 36),
        (lambda u: nn.functional.interpolate(u, size=(6, 5), mode="nearest"), [(1, 4, 3, 3)], 120),
        (torch.lerp, [(1, 8), (1, 8), (1, 8)], 8),
        (torch.addcmul, [(1, 8), (1, 8), (1, 8)], 16),
        (lambda u: u.unsqueeze(1).expand(-1, 3, -1)[:, 0].transpose(0, 1).reshape(-1), [(1, 8)], 0),
        (lambda u: nn.functional.dropout(u, 0.5, training=False), [(1, 8)], 0),
    ],
)
def test_what_operators_use_costs(
    function: Callable[..., torch.Tensor], shapes: list[tuple[int, ...]], expected: int
) -> None:
    assert count_macs(Calls(function), *map(torch.zeros, shapes)) == expected


SPACES = (
    SearchSpace.named("resnet8", InputSpec(1, 28, 10)),
    SearchSpace.named("resnet14", InputSpec(3, 27, 5), reductions=(2, 4, 16)),
    SearchSpace.named("resnet18", InputSpec(3, 65, 10)),
    SearchSpace.named("resnet50", InputSpec(3, 32, 3), operators=("add", "aff", "cbam"), reductions=(16,)),
)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_trunk_and_choices_add_up_to_the_whole_network(space: SearchSpace) -> None:
    table = CostTable(space)
    rng = random.Random(0)
    image = torch.randn(1, space.input.channels, space.input.size, space.input.size)
    for architecture in (space.baseline, space.sample(rng), space.sample(rng)):
        network = space.build(architecture)
        costs = table(architecture)
        assert costs.macs == count_macs(network, image)
        assert costs.params == sum(p.numel() for p in network.parameters()) == count_params(network)
        assert costs.latency_ms is None


def test_beside_fvcores_own_count_stand_elementwise_work_and_pooling_only() -> None:
    space = SearchSpace.named("resnet18", InputSpec(3, 64, 10))
    network = space.build(space.baseline).eval()
    image = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        analysis = FlopCountAnalysis(network, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        theirs = analysis.total()
    shapes = [point.shape for point in space.points]
    blocks = sum(3 * shape.channels * shape.height * shape.width for shape in shapes)  # ReLU, sum, ReLU
    stem = 2 * 64 * 32 * 32  # ReLU, max pooling
    last = shapes[-1]
    head = last.channels * last.height * last.width  # average pooling
    assert count_macs(network, image) - theirs == blocks + stem + head


def test_resnet18_has_its_published_cost() -> None:
    costs = CostTable(SearchSpace.named("resnet18", operators=("add",), reductions=(4,)))
    baseline = costs(SearchSpace.named("resnet18").baseline)
    assert baseline.macs == pytest.approx(1.82e9, rel=0.01)
    assert baseline.params == 11_689_512


def test_counting_leaves_no_trace() -> None:
    space = SPACES[0]
    network = space.build(space.uniform("iaff")).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    randomness = torch.get_rng_state()
    count_macs(network, torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), randomness)
    assert network.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    CostTable(space)
    assert torch.equal(torch.get_rng_state(), randomness)


@pytest.mark.parametrize("metric", ["macs", "params"])
def test_cheapest_and_costliest_are_the_extremes(metric: str) -> None:
    space = SPACES[0]
    table = CostTable(space)
    costs = [getattr(table(architecture), metric) for architecture in space.enumerate()]
    assert getattr(table(table.cheapest(metric)), metric) == min(costs)
    assert getattr(table(table.costliest(metric)), metric) == max(costs)
    assert min(costs) < max(costs)
