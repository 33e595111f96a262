"""Spaces over ordinary networks that are named: FILE.py:OBJECT and torchvision:NAME."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from search_spaces import InputSpec, SearchSpace, SpaceError
from search_spaces.user_file import load_object

NET = """
import itertools

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.gamma = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x):
        return torch.relu(x + self.norm(self.conv(x)) * self.gamma)


class Net(nn.Module):
    def __init__(self, num_classes=10, width=8):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.narrow, self.wide = nn.Sequential(Block(width), Block(width)), Block(2 * width)
        self.between = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, x):
        return self.head(self.wide(self.between(self.narrow(self.stem(x)))).mean((2, 3)))


def three():
    return Net(3)


calls = itertools.count(8)


def fickle():
    return Net(width=next(calls))


MODEL = Net()
NUMBER = 3
"""
INPUT = InputSpec(1, 12, 10)


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path}/net.py"


def test_it_is_a_space_like_any_other(net: str) -> None:
    space = SearchSpace.named(f"{net}:Net", INPUT, reductions=[2, 4])
    assert [point.name for point in space.points] == ["narrow.0.add", "narrow.1.add", "wide.add"]
    tied = SearchSpace.named(f"{net}:Net", INPUT, reductions=[2, 4], tie="stage")
    assert [variable.points for variable in tied.variables] == [("narrow.0.add", "narrow.1.add"), ("wide.add",)]
    fixed = SearchSpace.named(f"{net}:Net", INPUT, vary=["wide"])
    assert [variable.name for variable in fixed.variables] == ["wide.add"]
    for one in (space, tied, fixed):
        assert SearchSpace.from_json(one.to_json()).fingerprint == one.fingerprint
        assert pickle.loads(pickle.dumps(one)) == one


def test_all_add_is_the_network_as_the_seed_makes_it(net: str) -> None:
    space = SearchSpace.named(f"{net}:Net", INPUT)
    torch.manual_seed(5)
    original = load_object(f"{net}:Net")(10).eval()
    images = torch.randn(3, 1, 12, 12)
    for architecture in (space.baseline, space.uniform("se"), space.uniform("aff")):
        torch.manual_seed(5)
        network = space.build(architecture).eval()
        assert torch.allclose(network(images), original(images), atol=1e-6)


def test_a_module_keeps_its_weights_whatever_the_seed(net: str) -> None:
    space, original = SearchSpace.named(f"{net}:MODEL", INPUT), load_object(f"{net}:MODEL")
    with torch.no_grad():
        original.head.weight.fill_(0.125)  # changed after nothing but the file was run
    images = torch.randn(3, 1, 12, 12)
    assert torch.allclose(space.build(space.baseline).eval()(images), original.eval()(images), atol=1e-6)


def test_torchvision_is_asked_for_the_classes_of_the_data() -> None:
    space = SearchSpace.named("torchvision:resnet18", InputSpec(3, 32, 7))
    assert space.build(space.baseline).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    assert space.size > 10**6


def test_a_ratio_is_on_offer_where_the_channels_bear_it(net: str) -> None:
    space = SearchSpace.named(f"{net}:Net", INPUT, operators=["add", "se"], reductions=[2, 16])
    narrow, wide = space.points[0], space.points[2]
    assert [str(choice) for choice in narrow.choices] == ["add", "se/2"]
    assert narrow.left_out == {"se/16": "a reduction ratio above its 8 channels"}
    assert [str(choice) for choice in wide.choices] == ["add", "se/2", "se/16"]
    with pytest.raises(SpaceError, match=r"at narrow\.0\.add: a reduction ratio above its 8 channels; choose from add"):
        space.architecture({"narrow.0.add": "se/16", "narrow.1.add": "add", "wide.add": "add"})
    with pytest.raises(SpaceError, match=r"ratio 17 is above the 16 channels of wide\.add, the widest fusion"):
        SearchSpace.named(f"{net}:Net", INPUT, reductions=[2, 17])


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        ("Net", None, r"takes images of any size: give the input, such as InputSpec\(3, 224, 10\)"),
        ("three", INPUT, "gives 3 classes, but there are 10: name a callable that takes num_classes"),
        ("Block", INPUT, r"raised TypeError: .*missing 1 required positional argument"),
        ("Net", InputSpec(3, 12, 10), r"does not run on an input of shape \[2, 3, 12, 12\]"),
        ("NUMBER", INPUT, r"is a int; expected a network design .* an nn\.Module, or a callable"),
    ],
)
def test_bad_references_are_one_clear_line(net: str, name: str, spec: InputSpec | None, message: str) -> None:
    with pytest.raises(SpaceError, match=message) as caught:
        SearchSpace.named(f"{net}:{name}", spec)
    assert "\n" not in str(caught.value)


def test_a_callable_that_returns_other_networks(net: str) -> None:
    space = SearchSpace.named(f"{net}:fickle", INPUT)
    with pytest.raises(SpaceError, match=r"gives another network each time it is called \(stem\.weight"):
        space.build(space.baseline)
