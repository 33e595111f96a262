"""Discovery in small networks: every way to write a merge, every reason not to vary one, both modes."""

from __future__ import annotations

import copy
import io
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from search_spaces import DiscoveredSpace, SearchSpace, SpaceError, discover
from search_spaces.discovery import examine
from search_spaces.discovery.rewriting import largest_difference

IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two convolutions of 8 channels and a merge given as a function of (module, x, y)."""

    def __init__(self, merge: Callable[[Net, torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.weight = nn.Parameter(torch.ones(1, 8, 1, 1))
        self.merge = merge

    def forward(self, x: torch.Tensor) -> Any:
        x = F.relu(self.first(x))
        return self.merge(self, x, self.bn(self.second(x)))


def assert_same(model: nn.Module, network: nn.Module, tolerance: float = 1e-6) -> None:
    assert largest_difference(model, network, IMAGES) <= tolerance


def _iadd(net: Net, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    y += x
    return y


def _iadd_and_read(net: Net, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    alias = y
    y += x
    return alias * 2 + y


def _iadd_identity(net: Net, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x += y
    return x * 3


SUMS: dict[str, Callable[[Net, torch.Tensor, torch.Tensor], Any]] = {
    "operator": lambda net, x, y: F.relu(x + y),
    "swapped": lambda net, x, y: F.relu(y + x),
    "function": lambda net, x, y: torch.add(y, x),
    "keywords": lambda net, x, y: torch.add(input=y, other=x),
    "method": lambda net, x, y: y.add(x),
    "in place method": lambda net, x, y: y.add_(x),
    "in place": _iadd,
    "in place into the identity": _iadd_identity,
    "relu in place": lambda net, x, y: F.relu_(x + y),
}


@pytest.mark.parametrize("merge", SUMS.values(), ids=SUMS)
def test_every_way_to_write_a_sum(merge: Callable[[Net, torch.Tensor, torch.Tensor], Any]) -> None:
    model = Net(merge)
    space = discover(model, IMAGES)
    (point,) = space.points
    shape = point.shape
    assert (point.name, shape.kind, shape.merge, shape.inputs) == ("add", "short skip", "sum", (8, 8))
    assert (shape.channels, shape.height, shape.width, shape.stride) == (8, 16, 16, 1)
    assert space.not_varied == ()
    for architecture in space.enumerate():
        network = space.build(architecture)
        assert_same(model, network, 1e-6 if architecture == space.baseline else 1e-5)
    assert largest_difference(model, space.build(space.baseline), IMAGES, training=True) == 0


@pytest.mark.parametrize("name", ["cat", "concat", "concatenate"])
@pytest.mark.parametrize("dim", [{"dim": 1}, {"dim": -3}])
def test_every_way_to_concatenate(name: str, dim: dict[str, int]) -> None:
    model = Net(lambda net, x, y: getattr(torch, name)([y, x[:, :5]], **dim))
    space = discover(model, IMAGES)
    (point,) = space.points
    assert (point.name, point.shape.kind, point.shape.merge) == ("cat", "same layer", "cat")
    assert (point.shape.inputs, point.shape.channels) == ((8, 5), 13)
    for architecture in space.enumerate():
        assert_same(model, space.build(architecture), 1e-5)


def test_hstack_concatenates_channels() -> None:
    model = Net(lambda net, x, y: torch.hstack([x, y]))
    space = discover(model, IMAGES)
    (point,) = space.points
    assert (point.name, point.shape.merge, point.shape.inputs) == ("cat", "cat", (8, 8))
    with torch.no_grad():
        assert torch.equal(space.build(space.baseline).eval()(IMAGES), model.eval()(IMAGES))


def test_x_is_the_map_behind_which_fewer_steps_lie() -> None:
    seen: list[torch.Tensor] = []

    class Spy(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            seen.extend([x, y])
            return x + y

    for merge in (SUMS["operator"], SUMS["swapped"]):
        model = Net(merge).eval()
        space = discover(model, IMAGES)
        network = space.network.build(space.input, lambda name, channels: Spy()).eval()
        seen.clear()
        network(IMAGES)
        torch.testing.assert_close(seen[0], F.relu(model.first(IMAGES)))


# ---- what is not varied


def _reason(merge: Callable[[Net, torch.Tensor, torch.Tensor], Any]) -> list[tuple[str, str]]:
    model = Net(merge)
    space = examine(model, IMAGES)
    assert_same(model, space.build(space.baseline))
    assert largest_difference(model, space.build(space.baseline), IMAGES, training=True) == 0
    assert not space.points
    return [(place.location, place.reason) for place in space.not_varied]


@pytest.mark.parametrize(
    ("merge", "reason"),
    [
        (lambda net, x, y: y + 3, "a sum with the number 3"),
        (lambda net, x, y: 0.5 + y, "a sum with the number 0.5"),
        (lambda net, x, y: y + net.weight, "a sum with a parameter or constant"),
        (lambda net, x, y: y + torch.ones(8, 1, 1), "a sum with a parameter or constant"),
        (lambda net, x, y: y + x.mean((2, 3), keepdim=True), "a broadcasting sum of [4, 8, 16, 16] and [4, 8, 1, 1]"),
        (lambda net, x, y: torch.add(x, y, alpha=2), "a weighted sum (alpha=2)"),
        (lambda net, x, y: y + y, "a map added to itself"),
        (lambda net, x, y: x.mean((2, 3)) + y.mean((2, 3)), "a merge of 2-D tensors [4, 8], not of feature maps"),
        (lambda net, x, y: torch.cat([x.flatten(1), y.flatten(1)], 1), "a merge of 2-D tensors [4, 4096]"),
        (lambda net, x, y: torch.cat([x, y], dim=0), "a concatenation along dimension 0, not the channels"),
        (lambda net, x, y: torch.cat([x, y], 3), "a concatenation along dimension 3, not the channels"),
        (lambda net, x, y: torch.cat([y], 1), "a concatenation of one map"),
        (lambda net, x, y: torch.cat([y, net.weight.expand(4, 8, 16, 16)], 1), "with a parameter or constant"),
        (lambda net, x, y: torch.cat(y.split(4, 1), 1), "a list that is made when the network runs"),
        (lambda net, x, y: torch.stack([x, y]).sum(0), "a stack"),
        (lambda net, x, y: (x > 0).int() + (y > 0).int(), "not of one floating-point type"),
        (lambda net, x, y: x.permute(0, 2, 3, 1) + y.permute(0, 2, 3, 1), "laid out as [B, H, W, C]"),
    ],
)
def test_what_is_not_varied_is_named_with_its_reason(merge: Any, reason: str) -> None:
    ((location, given),) = _reason(merge)
    assert location in ("add", "cat", "stack")
    assert reason in given


def test_a_merge_needs_an_operator_that_can_stand_there() -> None:
    model = Net(lambda net, x, y: torch.cat([x, y, x], 1))
    choices = discover(model, IMAGES, reductions=(4,)).points[0].choices
    assert [str(choice) for choice in choices] == ["add", "concat", "se/4", "cbam/4", "aff/4", "iaff/4"]
    (place,) = examine(model, IMAGES, operators=("add", "mscam", "cross_modal")).not_varied
    assert place.reason == "of the operators on offer only add can stand at a concatenation"
    (place,) = examine(Net(lambda net, x, y: x + y), IMAGES, operators=("add",)).not_varied
    assert place.reason == "of the operators on offer only add merges two maps"


def test_sizes_and_gates_are_no_merges() -> None:
    model = Net(lambda net, x, y: (x + y).view(x.shape[0] + 0, -1)[:, : x.shape[1] + 1] * torch.sigmoid(y).mean())
    assert [point.name for point in discover(model, IMAGES).points] == ["add"]
    assert discover(model, IMAGES).not_varied == ()


def test_nothing_to_vary_is_an_error_that_says_why() -> None:
    with pytest.raises(SpaceError, match="Net has no merge that can be varied: add: a sum with the number 1"):
        discover(Net(lambda net, x, y: y + 1), IMAGES)
    with pytest.raises(SpaceError, match="it has none at all"):
        discover(nn.Conv2d(3, 4, 1), IMAGES)


def test_the_default_ratios_give_way_in_a_narrow_network_and_others_are_refused() -> None:
    space = discover(Net(SUMS["operator"]), IMAGES, operators=("add", "aff"))
    assert [str(choice) for choice in space.points[0].choices] == ["add", "aff/4"]
    with pytest.raises(SpaceError, match=r"reduction ratio 16 is above the \d channels of add, the widest"):
        discover(Net(SUMS["operator"]), IMAGES, operators=("add", "aff"), reductions=(2, 16))
    with pytest.raises(SpaceError, match="unknown fusion operator 'afff': did you mean 'aff'"):
        discover(Net(SUMS["operator"]), IMAGES, operators=("add", "afff"))
    with pytest.raises(SpaceError, match="operators lack 'add'"):
        discover(Net(SUMS["operator"]), IMAGES, operators=("aff",))


# ---- in place


def test_in_place_keeps_its_meaning_for_every_name_of_the_map() -> None:
    model = Net(_iadd_and_read)
    space = discover(model, IMAGES)
    assert [point.name for point in space.points] == ["add1", "add2"]
    assert_same(model, space.build(space.baseline))
    assert_same(model, space.build(space.uniform("aff")), 1e-5)


def test_in_place_under_another_name_is_refused_and_kept() -> None:
    def merge(net: Net, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        view = y[:, :4]
        y += x
        return torch.cat([view, y], 1)

    model = Net(merge)
    space = discover(model, IMAGES)
    assert [point.name for point in space.points] == ["cat"]
    assert [(p.location, p.reason) for p in space.not_varied] == [
        ("add", "an in-place sum whose map is read elsewhere under another name")
    ]
    assert_same(model, space.build(space.uniform("concat")), 1e-5)


# ---- modules: shared, opaque, dynamic


class Block(nn.Module):
    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x)


class Dynamic(Block):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x + self.conv(x)
        return x


class Sized(Block):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.max_pool2d(self.conv(x), 2)
        if y.shape[-2:] != x.shape[-2:]:
            y = F.interpolate(y, size=x.shape[-2:])
        return x + y


class Noisy(Block):
    """Dropout by self.training as an argument, and one branch on it in a submodule."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + F.dropout(self.conv(x), 0.5, training=self.training)


