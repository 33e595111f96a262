"""Habits of people's networks: what is unwrapped, kept whole, or refused in one line that says the mend."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from search_spaces import DiscoveredSpace, SpaceError, discover, inherit
from search_spaces.discovery import tracing
from search_spaces.discovery.exactness import difference

IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
RNG = numpy.random.default_rng(0)


class Block(nn.Module):
    """x + conv(x), of 8 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x)


def net(*blocks: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *blocks)


def made(forward: Callable[[Any, torch.Tensor], torch.Tensor], **parts: Any) -> Block:
    """A block with that forward and those attributes."""
    block = type("Made", (Block,), {"forward": forward})()
    for name, part in parts.items():
        setattr(block, name, part)
    assert isinstance(block, Block)
    return block


def whole(block: nn.Module) -> str:
    """Why the block is kept whole, which is beside another; the network is the original, whatever the seed."""
    answers = []
    for seed in range(3):
        torch.manual_seed(seed)
        model = net(Block(), block)
        before = copy.deepcopy(model.state_dict())
        space = discover(model, IMAGES)
        assert difference(model, space.build(space.baseline), IMAGES) == ""
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
        answers.append((tuple(point.name for point in space.points), space.not_varied))
    assert len(set(answers)) == 1
    points, (place,) = answers[0]
    assert points == ("1.add",)
    assert place.location == "2"
    return place.reason.removeprefix("module kept whole: ")


# ---- fault 21


def test_a_network_is_taken_out_of_what_wraps_it() -> None:
    plain = discover(net(Block()), IMAGES)
    averaged = torch.optim.swa_utils.AveragedModel(net(Block()))
    for wrapped in (
        averaged,
        nn.DataParallel(net(Block())),
        torch.compile(net(Block())),
        net(nn.DataParallel(Block())),
    ):
        space = discover(wrapped, IMAGES)
        assert [point.name for point in space.points] == [point.name for point in plain.points]
        assert set(space.build(space.baseline).state_dict()) == set(plain.build(plain.baseline).state_dict())


def test_a_parent_is_taken_out_of_its_wrapper_too() -> None:
    model = net(Block())
    space = discover(model, IMAGES)
    child = inherit(nn.DataParallel(model), space.baseline, space)
    assert torch.equal(child.eval()(IMAGES), model.eval()(IMAGES))


def _pruned() -> nn.Module:
    model = net(Block())
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


def _with_a_gradient_hook() -> nn.Module:
    model = net(Block())
    model[0].weight.register_hook(lambda gradient: gradient * 0.5)
    return model


def _scripted() -> nn.Module:
    return torch.jit.script(nn.Conv2d(3, 4, 1))


def _odd(**tensors: torch.Tensor) -> nn.Module:
    block = Block()
    for name, tensor in tensors.items():
        block.register_buffer(name, tensor)
    return net(block)


class Extra(Block):
    def get_extra_state(self) -> Any:
        return {"epoch": 3}

    def set_extra_state(self, state: Any) -> None:
        pass


