"""How networks are put together: calls of few arguments that a design can name, and weights that fit or are refused."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import fields

import pytest
import torch
from torch import nn

import search_spaces
from search_spaces import FusionChoice, FusionSettings, InputSpec, SearchSpace, SpaceError, design, names
from search_spaces.catalogue import HEADS
from search_spaces.loading import load_weights
from search_spaces.networks import ConstructedDesign, PyramidDesign
from search_spaces.space import fusion_at, fusion_modules

SMALL = InputSpec(3, 64, 4)
PYRAMIDS = [name for name in names() if isinstance(design(name), PyramidDesign)]
ALL = [*names(), *(f"{name}-{head}" for name in PYRAMIDS for head in HEADS)]


def test_no_network_or_operator_is_called_with_more_than_six_arguments() -> None:
    """Those of `FusionSettings` aside, which an operator that knows them is handed by name, whichever they are."""
    settings, long = {field.name for field in fields(FusionSettings)}, []
    for found in pkgutil.walk_packages(search_spaces.__path__, "search_spaces."):
        for _, cls in inspect.getmembers(importlib.import_module(found.name), inspect.isclass):
            ours = cls.__module__ == found.name and "__init__" in vars(cls)
            if ours and issubclass(cls, nn.Module | ConstructedDesign):
                arguments = set(inspect.signature(cls).parameters) - settings
                long += [f"{cls.__name__}: {sorted(arguments)}"] if len(arguments) > 6 else []
    assert long == []


@pytest.mark.parametrize("name", ALL)
def test_every_design_of_the_catalogue_names_the_call_that_builds_it(name: str) -> None:
    found = design(name)
    assert isinstance(found, ConstructedDesign)
    cls, arguments = found.construction(SMALL)
    assert set(inspect.signature(cls).parameters) == {*arguments, "fuse"}


@pytest.mark.parametrize("name", ["resnet8", "inception-cifar", "resnet8-pan-fcos", "resnet20-bifpn"])
def test_build_is_that_call(name: str) -> None:
    found = design(name)
    shapes = {shape.name: shape for shape in found.points(SMALL)}
    cls, arguments = found.construction(SMALL)  # type: ignore[attr-defined]
    networks = []
    for make in (lambda fuse: cls(**arguments, fuse=fuse), lambda fuse: found.build(SMALL, fuse)):
        torch.manual_seed(3)
        networks.append(make(lambda point, channels: fusion_at(shapes[point], FusionChoice("add"))))
    first, second = (network.state_dict() for network in networks)
    assert type(networks[0]) is type(networks[1])
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_points_keep_their_names_wherever_trunk_and_neck_stand() -> None:
    space = SearchSpace.named("resnet8-pan-fcos", SMALL)
    network = space.build(space.baseline)
    assert network.get_submodule("backbone.body.layer1.0.fuse") is fusion_modules(network)["layer1.0"]
    assert network.get_submodule("backbone.fpn.p3.fuse") is fusion_modules(network)["fpn.p3"]
    assert network.get_submodule("backbone.pan.n4.fuse") is fusion_modules(network)["pan.n4"]


@pytest.mark.parametrize("name", ["resnet8-fpn", "resnet8-pan-semantic"])
def test_weights_under_the_names_of_earlier_versions_are_refused_whole(name: str) -> None:
    space = SearchSpace.named(name, SMALL)
    network = space.build(space.baseline)
    earlier = {
        key.removeprefix("backbone.").removeprefix("body."): torch.zeros_like(value)
        for key, value in network.state_dict().items()
    }
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(SpaceError) as error:
        load_weights(network, earlier, "trial 7")
    assert str(error.value).startswith(
        "trial 7 lacks the weight 'backbone.body.conv1.weight': it is of another network"
    )
    assert "earlier version" in str(error.value)
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_weights_that_do_not_fit_are_named() -> None:
    space = SearchSpace.named("resnet8", SMALL)
    network = space.build(space.baseline)
    state = space.build(space.baseline).state_dict()
    load_weights(network, state, "trial 7")
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    with pytest.raises(SpaceError, match="trial 7 has the weight 'more', which the network has not"):
        load_weights(network, {**state, "more": torch.zeros(1)}, "trial 7")
    with pytest.raises(SpaceError, match=r"'fc.bias' has shape \[5\], but the network has \[4\]"):
        load_weights(network, {**state, "fc.bias": torch.zeros(5)}, "trial 7")
