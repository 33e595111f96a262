"""Discovery in eleven networks of torchvision: what is found is pinned, and is the original until it is trained."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from search_spaces.discovery import examine
from search_spaces.discovery.rewriting import largest_difference
from search_spaces.discovery.survey import SURVEYED, enliven, survey
from trials.costs import CostTable, count_macs, count_params

ONE = "a concatenation of one map"
#: model: merges, points by kind, reasons of the others
FOUND: dict[str, tuple[int, dict[str, int], dict[str, int]]] = {
    "resnet18": (8, {"short skip": 8}, {}),
    "resnet50": (16, {"short skip": 16}, {}),
    "regnet_y_400mf": (16, {"short skip": 16}, {}),
    "densenet121": (62, {"same layer": 58}, {ONE: 4}),
    "googlenet": (9, {"same layer": 9}, {}),
    "mobilenet_v2": (10, {"short skip": 10}, {}),
    "mobilenet_v3_small": (6, {"short skip": 6}, {}),
    "efficientnet_b0": (9, {"short skip": 9}, {}),
    "convnext_tiny": (18, {"short skip": 18}, {}),
    "fcn_resnet50 backbone": (16, {"short skip": 16}, {}),
    "resnet50-fpn backbone": (19, {"short skip": 16, "long skip": 3}, {}),
}
QUICK = ("resnet18", "mobilenet_v3_small", "efficientnet_b0")
SIX = ("add", "concat", "se", "cbam", "aff", "iaff")


def pinned(row: dict[str, Any]) -> tuple[int, dict[str, int], dict[str, int]]:
    assert row["difference"] == {"evaluation": pytest.approx(0, abs=1e-6), "training": pytest.approx(0, abs=1e-6)}
    return row["merges"], row["points"], row["not_varied"]


@pytest.mark.slow
def test_the_survey_of_three() -> None:
    rows = {row["model"]: row for row in survey(QUICK, SIX)}
    assert {name: pinned(row) for name, row in rows.items()} == {name: FOUND[name] for name in QUICK}
    assert rows["resnet18"]["size"] == 14**8


@pytest.mark.slow
def test_the_survey_of_eleven() -> None:
    found = {row["model"]: pinned(row) for row in survey(operators=SIX)}
    assert list(found) == list(SURVEYED)
    assert found == FOUND


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=[pytest.mark.slow, pytest.mark.long]) for name in SURVEYED],
)
def test_another_architecture_starts_as_the_original_and_trains(name: str) -> None:
    torch.manual_seed(0)
    model, images = SURVEYED[name](), torch.randn(2, 3, 64, 64)
    enliven(model, images)
    model, images = model.double(), images.double()  # an untrained network amplifies float32's rounding
    space = examine(model, images, SIX)
    for seed in range(2):
        architecture = space.sample(random.Random(seed))
        network = space.build(architecture)
        assert largest_difference(model, network, images, relative=True) <= 1e-9
    trunk = model.state_dict()
    assert all(torch.equal(tensor, network.state_dict()[key]) for key, tensor in trunk.items())
    assert list(space.build(space.baseline).state_dict().keys() ^ trunk.keys()) == []
    network.train()
    output = network(torch.randn(2, 3, 96, 96).double())  # another size than the example's
    tensors = list(output.values()) if isinstance(output, dict) else [output]
    sum(tensor.square().mean() for tensor in tensors).backward()
    used = [parameter for parameter in network.parameters() if parameter.grad is not None]
    # torchvision's pyramid freezes its first layers, and frozen they stay.
    assert len(used) == sum(parameter.requires_grad for parameter in network.parameters())
    frozen = {key for key, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {key for key, parameter in network.named_parameters() if not parameter.requires_grad}
    assert all(parameter.grad.isfinite().all() for parameter in used)


def test_costs_are_exact() -> None:
    model = SURVEYED["mobilenet_v3_small"]()
    space = examine(model, torch.randn(2, 3, 64, 64), SIX)
    architecture = space.sample(random.Random(0))
    network, costs = space.build(architecture), CostTable(space)(architecture)
    assert costs.macs == count_macs(network, torch.zeros(1, 3, 64, 64))
    assert costs.params == count_params(network)


def test_points_say_where_they_are() -> None:
    torch.manual_seed(0)
    space = examine(SURVEYED["resnet18"](), torch.randn(1, 3, 64, 64), SIX)
    names = [f"layer{stage}.{block}.add" for stage in (1, 2, 3, 4) for block in (0, 1)]
    assert [point.name for point in space.points] == names
    shape = space.points[2].shape
    assert (shape.in_channels, shape.channels, shape.height, shape.width, shape.stride) == (64, 128, 8, 8, 2)
    assert space.input.to_json() == {"channels": 3, "size": 64, "classes": 1000}


def test_a_pyramid_has_long_skips_lateral_map_first() -> None:
    torch.manual_seed(0)
    space = examine(SURVEYED["resnet50-fpn backbone"](), torch.randn(1, 3, 64, 64), SIX)
    long = [point.shape for point in space.points if point.shape.kind == "long skip"]
    assert [(shape.name, shape.height, shape.channels) for shape in long] == [
        ("fpn.add1", 4, 256),
        ("fpn.add2", 8, 256),
        ("fpn.add3", 16, 256),
    ]
    node = next(node for node in space.network.template.graph.nodes if node.target == "fpn.add1")
    assert "inner_blocks" in str(node.args[0].target)
    assert "interpolate" in str(node.args[1].target)


@pytest.mark.slow
def test_a_concatenation_keeps_its_order() -> None:
    torch.manual_seed(0)
    space = examine(SURVEYED["densenet121"](), torch.randn(1, 3, 64, 64), SIX)
    inputs = [point.shape.inputs for point in space.points]
    assert [maps for maps in inputs if len(maps) == 2] == [(64, 32), (128, 32), (256, 32), (512, 32)]
    assert all(maps == (maps[0],) + (32,) * (len(maps) - 1) for maps in inputs)
    assert space.points[0].name == "features.denseblock1.denselayer2.cat"