class DropPath(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        return x * x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(0.5) * 2


class Dropped(Block):
    def __init__(self) -> None:
        super().__init__()
        self.path = DropPath()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.path(self.conv(x))


class Stepwise(Block):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            x = x + self.conv(x)
        return x


def chain(*blocks: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(stem=nn.Conv2d(3, 8, 1), **{f"b{i}": block for i, block in enumerate(blocks)}))


def names(space: DiscoveredSpace) -> list[str]:
    return [point.name for point in space.points]


def test_a_shared_module_is_named_with_its_calls() -> None:
    shared = Block()
    space = discover(chain(Block(), shared, shared), IMAGES)
    assert names(space) == ["b0.add"]
    assert [place.location for place in space.not_varied] == ["b1.add", "b1.add (call 2)"]
    assert "b1 runs 2 times with the same weights" in space.not_varied[0].reason


def test_a_loop_in_one_forward_is_as_many_points() -> None:
    assert names(discover(chain(Stepwise()), IMAGES)) == ["b0.add1", "b0.add2"]


def test_what_cannot_be_traced_is_kept_whole() -> None:
    model = chain(Block(), Dynamic(), Block())
    space = discover(model, IMAGES)
    assert names(space) == ["b0.add", "b2.add"]
    (place,) = space.not_varied
    assert place.location == "b1"
    assert "depends on the values of a tensor" in place.reason
    for images in (IMAGES, -10 * IMAGES.abs()):
        assert largest_difference(model, space.build(space.baseline), images) == 0


def test_an_outermost_forward_that_cannot_be_traced_is_an_error_with_a_hint() -> None:
    with pytest.raises(SpaceError, match=r"Dynamic cannot be searched: .*values of a tensor.*hint: move that part"):
        discover(Dynamic(3), IMAGES)

    class Other(Block):
        def forward(self, x: torch.Tensor) -> Any:
            return (self.conv(x), x) if self.training else x + self.conv(x)

    with pytest.raises(SpaceError, match="other steps in training than in evaluation"):
        discover(Other(3), IMAGES)


def test_a_branch_on_a_shape_is_decided_and_noted() -> None:
    model = chain(Sized())
    space = discover(model, IMAGES)
    assert space.points[0].shape.kind == "long skip"
    assert space.notes == ("b0: a branch was decided (True) for inputs of shape 4x3x16x16",)
    assert largest_difference(model, space.build(space.baseline), torch.randn(2, 3, 24, 24)) == 0


def test_compiled_and_composite_layers_are_named() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.layer(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)

    space = discover(chain(Attention()), IMAGES)
    assert [(p.location, p.reason) for p in space.not_varied] == [
        ("b0.layer", "module kept whole: what torch.nn.TransformerEncoderLayer merges inside is not seen")
    ]


@pytest.mark.parametrize("block", [Noisy, Dropped])
def test_training_is_as_in_the_original(block: type[Block]) -> None:
    model = chain(block(), Block())
    space = discover(model.eval(), IMAGES)
    assert names(space) == ["b0.add", "b1.add"]
    network = space.build(space.baseline)
    assert largest_difference(model, network, IMAGES, training=True) == 0
    assert largest_difference(model, network, IMAGES) == 0
    network.train()
    # each draw drops something else: five equal ones would need the same coins for every image five times
    assert any(not torch.equal(network(IMAGES), network(IMAGES)) for _ in range(5))
    network.eval()
    assert torch.equal(network(IMAGES), network(IMAGES))


def test_statistics_move_as_in_the_original() -> None:
    model = Net(SUMS["operator"]).train()
    network = discover(model, IMAGES)
    built = network.build(network.baseline).train()
    model(IMAGES)
    built(IMAGES)
    for (name, tensor), (other, value) in zip(
        sorted(model.state_dict().items()), sorted(built.state_dict().items()), strict=True
    ):
        assert name == other
        assert torch.equal(tensor, value)


# ---- the space, and what it builds


def test_the_model_is_left_alone_and_its_modes_are_kept() -> None:
    model = chain(Noisy(), Block())
    model.train()
    model.b0.eval()
    before = copy.deepcopy(model.state_dict())
    space = discover(model, IMAGES)
    assert [module.training for module in (model, model.b0, model.b1)] == [True, False, True]
    network = space.build(space.uniform("aff"))
    assert [network.get_submodule(path).training for path in ("", "b0", "b0.add", "b1.add")] == [
        True, False, False, True,
    ]  # fmt: skip
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_it_is_a_search_space() -> None:
    space = discover(chain(Block(), Block()), IMAGES)
    assert isinstance(space, SearchSpace)
    assert space.size == len(space.points[0].choices) ** 2
    assert (space.input.channels, space.input.size, space.name) == (3, 16, "Sequential")
    architecture = space.architecture({"b0.add": "se/4", "b1.add": "add"})
    assert len(list(space.neighbours(architecture))) == 2 * (len(space.points[0].choices) - 1)
    assert space.sample(random.Random(0)).space == space.name
    with pytest.raises(SpaceError, match=r"unknown fusion point of Sequential 'b2\.add'"):
        space.architecture({"b2.add": "add"})
    with pytest.raises(SpaceError, match="architecture of space 'resnet8'"):
        space.build(SearchSpace.named("resnet8").baseline)
    assert space.to_json()["points"][0]["name"] == "b0.add"


def test_a_name_of_the_network_is_not_taken_twice() -> None:
    class Named(Block):
        def __init__(self) -> None:
            super().__init__()
            self.add = nn.Conv2d(8, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.add(x)

    model = chain(Named())
    space = discover(model, IMAGES)
    assert names(space) == ["b0.add_fusion"]
    assert_same(model, space.build(space.uniform("cbam")), 1e-5)


def test_unused_weights_and_constants_keep_the_state_dict_the_originals() -> None:
    class Odd(Block):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(3, 4)
            self.register_buffer("table", torch.ones(8, 1, 1))
            self.plain = torch.full((8, 1, 1), 2.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + self.conv(x)) * self.plain * self.table * torch.tensor(2.0)

    model = chain(Odd())
    network = (space := discover(model, IMAGES)).build(space.baseline)
    assert set(network.state_dict()) == set(model.state_dict())
    network.load_state_dict(model.state_dict())
    assert_same(model, network)


def test_outputs_keep_their_structure() -> None:
    model = Net(lambda net, x, y: OrderedDict(low=x, high=(x + y, [y])))
    space = discover(model, IMAGES)
    output = space.build(space.baseline).eval()(IMAGES)
    assert type(output) is OrderedDict
    assert list(output) == ["low", "high"]


def test_arguments_with_defaults_keep_them() -> None:
    class Optional(Block):
        def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, scale: float = 2.0) -> torch.Tensor:
            y = x + self.conv(x) * scale
            return y if mask is None else y * mask

    model = Optional(3)
    space = discover(model, IMAGES, reductions=(2,))
    assert_same(model, space.build(space.uniform("aff")), 1e-5)


@pytest.mark.parametrize("op", ["concat", "se", "cbam", "aff", "iaff"])
def test_it_trains(op: str) -> None:
    torch.manual_seed(0)
    space = discover(chain(Noisy(), Dropped(), Block()), IMAGES)
    network = space.build(space.uniform(op)).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = (network(IMAGES) - 1).square().mean()
        loss.backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert all(bool(p.grad.abs().sum() > 0) for name, p in network.named_parameters() if "conv.weight" in name)


def test_it_can_be_copied_and_saved() -> None:
    space = discover(chain(Noisy(), Block()), IMAGES)
    network = space.build(space.uniform("aff")).eval()
    buffer = io.BytesIO()
    torch.save(network, buffer)
    buffer.seek(0)
    for other in (copy.deepcopy(network), torch.load(buffer, weights_only=False)):
        assert torch.equal(other(IMAGES), network(IMAGES))


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        ("resnet18", IMAGES, "a model is a torch.nn.Module, not str"),
        (nn.Conv2d(3, 4, 1), IMAGES[0], r"a tensor \[B, C, H, W\], not \(3, 16, 16\)"),
        (nn.Conv2d(3, 4, 1), [1], r"a tensor \[B, C, H, W\], not list"),
        (nn.Conv2d(5, 4, 1), IMAGES, r"Conv2d does not run on an input of shape \[4, 3, 16, 16\]: RuntimeError"),
    ],
)
def test_bad_input_is_one_clear_line(model: Any, example: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        discover(model, example)
