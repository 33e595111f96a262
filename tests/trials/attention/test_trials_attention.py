"""Histograms of attention weights: of gates that are set by hand, they are known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from search_spaces import InputSpec, SearchSpace
from search_spaces.space import fusion_modules
from trials.attention.histograms import BINS, WeightHistogram
from trials.attention.measuring import attention_of
from trials.data import ImageData, Split
from trials.training.trainer import Trainer, evenly_spaced
from trials.trial import Recipe


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_NAS_LOCKS", str(tmp_path))


def data(images: int = 6) -> ImageData:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 1, 28, 28), generator=generator, dtype=torch.uint8)
    split = Split(pixels, torch.zeros(images, dtype=torch.int64))
    return ImageData("drawn", tuple("0123456789"), split, split, None, (0.5,), (0.25,), "0" * 16)


def looked_at(
    *choices: str, given: ImageData | None = None, prepare: Any = lambda modules: None
) -> tuple[WeightHistogram, ...]:
    """Of ResNet-8 with these choices, its weights set by `prepare`."""
    operators = ["add", *{choice.partition("/")[0] for choice in choices}]
    space = SearchSpace.named("resnet8", InputSpec(1, 28, 10), operators)
    architecture = space.architecture(dict(zip(("layer1.0", "layer2.0", "layer3.0"), choices, strict=True)))
    torch.manual_seed(0)
    network = space.build(architecture)
    prepare(fusion_modules(network))
    found = attention_of(3, network, architecture, Trainer(given or data(), Recipe()))
    hooked = [module for module in network.modules() if module._forward_hooks]
    assert not hooked, "what was watched is left as it was"
    return found.histograms


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_the_histogram_of_a_hand_set_gate_is_right() -> None:
    def set_gate(modules: dict[str, nn.Module]) -> None:
        last = modules["layer1.0"].get_submodule("gate.fc2")
        channels = last.bias.shape[0]
        with torch.no_grad():
            last.bias[: channels // 4] = logit(0.01)
            last.bias[channels // 4 : channels // 2] = logit(0.97)
            last.bias[channels // 2 :] = logit(0.31)

    (gate,) = looked_at("se/4", "add", "add", prepare=set_gate)
    assert (gate.point, gate.choice, gate.part, gate.upper) == ("layer1.0", "se/4", "gate", 1.0)
    filled = {i: count for i, count in enumerate(gate.counts) if count}
    assert filled == {0: 6 * 4, int(0.31 * BINS): 6 * 8, int(0.97 * BINS): 6 * 4}
    assert (gate.low, gate.high) == (0.25, 0.25)
    assert gate.mean == pytest.approx(0.01 / 4 + 0.97 / 4 + 0.31 / 2, abs=1e-6)
    assert gate.std == pytest.approx((0.01**2 / 4 + 0.97**2 / 4 + 0.31**2 / 2 - gate.mean**2) ** 0.5, abs=1e-6)


def test_untrained_gates_are_half_open_wherever_they_are() -> None:
    found = looked_at("cbam/4", "iaff/4", "eca")
    assert [(h.point, h.part) for h in found] == [
        ("layer1.0", "channel gate"), ("layer1.0", "spatial gate"), ("layer2.0", "attention1"),
        ("layer2.0", "attention2"), ("layer3.0", "gate"),
    ]  # fmt: skip
    assert [sum(h.counts) for h in found] == [6 * 16, 6 * 784, 6 * 32 * 196, 6 * 32 * 196, 6 * 64]
    assert all((h.mean, h.std, h.low, h.high) == (0.5, 0.0, 0.0, 0.0) for h in found)
    assert all(h.counts[BINS // 2] == sum(h.counts) for h in found)


def test_shares_are_told_apart_and_positions_are_in_even_shares() -> None:
    def prefer(modules: dict[str, nn.Module]) -> None:
        with torch.no_grad():
            modules["layer2.0"].get_submodule("router").bias[2] = 9.0

    found = {(h.point, h.part): h for h in looked_at("sk/4", "dynamic_top1/4", "nonlocal/4", prepare=prefer)}
    shares = [h for (point, _), h in found.items() if point == "layer1.0"]
    assert [h.part for h in shares] == ["share of map 1", "share of map 2"]
    assert [h.mean for h in shares] == [0.5, 0.5]
    chosen = [found["layer2.0", f"share of {expert}"].mean for expert in ("add", "se", "cbam", "concat")]
    assert chosen == [0.0, 0.0, 1.0, 0.0]
    positions = found["layer3.0", "softmax, in even shares"]
    assert positions.upper == 4
    assert sum(positions.counts) == 6 * 49 * 49
    assert positions.mean == pytest.approx(1.0, abs=1e-5)


def test_operators_without_attention_have_none() -> None:
    assert looked_at("concat", "add", "weighted") == ()


def test_it_is_the_same_each_time_and_of_evenly_spaced_images(monkeypatch: pytest.MonkeyPatch) -> None:
    def shake(modules: dict[str, nn.Module]) -> None:
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in modules["layer1.0"].parameters():
                parameter.add_(torch.randn_like(parameter))

    first, second = (looked_at("aff/4", "add", "add", prepare=shake) for _ in range(2))
    assert first == second
    assert first[0].std > 0.01
    monkeypatch.setattr("trials.attention.measuring._CHUNK", 1000)
    (parted,) = looked_at("aff/4", "add", "add", prepare=shake)
    assert parted.counts == first[0].counts
    assert (parted.mean, parted.std) == pytest.approx((first[0].mean, first[0].std))
    assert evenly_spaced(10, 4).tolist() == [0, 2, 5, 7]
    assert evenly_spaced(10, 10).tolist() == list(range(10))


def test_weights_that_are_not_finite_are_refused() -> None:
    def spoil(modules: dict[str, nn.Module]) -> None:
        with torch.no_grad():
            modules["layer1.0"].get_submodule("gate.fc2").bias.fill_(math.nan)

    with pytest.raises((ArithmeticError, ValueError)):
        looked_at("se/4", "add", "add", prepare=spoil)
