"""Where a network concatenates unequal branches: every operator's own form, against the plain `torch.cat`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from search_spaces import FusionChoice, FusionSettings, InputSpec, PointShape, SearchSpace, SpaceError, operator_names
from search_spaces.attention_weights import watched_operator
from search_spaces.closed_forms import CONCATENATIONS, Dims
from search_spaces.fusions import build_concatenation, operator
from search_spaces.fusions.settings import DEFAULT
from search_spaces.properties import perturbed
from search_spaces.space import fusion_at, offer
from trials.costs import count_macs

BRANCHES = ((16, 32, 8, 8), (5, 12))
OFFERED = tuple(name for name in operator_names() if operator(name).cat is not None)


def point(channels: tuple[int, ...], height: int = 6, width: int = 5) -> PointShape:
    return PointShape("mixed", "same layer", 9, sum(channels), height, width, 1, "cat", channels)


def made(name: str, channels: tuple[int, ...], settings: FusionSettings = DEFAULT) -> nn.Module:
    ratio = 4 if operator(name).takes_reduction else None
    return fusion_at(point(channels), FusionChoice(name, ratio), settings)


def branches(channels: tuple[int, ...], batch: int = 3) -> list[torch.Tensor]:
    return [torch.randn(batch, count, 6, 5) for count in channels]


def test_what_is_not_offered_says_why() -> None:
    found = offer(point((5, 12)), operator_names(), (4,))
    assert {choice.op for choice in found.choices} == set(OFFERED)
    assert set(found.left_out) == {"mscam", "cross_modal"}
    for name, reason in found.left_out.items():
        with pytest.raises(SpaceError) as error:
            build_concatenation(FusionChoice(name, 4), (5, 12))
        assert str(error.value) == reason


@pytest.mark.parametrize("channels", BRANCHES, ids=str)
@pytest.mark.parametrize("norm", ["batch", "group", "layer"])
@pytest.mark.parametrize("name", OFFERED)
def test_it_starts_as_the_plain_concatenation(name: str, norm: str, channels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    for training in (False, True):
        maps = branches(channels)
        fused = made(name, channels, FusionSettings(norm=norm)).train(training)(*maps)  # type: ignore[arg-type]
        torch.testing.assert_close(fused, torch.cat(maps, dim=1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", BRANCHES, ids=str)
@pytest.mark.parametrize("name", [name for name in OFFERED if name != "add"])
def test_every_weight_learns(name: str, channels: tuple[int, ...]) -> None:
    """Not only every parameter: every element of a convolution's weights, of which an embedding left most dead."""
    torch.manual_seed(0)
    module = made(name, channels).train()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    maps = branches(channels, 32)
    target = torch.randn_like(torch.cat(maps, dim=1))
    seen = {key: torch.zeros_like(parameter, dtype=torch.bool) for key, parameter in module.named_parameters()}
    for _ in range(operator(name).steps + 1):
        optimiser.zero_grad()
        torch.autograd.backward((module(*maps) - target).square().mean())
        for key, parameter in module.named_parameters():
            if parameter.grad is not None:
                seen[key] |= parameter.grad != 0
        optimiser.step()
    assert [key for key, learns in seen.items() if not learns.any()] == []
    reached = sum(int(learns.sum()) for learns in seen.values())
    assert reached >= 0.9 * sum(learns.numel() for learns in seen.values())  # a ReLU may be off everywhere, by chance


@pytest.mark.parametrize("channels", BRANCHES, ids=str)
@pytest.mark.parametrize("name", OFFERED)
def test_what_it_costs_is_the_closed_form(name: str, channels: tuple[int, ...]) -> None:
    form, total, op = CONCATENATIONS[name], sum(channels), operator(name)
    assert form.params is not None
    assert form.macs is not None
    for norm in ("batch", "group"):
        module = made(name, channels, replace(DEFAULT, norm=norm))  # type: ignore[arg-type]
        dims = Dims.of(op, total, 4 if op.takes_reduction else None, inputs=len(channels), merge="cat")
        assert sum(parameter.numel() for parameter in module.parameters()) == form.params(dims)
        assert count_macs(module, *branches(channels, 1)) == form.macs(dims.over(30, norm))  # type: ignore[arg-type]


def test_concat_has_the_square_of_the_channels_and_add_nothing() -> None:
    assert sum(parameter.numel() for parameter in made("concat", (16, 32, 8, 8)).parameters()) == 64**2
    assert not list(made("add", (16, 32, 8, 8)).parameters())


@pytest.mark.parametrize("name", OFFERED)
def test_maps_of_other_shapes_are_refused(name: str) -> None:
    module = made(name, (5, 12)).eval()
    for shapes in (((2, 12, 6, 5), (2, 5, 6, 5)), ((2, 5, 6, 5), (2, 12, 6, 4)), ((2, 5, 6, 5),)):
        with pytest.raises(ValueError, match=r"cannot be concatenated here: expected \(5, 12\) channels"):
            module(*(torch.randn(shape) for shape in shapes))


@pytest.mark.parametrize("name", [name for name in OFFERED if operator(name).attention])
def test_its_attention_weights_are_seen_where_they_are_registered(name: str) -> None:
    torch.manual_seed(0)
    module = perturbed(made(name, (5, 12))).eval()
    seen: list[torch.Tensor] = []
    with torch.no_grad(), watched_operator(module, operator(name), lambda part, weights, end: seen.append(weights)):
        module(*branches((5, 12)))
    assert len(seen) >= len(operator(name).attention)
    assert all(len(weights) == 3 and bool((weights >= 0).all()) for weights in seen)


@pytest.mark.parametrize("name", OFFERED)
def test_it_exports(name: str) -> None:
    torch.manual_seed(0)
    module = perturbed(made(name, (5, 12))).eval()
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(module, tuple(branches((5, 12), 2)), dynamic_shapes=((batch, batch),))
    others = branches((5, 12), 4)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(*others), module(*others), rtol=0, atol=1e-5)


def test_ratios_are_told_apart_by_the_width_of_all_channels_together() -> None:
    found = offer(point((8, 24)), ("add", "se", "se_concat"), (4, 8, 16))
    assert [str(choice) for choice in found.choices] == ["add", "se/4", "se/8", "se_concat/4", "se_concat/8"]
    assert found.merged == {"se/16": "se/8", "se_concat/16": "se_concat/8"}


def test_a_space_with_concatenations_is_another_than_when_they_were_embedded() -> None:
    """Of the same choices too: `concat` there had other weights under the same name."""
    space = SearchSpace.named("googlenet", InputSpec(3, 64, 4), ("add", "concat"))
    assert space.fingerprint != "071f3ab45efe8832"