class Locked(Block):
    def __init__(self) -> None:
        super().__init__()
        self.made_of = (number for number in range(3))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_scripted, "TorchScript, which cannot be taken apart: give the module it was made of"),
        (lambda: net(nn.LazyConv2d(8, 1)), r"1\.weight is built lazily, at the first call: call the network once"),
        (lambda: net(Block()).half(), r"0\.weight is float16, .* give model\.float\(\)"),
        (lambda: net(Block()).bfloat16(), r"0\.weight is bfloat16, .* give model\.float\(\)"),
        (lambda: net(Block()).double(), r"0\.weight is float64, .* give model\.float\(\)"),
        (lambda: _odd(scale=torch.ones(1).double()), r"1\.scale is float64"),
        (lambda: _odd(wave=torch.ones(1, dtype=torch.complex64)), r"1\.wave is complex64, which weights\.safetensors"),
        (lambda: net(Block()).to("meta"), r"0\.weight is without data"),
        (lambda: net(Extra()), r"1, a Extra, keeps more than tensors among its weights \(get_extra_state\)"),
        (lambda: net(Locked()), "cannot be copied: TypeError: cannot pickle 'generator' object"),
        (lambda: net(nn.utils.weight_norm(nn.Conv2d(8, 8, 1))), r"use torch\.nn\.utils\.parametrizations\.weight_norm"),
        (_with_a_gradient_hook, r"0\.weight has a hook on its gradient, .*: take it off"),
        (_pruned, "0 is pruned by a hook: make it final by torch.nn.utils.prune.remove"),
    ],
)
def test_what_cannot_be_searched_is_one_line(model: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(SpaceError, match=message) as raised:
        discover(model(), IMAGES)
    assert "\n" not in str(raised.value)


# ---- fault 04: draws, counters, modes, sizes

DRAWS: dict[str, Block] = {
    "torch": made(lambda s, x: x if s.training and torch.rand(1).item() < 0.3 else x + s.conv(x)),
    "held": made(lambda s, x: x + s.conv(x) * torch.rand(1)),
    "python": made(lambda s, x: x if s.training and random.random() < 0.3 else x + s.conv(x)),
    "numpy": made(lambda s, x: x if s.training and numpy.random.rand() < 0.3 else x + s.conv(x)),
    "of the file": made(lambda s, x: x if s.training and RNG.random() < 0.3 else x + s.conv(x)),
    "its own": made(lambda s, x: x if s.training and s.rng.random() < 0.3 else x + s.conv(x), rng=random.Random(0)),
    "a generator": made(
        lambda s, x: x if s.training and torch.rand(1, generator=s.rng) < 0.3 else x + s.conv(x),
        rng=torch.Generator().manual_seed(0),
    ),
}


@pytest.mark.parametrize("name", [name for name in DRAWS if name != "held"])
def test_a_draw_is_kept_whole(name: str) -> None:
    assert whole(DRAWS[name]) == "its forward draws random numbers and decides by them, or holds what it drew"


def test_what_is_random_in_evaluation_is_refused() -> None:
    class Noisy(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x + torch.randn_like(x))

    message = "in evaluation it gives other outputs each time for the same images"
    with pytest.raises(
        SpaceError, match=rf"{message} \(2: its forward draws random numbers .*\): let it draw or count"
    ):
        discover(net(Block(), DRAWS["held"]), IMAGES)
    with pytest.raises(SpaceError, match=message):
        discover(Noisy(*net(Block())), IMAGES)
    with pytest.raises(SpaceError, match=rf"{message} \(2: its forward changes its attribute 'calls'"):
        discover(net(Block(), made(_counts, calls=0)), IMAGES)


def _counts(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.calls += 1
    return x + self.conv(x) * (1 + self.calls % 2)


def _counts_in_training(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.calls += self.training
    return x + self.conv(x) * (1 + self.calls % 2)


def _without_gradients(self: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        y = self.conv(x)
    return x + y


def _by_name(self: Any, x: torch.Tensor) -> torch.Tensor:
    first, second = self.conv.parameters()
    return x + F.conv2d(x, first * 2, second, padding=1)


def _loop(self: Any, x: torch.Tensor) -> torch.Tensor:
    for part in x.split(4, 2):
        x = x + part.mean()
    return x + self.conv(x)


class Freezing(Block):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.norm(self.conv(x))

    def train(self, mode: bool = True) -> Freezing:
        super().train(mode)
        self.norm.eval()
        return self


def _hooked() -> Block:
    block = Block()
    block.register_forward_hook(lambda module, given, result: result * 0.5)
    return block


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (made(_counts_in_training, calls=0), "its forward changes its attribute 'calls', which the next pass reads"),
        (made(_without_gradients), "its forward runs a part under torch.no_grad, torch.autocast or the like"),
        (made(_loop), "its forward takes other steps for inputs of 3x3x17x16 than of 3x3x16x16"),
        (made(lambda s, x: x + s.conv(x) if x.shape[-1] > 16 else x), "its forward takes other steps for inputs of"),
        (made(lambda s, x: x + s.conv(x) * (1 if s.training else 2)), "its forward takes other steps in training than"),
        (made(lambda s, x: (y := s.conv(x), z := F.relu(x), y + (z if s.training else x))[-1]), "other steps in train"),
        (Freezing(), "its train() method is its own, and sets modes that a graph would not be in"),
        (_hooked(), "it has hooks, which run as they are and are not followed"),
    ],
)
def test_what_a_graph_would_not_hold_is_kept_whole(block: Block, reason: str) -> None:
    assert reason in whole(block)


def test_parameters_that_are_read_by_no_name_are_kept_whole_or_followed() -> None:
    model = net(Block(), made(_by_name))
    space = discover(model, IMAGES)
    assert difference(model, space.build(space.baseline), IMAGES) == ""


def test_the_outermost_forward_cannot_be_kept_whole() -> None:
    class Root(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x if torch.rand(1).item() < 0.5 else x * 1)

    with pytest.raises(SpaceError, match=r"the outermost forward: its forward draws random numbers .*hint: move that"):
        discover(Root(*net(Block())), IMAGES)
    hooked = net(Block())
    hooked.register_forward_pre_hook(lambda module, given: None)
    with pytest.raises(SpaceError, match=r"Sequential cannot be searched: it has hooks, .*hint: take that off"):
        discover(hooked, IMAGES)


def test_results_that_a_forward_stores_are_no_part_of_the_network() -> None:
    def stores(self: Any, x: torch.Tensor) -> torch.Tensor:
        self.last, self.seen[:] = x, [x]
        return x + self.conv(x)

    model = net(made(stores, last=None, seen=[]))
    space = discover(model, IMAGES)
    assert [point.name for point in space.points] == ["1.add"]
    assert copy.deepcopy(space.build(space.baseline))(IMAGES).shape == (3, 8, 16, 16)


def test_layers_that_are_never_called_are_noted() -> None:
    model = net(made(Block.forward, spare=nn.Sequential(nn.Conv2d(3, 3, 1))))
    space = discover(model, IMAGES)
    assert space.notes == ("1.spare: forward never calls it; its weights stay as they are",)


def test_hooks_of_layers_stay_with_them() -> None:
    block = Block()
    block.conv.register_forward_hook(lambda module, given, result: result * 0.5)
    space = discover(net(block), IMAGES)
    assert difference(net(block), space.build(space.baseline), IMAGES)  # other weights
    model = net(block)
    assert difference(model, (space := discover(model, IMAGES)).build(space.baseline), IMAGES) == ""


def test_a_parametrized_layer_stays_one() -> None:
    model = net(made(lambda s, x: x + s.a(x), a=parametrizations.weight_norm(nn.Conv2d(8, 8, 3, padding=1))))
    space = discover(model, IMAGES)
    assert not space.not_varied
    assert set(space.build(space.baseline).state_dict()) == set(model.state_dict())


# ---- fault 18: what is no map


def _reasons(space: DiscoveredSpace) -> list[str]:
    return [place.reason for place in space.not_varied]


def _tokens(self: Any, x: torch.Tensor) -> torch.Tensor:
    t = x.flatten(2).transpose(1, 2)
    q = self.l(t).view(x.shape[0], -1, 2, 4).transpose(1, 2)
    a = (q @ q.transpose(-1, -2) + q @ q.transpose(-1, -2) * 0.5).softmax(-1)
    y = (a @ q).transpose(1, 2).reshape(x.shape[0], -1, 8).transpose(1, 2).reshape(x.shape)
    return x + y


def _windows(self: Any, x: torch.Tensor) -> torch.Tensor:
    b, c, h, w = x.shape
    t = x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, 16, c)
    t = t + self.l(t)
    return x + t.view(b, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)


def _last(self: Any, x: torch.Tensor) -> torch.Tensor:
    t = x.permute(0, 2, 3, 1)
    return (t + self.l(t)).permute(0, 3, 1, 2) + x


def _last_by_transposes(self: Any, x: torch.Tensor) -> torch.Tensor:
    t = x.transpose(1, 2).transpose(2, 3)
    return (t + self.l(t)).transpose(2, 3).transpose(1, 2) + x


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (_tokens, "a merge of [3, 2, 256, 256], which are no feature maps [B, C, H, W]"),
        (_windows, "a merge of [3, 16, 16, 8], which are no feature maps [B, C, H, W]"),
        (_last, "a map laid out as [B, H, W, C], and fusion operators take [B, C, H, W]"),
        (_last_by_transposes, "a map laid out as [B, H, W, C], and fusion operators take [B, C, H, W]"),
        (lambda s, x: (x.double() + s.conv(x).double()).float() + x, "its maps are float64, and fusion operators"),
    ],
)
def test_what_is_no_map_is_no_point(forward: Any, reason: str) -> None:
    space = discover(net(made(forward, l=nn.Linear(8, 8))), IMAGES)
    assert len(space.points) == 1
    ((given),) = _reasons(space)
    assert reason in given


# ---- in place after a merge


def test_a_map_that_is_written_into_after_its_merge_is_copied_for_the_fusion() -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        z = x + y
        F.relu_(y)
        return F.relu(z, inplace=True) + y

    model = net(nn.ReLU(), made(forward))
    space = discover(model, IMAGES)
    assert space.notes == ("2.add1: it is given a copy of a map that is changed in place afterwards",)
    for op in space.operators:
        space.build(space.uniform(op)).train()(IMAGES).sum().backward()


class Counting(nn.Module):
    """Takes another step in training, as timm's norms do, which count their batches."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 1.0 if self.training else x


def test_layers_of_a_class_that_differ_in_training_are_found_together(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = []
    original = tracing._trace
    monkeypatch.setattr(tracing, "_trace", lambda *given: traced.append(given) or original(*given))
    model = net(*(nn.Sequential(Block(), Counting()) for _ in range(6)))
    found = tracing.trace(model, IMAGES)
    assert found.whole.keys() == {f"{number}.1" for number in range(1, 7)}
    assert len(traced) == 4  # in evaluation and in training, twice
    assert len(discover(model, IMAGES).points) == 6
