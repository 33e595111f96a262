"""The cost table: the parts add up to the whole network, `cat` points included."""

from __future__ import annotations

import random
import timeit
from collections.abc import Callable

import pytest
import torch
import torchvision
from fvcore.nn import FlopCountAnalysis
from torch import nn

from search_spaces import InputSpec, SearchSpace, discover, register
from search_spaces.fusions import unregister
from trials.costs import CostTable, count_macs, count_params, count_work, counting
from trials.costs.memory import SavedActivations, peak_bytes, saved_activations
from trials.errors import UncountedError


def image(space: SearchSpace) -> torch.Tensor:
    return torch.zeros(1, *space.input_shape)


def assert_counts_agree(space: SearchSpace, samples: int = 1) -> None:
    table, rng = CostTable(space), random.Random(4)
    for _ in range(samples):
        architecture = space.sample(rng)
        network = space.build(architecture)
        costs, work = table(architecture), count_work(network, image(space))
        assert (costs.macs, costs.params) == (work.macs, count_params(network)), architecture.labels()


@pytest.mark.parametrize(
    ("name", "size"),
    [("inception-cifar", 17), ("resnet20-fpn", 15), ("resnet20-pan", 17), ("resnet18-fpn", 33), ("resnet18-pan", 33)],
)
def test_trunk_and_choices_add_up(name: str, size: int) -> None:
    assert_counts_agree(SearchSpace.named(name, InputSpec(3, size, 5)))


@pytest.mark.parametrize(
    "name",
    ["resnet8-pan-fcos", "resnet8-fpn-semantic", pytest.param("resnet8-fpn-retinanet", marks=pytest.mark.slow)],
)
def test_a_head_costs_the_same_over_every_architecture(name: str) -> None:
    """Neck, projections, head and the levels' merges are counted with the trunk, in work and memory too."""
    space = SearchSpace.named(name, InputSpec(3, 45, 4), ("add", "concat", "aff"), (4,))
    assert_counts_agree(space, samples=2)


@pytest.mark.slow
def test_a_large_detectors_table_is_exact() -> None:
    assert_counts_agree(SearchSpace.named("resnet50-fpn-fcos", InputSpec(3, 97, 20)), samples=3)


def discovered() -> SearchSpace:
    torch.manual_seed(0)
    return discover(torchvision.models.mobilenet_v3_small(weights=None), torch.randn(1, 3, 64, 64))


FIVE: dict[str, Callable[[], SearchSpace]] = {
    "resnet20": lambda: SearchSpace.named("resnet20", InputSpec(3, 32, 10)),
    "resnext50": lambda: SearchSpace.named("resnext50", InputSpec(3, 32, 10)),
    "inception-cifar": lambda: SearchSpace.named("inception-cifar", InputSpec(3, 32, 10)),
    "resnet20-fpn": lambda: SearchSpace.named("resnet20-fpn", InputSpec(3, 32, 10)),
    "discovered": discovered,
}


@pytest.mark.slow
@pytest.mark.parametrize("make", FIVE.values(), ids=FIVE)
def test_architectures_of_each_kind_of_space_cost_what_counting_them_whole_says(
    make: Callable[[], SearchSpace],
) -> None:
    assert_counts_agree(make(), samples=8)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("make", FIVE.values(), ids=FIVE)
def test_a_thousand_architectures_cost_what_counting_them_whole_says(make: Callable[[], SearchSpace]) -> None:
    assert_counts_agree(make(), samples=200)


def test_a_discovered_network_costs_what_counting_it_whole_says() -> None:
    assert_counts_agree(discovered(), samples=2)


def test_a_network_discovered_for_images_that_are_no_squares_is_counted_for_these() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + self.conv(x)).mean(dim=(2, 3))

    space = discover(Net(), torch.zeros(1, 4, 10, 6), ("add", "se"), (2,))
    assert space.input_shape == (4, 10, 6)
    assert_counts_agree(space, samples=2)


