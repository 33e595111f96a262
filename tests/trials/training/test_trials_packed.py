"""Seeds that are trained as one program end where each ends alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces import FusionSettings, InputSpec, SearchSpace
from trials.data import DataConfig, ImageData, load_data
from trials.machine.device import on_device
from trials.machine.quiet import Occupancy, occupied
from trials.seeds import drawing
from trials.tasks.evaluation import NonFiniteLoss, evaluate
from trials.training.loop import train
from trials.training.packed import PackingRefused, train_packed
from trials.trial import EpochPoint, Recipe

CPU = torch.device("cpu")
SPACE = SearchSpace.named("resnet8", InputSpec(1, 12, 10))
MIXTURE = SPACE.architecture({"layer1.0": "se/4", "layer2.0": "aff/4", "layer3.0": "iaff/4"})
SEEDS = (3, 5)
RECIPE = Recipe(epochs=2, batch_size=24, precision="float32", peak_lr=0.05)


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data(DataConfig(train_images=60, val_fraction=0.02, image_size=12))


@pytest.fixture
def machine(locks: Path) -> Iterator[Occupancy]:
    with occupied() as hold:
        yield hold


class Double(nn.Module):
    """A network in float64: what rounding there is left is that of the loss."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.double()

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.network(images.double())
        return outputs


def network_of(seed: int, exact: bool, device: torch.device = CPU, space: SearchSpace = SPACE) -> nn.Module:
    with drawing(CPU, seed, "initialisation"):
        network = space.build(MIXTURE)
    return on_device(Double(network) if exact else network, device)


def both(
    data: ImageData, recipe: Recipe, machine: Occupancy, exact: bool, device: torch.device = CPU
) -> tuple[list[nn.Module], list[nn.Module], list[list[EpochPoint]], list[list[EpochPoint]]]:
    alone, packed = ([network_of(seed, exact, device) for seed in SEEDS] for _ in range(2))
    points = [list(train(network, data, recipe, seed, machine)) for network, seed in zip(alone, SEEDS, strict=True)]
    found = list(train_packed(packed, data, recipe, SEEDS, machine))
    return alone, packed, points, [list(each) for each in zip(*found, strict=True)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimiser": "adamw", "peak_lr": 0.003, "weight_decay": 0.05},
        {"max_grad_norm": 0.5},
        {"ema_decay": 0.8},
        {"cutout": 4, "colour": 0.3, "mixup": 0.4, "fusion_lr_scale": 0.3},
        {"batch_size": 1000, "flip": False, "crop_padding": 0, "label_smoothing": 0.0},
    ],
    ids=lambda changes: ", ".join(changes) or "sgd",
)
def test_seeds_end_where_each_ends_alone(data: ImageData, machine: Occupancy, changes: dict[str, Any]) -> None:
    """Weights and running statistics, in float64: a millionth of the way that they went, each in its own direction."""
    recipe = replace(RECIPE, **changes)
    alone, packed, points, found = both(data, recipe, machine, exact=True)
    for one, other in zip(points, found, strict=True):
        assert [p.epoch for p in one] == [p.epoch for p in other] == [1, 2]
        assert [p.train_loss for p in one] == pytest.approx([p.train_loss for p in other], rel=1e-6)
    assert len({point[-1].train_loss for point in found}) == len(SEEDS)
    for seed, one, other in zip(SEEDS, alone, packed, strict=True):
        began = network_of(seed, exact=True).state_dict()
        for name, tensor in other.state_dict().items():
            expected = one.state_dict()[name]
            way = float((expected - began[name]).abs().max())
            assert float((tensor - expected).abs().max()) <= 1e-6 * way + 1e-12, name


def test_in_float32_rounding_is_what_differs(data: ImageData, machine: Occupancy) -> None:
    """Losses to a thousandth after four steps, what is judged of them to a hundredth."""
    alone, packed, points, found = both(data, RECIPE, machine, exact=False)
    for one, other in zip(points, found, strict=True):
        assert [p.train_loss for p in one] == pytest.approx([p.train_loss for p in other], rel=1e-3)
    for one, other in zip(alone, packed, strict=True):
        judged = [evaluate(network, data.val, data, machine).loss for network in (one, other)]
        assert judged[0] == pytest.approx(judged[1], rel=0.01)


def test_one_seed_alone_is_a_pack_too(data: ImageData, machine: Occupancy) -> None:
    network, other = (network_of(3, exact=True) for _ in range(2))
    (*_, last) = train(network, data, RECIPE, 3, machine)
    (*_, (found,)) = train_packed([other], data, RECIPE, [3], machine)
    assert found.train_loss == pytest.approx(last.train_loss, rel=1e-6)


def test_what_draws_numbers_is_refused_and_left_as_it_was(data: ImageData, machine: Occupancy) -> None:
    dropping = replace(SPACE, settings=FusionSettings(dropout=0.5))
    networks = [network_of(seed, exact=False, space=dropping) for seed in SEEDS]
    before = [{name: tensor.clone() for name, tensor in network.state_dict().items()} for network in networks]
    with pytest.raises(PackingRefused, match="random"):
        list(train_packed(networks, data, RECIPE, SEEDS, machine))
    for network, state in zip(networks, before, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_several_architectures_are_refused(data: ImageData, machine: Occupancy) -> None:
    networks = [SPACE.build(MIXTURE), SPACE.build(SPACE.baseline)]
    with pytest.raises(PackingRefused, match="several architectures"):
        list(train_packed(networks, data, RECIPE, (1, 2), machine))
    with pytest.raises(ValueError, match="2 networks and 1 seeds"):
        list(train_packed(networks, data, RECIPE, (1,), machine))


def test_a_seed_that_diverges_is_named_and_nothing_is_changed(data: ImageData, machine: Occupancy) -> None:
    networks = [network_of(seed, exact=False) for seed in SEEDS]
    with torch.no_grad():
        networks[1].get_parameter("fc.bias")[0] = torch.nan
    before = networks[0].get_parameter("fc.weight").clone()
    with pytest.raises(NonFiniteLoss, match="loss is nan under seed 5 in epoch 1 of 2"):
        list(train_packed(networks, data, RECIPE, SEEDS, machine))
    assert torch.equal(networks[0].get_parameter("fc.weight"), before)


@pytest.mark.gpu
def test_on_a_gpu_seeds_end_where_each_ends_alone(data: ImageData, machine: Occupancy) -> None:
    cuda = torch.device("cuda")
    resident = replace(data, train=data.train.to(cuda), val=data.val.to(cuda))
    _, _, points, found = both(resident, RECIPE, machine, exact=True, device=cuda)
    for one, other in zip(points, found, strict=True):
        assert [p.train_loss for p in one] == pytest.approx([p.train_loss for p in other], rel=1e-5)
