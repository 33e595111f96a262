"""Settings of all operators, fusions of n maps, and what is refused: unequal shapes, too many positions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from search_spaces import FusionChoice, FusionSettings, InputSpec, SearchSpace, SpaceError, operator_names
from search_spaces.fusions import build_fusion, operator
from search_spaces.fusions.norms import SampleNorm, norm_groups, normalisation

NORMALISED = ("cbam", "cbam_concat", "aff", "iaff", "mscam", "sk", "dynamic", "dynamic_top1")
DROPPED = ("se", "se_concat", "attention", "nonlocal", "cross_modal", "efficient", *NORMALISED)
ANY_NUMBER = ("add", "concat", "weighted", "sk", "se_concat")


def choice(name: str) -> FusionChoice:
    return FusionChoice(name, 4 if operator(name).takes_reduction else None)


def inputs_of(count: int, channels: int = 16, size: int = 4, batch: int = 3) -> list[torch.Tensor]:
    return list(torch.randn(count, batch, channels, size, size, generator=torch.Generator().manual_seed(0)))


# ---- settings


@pytest.mark.parametrize("name", operator_names())
def test_a_setting_goes_to_the_operators_that_know_it(name: str) -> None:
    module = build_fusion(choice(name), 16, FusionSettings(norm="group", dropout=0.5))
    kinds = {type(m) for m in module.modules()}
    assert nn.BatchNorm2d not in kinds
    assert (SampleNorm in kinds) == (name in NORMALISED)
    for p in module.parameters():
        nn.init.normal_(p, std=0.5)
    maps = inputs_of(2)
    torch.manual_seed(0)
    module.train()
    dropped = not torch.equal(module(*maps), module(*maps))
    assert dropped == (name in DROPPED)
    module.eval()
    assert torch.equal(module(*maps), module(*maps))


@pytest.mark.parametrize("name", operator_names())
def test_dropout_leaves_the_start_at_the_sum(name: str) -> None:
    maps = inputs_of(2)
    fused = build_fusion(choice(name), 16, FusionSettings(dropout=0.3)).train()(*maps)
    torch.testing.assert_close(fused, maps[0] + maps[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in operator_names() if name not in ("add", "weighted")])
def test_identity_init_can_be_switched_off(name: str) -> None:
    torch.manual_seed(0)
    maps = inputs_of(2)
    module = build_fusion(choice(name), 16, FusionSettings(identity_init=False)).eval()
    if isinstance(module, nn.Module) and name == "dynamic_top1":  # its first expert is the sum
        module.router.bias.data[3] = 9.0
    assert (module(*maps) - (maps[0] + maps[1])).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["aff", "iaff", "gated", "efficient", "sk", "weighted"])
def test_the_published_scale_halves_the_sum(name: str) -> None:
    maps = inputs_of(2)
    fused = build_fusion(choice(name), 16, FusionSettings(scale=1.0)).eval()(*maps)
    torch.testing.assert_close(fused, (maps[0] + maps[1]) / 2, rtol=0, atol=1e-3)


def test_a_setting_left_alone_is_the_operators_own() -> None:
    for name in operator_names():
        assert FusionSettings().options(operator(name).module) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "instance"}, "norm of the fusions is 'instance': choose from batch, group, layer"),
        ({"dropout": 1.0}, "dropout of the fusions is 1.0"),
        ({"dropout": -0.1}, "dropout of the fusions is -0.1"),
        ({"scale": 0.0}, "scale of the fusions is 0.0"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        FusionSettings(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("channels", "groups"), [(1, 1), (4, 1), (15, 1), (16, 2), (24, 3), (33, 3), (64, 8), (256, 32), (2048, 32)]
)
def test_groups_have_eight_channels_or_more(channels: int, groups: int) -> None:
    assert norm_groups(channels) == groups
    if channels > 1:
        pooled = torch.randn(1, channels, 1, 1)
        assert normalisation("group", channels)(pooled).std() > 0.5  # no constant


def test_group_norm_takes_a_single_value() -> None:
    assert normalisation("group", 1)(torch.ones(1, 1, 1, 1)).item() == 0.0


# ---- n maps


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("name", ANY_NUMBER)
def test_n_maps_start_as_their_sum(name: str, count: int) -> None:
    module = build_fusion(choice(name), 16, inputs=count)
    for training in (False, True):
        maps = inputs_of(count)
        torch.testing.assert_close(module.train(training)(*maps), torch.stack(maps).sum(0), rtol=0, atol=2e-6)
    with pytest.raises(ValueError, match=f"{count + 1} maps given to a fusion of {count}"):
        module(*inputs_of(count + 1))


def test_the_registry_knows_who_takes_n_maps() -> None:
    assert {name for name in operator_names() if operator(name).max_inputs is None} == set(ANY_NUMBER)
    with pytest.raises(SpaceError, match="'aff' fuses 2 maps, not 4"):
        build_fusion(FusionChoice("aff", 4), 16, inputs=4)
    with pytest.raises(SpaceError, match="'add' fuses two or more maps, not 1"):
        build_fusion(FusionChoice("add"), 16, inputs=1)


# ---- unequal shapes


@pytest.mark.parametrize("other", [(3, 16, 1, 1), (3, 16, 4, 1), (3, 1, 4, 4), (1, 16, 4, 4), (3, 16, 5, 4)])
@pytest.mark.parametrize("name", [name for name in operator_names() if name != "cross_modal"])
def test_maps_that_would_broadcast_are_refused_by_shape(name: str, other: tuple[int, ...]) -> None:
    message = rf"maps of shapes \[3, 16, 4, 4\] and \[{', '.join(map(str, other))}\] cannot be fused"
    with pytest.raises(ValueError, match=message):
        build_fusion(choice(name), 16).eval()(inputs_of(1)[0], torch.randn(other))


# ---- positions


@pytest.mark.parametrize("name", ["attention", "nonlocal", "cross_modal"])
def test_attention_over_too_many_positions_is_refused(name: str) -> None:
    module = build_fusion(FusionChoice(name, 4), 4).eval()
    with torch.no_grad():
        module(*inputs_of(2, 4, 32, 1))
        message = f"'{name}' attends over 1056 positions, above its limit of 1024"
        with pytest.raises(ValueError, match=message):
            module(*torch.zeros(2, 1, 4, 33, 32))


def test_a_point_too_large_for_an_operator_leaves_it_out_and_says_why() -> None:
    space = SearchSpace.named("resnet18", InputSpec(3, 224, 10), ("add", "attention", "nonlocal", "eca"), (4,))
    first, last = space.points[0], space.points[-1]
    assert [str(c) for c in first.choices] == ["add", "eca"]
    assert [str(c) for c in last.choices] == ["add", "attention/4", "nonlocal/4", "eca"]
    reason = "'attention' attends over 3136 positions (56 x 56), above its limit of 1024"
    assert first.to_json()["left_out"]["attention"] == reason
    assert last.to_json()["left_out"] == {}
    assert list(space.uniform("attention").labels().values()) == ["add"] * 2 + ["attention/4"] * 6
    tight = SearchSpace.named("resnet18", InputSpec(3, 224, 10), ("add", "attention"), (4,), vary=["layer1"])
    with pytest.raises(SpaceError, match=r"attention is not on offer at .* of resnet18: .* 3136 positions"):
        tight.uniform("attention")
    choices = space.baseline.labels() | {"layer1.0": "attention/4"}
    with pytest.raises(SpaceError, match=r"'attention/4' is not on offer at layer1\.0: .* above its limit"):
        space.architecture(choices)


def test_every_operator_is_searched_by_name() -> None:
    space = SearchSpace.named("resnet8", InputSpec(1, 28, 10), operator_names())
    images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    outputs = []
    for name in operator_names():
        torch.manual_seed(0)
        outputs.append(space.build(space.uniform(name)).eval()(images))
    for output in outputs:
        torch.testing.assert_close(output, outputs[0], rtol=1e-4, atol=1e-5)