@pytest.mark.parametrize("name", ["resnet8", "resnet20-fpn"])
def test_the_workload_is_exact_and_memory_is_what_passes_take(name: str) -> None:
    """Work adds up exactly. Saved activations are within 3 % (a norm's statistics are saved once for any batch),
    the peak of inference is the measured one."""
    space = SearchSpace.named(name, InputSpec(3, 24, 5))
    table, rng = CostTable(space), random.Random(1)
    for architecture in (space.baseline, space.uniform("concat"), space.sample(rng), space.sample(rng)):
        network, found = space.build(architecture), table.workload(architecture)
        work = count_work(network, image(space))
        assert (found.elementwise_ops, found.bytes_moved) == (work.elementwise_ops, work.bytes_moved)
        saved = saved_activations(network, [torch.randn(4, 3, 24, 24)]).bytes_saved
        assert found.training_bytes == pytest.approx(saved, rel=0.03)
        assert found.inference_bytes == peak_bytes(network, [image(space)]) + image(space).nbytes


def test_training_memory_is_what_the_allocator_holds() -> None:
    """After the forward pass of a training step, within 5 %."""
    space = SearchSpace.named("resnet20-fpn", InputSpec(3, 24, 5))
    architecture = space.sample(random.Random(2))
    network, images = space.build(architecture).train(), torch.randn(8, 3, 24, 24)
    network(images)  # what is made once is not counted
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        output = network(images)
    events = profiler.profiler.kineto_results.events()
    held = sum(event.nbytes() for event in events if event.name() == "[memory]")
    assert output.grad_fn is not None
    assert CostTable(space).workload(architecture).training_bytes == pytest.approx(held / 8, rel=0.05)


def test_memory_of_passes_that_can_be_worked_out_by_hand() -> None:
    """Maps of [2, 4, 8, 8] are 2,048 bytes; a backward pass needs the input and the ReLU's result."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.relu(self.conv(x))

    maps = torch.randn(2, 4, 8, 8)
    assert saved_activations(Block(), [maps.clone()]) == SavedActivations(1024, (True,))
    assert (
        peak_bytes(Block(), [maps]) == 2 * 2048
    )  # the convolution's result and the ReLU's, then the ReLU's and the sum
    many = nn.Sequential(*(nn.ReLU() for _ in range(9)))
    assert peak_bytes(many, [maps]) == 2 * 2048
    assert saved_activations(many, [maps.clone()]) == SavedActivations(9 * 1024, (False,))


def test_a_query_takes_microseconds() -> None:
    space = SPACES[0]
    table, architecture = CostTable(space), space.sample(random.Random(0))
    timer = timeit.Timer(lambda: table(architecture))
    assert min(timer.repeat(5, 200)) / 200 < 20e-6


def test_a_user_s_unknown_operation_is_warned_of_and_ours_would_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Users(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x + torch.special.i0(y)

    register("users")(Users)
    try:
        space = SearchSpace.named("resnet8", InputSpec(1, 28, 10), ("add", "users"))
        with pytest.warns(UserWarning, match="not counted, so free of cost in what follows: aten::(special_)?i0"):
            CostTable(space)
    finally:
        unregister("users")
    monkeypatch.delitem(counting.HANDLES, "aten::sigmoid")
    with pytest.raises(UncountedError, match=r"no cost is known of aten::sigmoid"):
        CostTable(SearchSpace.named("resnet8", InputSpec(1, 28, 10), ("add", "se")))


@pytest.mark.parametrize("name", ["resnext50", "resnet101", "resnet34-fpn", "resnet50-fpn"])
def test_trunk_and_choices_of_a_large_network_add_up(name: str) -> None:
    assert_counts_agree(SearchSpace.named(name, InputSpec(3, 33, 5), ("add", "se"), (16,)))


def test_points_that_concatenate_add_up() -> None:
    assert_counts_agree(SearchSpace.named("googlenet", InputSpec(3, 33, 5), ("add", "concat", "aff", "sk")))


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
