"""FPN, PAN and BiFPN: torchvision's pyramid where it has one, the paper's formula where it has none."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import get_model
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FeaturePyramidNetwork

from search_spaces import InputSpec, SearchSpace
from search_spaces.fusions import FusionSettings
from search_spaces.networks.pyramid import PyramidNet


def all_add(name: str, size: int) -> PyramidNet:
    torch.manual_seed(0)
    space = SearchSpace.named(name, InputSpec(3, size, 5))
    network = space.build(space.baseline).eval()
    assert isinstance(network, PyramidNet)
    return network


def lively(network: nn.Module) -> nn.Module:
    """Biases and statistics off their neutral start, so that each of them matters."""
    with torch.no_grad():
        for tensor_name, tensor in network.state_dict().items():
            if tensor_name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor_name.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.1)
    return network.eval()


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    scale = theirs.abs().max().clamp(min=1)
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "widths", "channels", "size"),
    [("resnet18-fpn", [64, 128, 256, 512], 256, 64), ("resnet34-fpn", [64, 128, 256, 512], 256, 97),
     ("resnet50-fpn", [256, 512, 1024, 2048], 256, 65), ("resnet20-fpn", [16, 32, 64], 32, 27)],
)  # fmt: skip
def test_a_pyramid_is_torchvisions(name: str, widths: list[int], channels: int, size: int) -> None:
    network = all_add(name, size)
    theirs = lively(FeaturePyramidNetwork(widths, channels, norm_layer=nn.BatchNorm2d))
    network.backbone.fpn.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        maps = network.backbone.body.stage_maps(images)
        expected = theirs(
            OrderedDict((level, stage) for level, stage in zip(network.backbone.levels, maps, strict=True))
        )
        levels = network.backbone(images)
    assert list(levels) == list(expected)
    for level, ours in levels.items():
        assert_close(ours, expected[level])


@pytest.mark.parametrize(("name", "size"), [("resnet18-fpn", 64), ("resnet50-fpn", 97)])
def test_trunk_and_pyramid_together_are_torchvisions_detection_backbone(name: str, size: int) -> None:
    """The backbone of fasterrcnn_resnet50_fpn_v2."""
    trunk = get_model(name.removesuffix("-fpn"), weights=None)
    stages = {f"layer{index + 1}": str(index) for index in range(4)}
    network = all_add(name, size)
    theirs = lively(
        BackboneWithFPN(trunk, stages, network.backbone.body.stage_channels, 256, norm_layer=nn.BatchNorm2d)
    )
    network.backbone.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        expected = list(theirs(images).values())[:-1]  # the last is pooled from p5
        levels = network.backbone(images)
    assert list(levels) == ["p2", "p3", "p4", "p5"]
    for ours, level in zip(levels.values(), expected, strict=True):
        assert_close(ours, level)


@pytest.mark.parametrize(("name", "size", "finest"), [("resnet20-pan", 27, 0), ("resnet18-pan", 97, 2)])
def test_the_bottom_up_path_is_panets(name: str, size: int, finest: int) -> None:
    network = all_add(name, size)
    lively(network)
    assert network.backbone.pan is not None
    images = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        levels = network.backbone.fpn(network.backbone.body.stage_maps(images))
        expected = [levels[0]]
        for p, merge in zip(levels[1:], network.backbone.pan.children(), strict=True):
            down = merge.down[1](F.conv2d(expected[-1], merge.down[0].weight, stride=2, padding=1)).clamp(min=0)
            out = merge.out[1](F.conv2d(p + down, merge.out[0].weight, padding=1))
            expected.append(out.clamp(min=0))
        given = network.backbone(images)
    assert list(given) == [f"n{finest + index}" for index in range(len(levels))]
    for ours, level in zip(given.values(), expected, strict=True):
        assert_close(ours, level)
    assert [tuple(map.shape) for map in given.values()] == [tuple(map.shape) for map in levels]


def normed(x: torch.Tensor, state: dict[str, torch.Tensor], name: str, channels: int) -> torch.Tensor:
    """B(PW(x)) from the tensors alone."""
    mean, var = state[f"{name}.1.running_mean"], state[f"{name}.1.running_var"]
    projected = torch.einsum("oi,bihw->bohw", state[f"{name}.0.weight"][:, :, 0, 0], x)
    scale, shift = state[f"{name}.1.weight"] / (var + 1e-5).sqrt(), state[f"{name}.1.bias"]
    return (projected - mean.view(1, channels, 1, 1)) * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)


def bifpn(
    maps: list[torch.Tensor], state: dict[str, torch.Tensor], fuse: Callable[..., torch.Tensor], channels: int
) -> list[torch.Tensor]:
    """One layer of fig. 2d for 3 or 4 levels, written out: i counts levels from the finest."""
    first = {3: 0, 4: 2}[len(maps)]

    def node(name: str, *fused: torch.Tensor) -> torch.Tensor:
        depthwise = F.conv2d(fuse(name, *fused), state[f"{name}.depthwise.weight"], padding=1, groups=channels)
        return normed(depthwise, state, f"{name}.pointwise", channels).clamp(min=0)

    def halved(x: torch.Tensor) -> torch.Tensor:
        padded = F.pad(x, (1, 2, 1, 2), value=-torch.inf)
        windows = padded.unfold(2, 3, 2).unfold(3, 3, 2).amax(dim=(4, 5))
        return windows[:, :, : -(-x.shape[2] // 2), : -(-x.shape[3] // 2)]

    def resized(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        rows, columns = (torch.arange(like.shape[d]) * x.shape[d] // like.shape[d] for d in (2, 3))
        return x[:, :, rows][:, :, :, columns]

    given = [normed(stage, state, f"top_down.lateral.{i}", channels) for i, stage in enumerate(maps)]
    last = len(maps) - 1
    middle = {last: given[last]}
    for i in range(last - 1, -1, -1):
        middle[i] = node(f"top_down.p{first + i}", given[i], resized(middle[i + 1], given[i]))
    out = [middle[0]]
    for i in range(1, last):
        out.append(node(f"bottom_up.n{first + i}", given[i], middle[i], halved(out[-1])))
    return [*out, node(f"bottom_up.n{first + last}", given[last], halved(out[-1]))]


@pytest.mark.parametrize(("name", "size"), [("resnet20-bifpn", 27), ("resnet20-bifpn", 16), ("resnet18-bifpn", 97)])
def test_all_add_is_the_unweighted_bifpn(name: str, size: int) -> None:
    network = all_add(name, size)
    lively(network)
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        maps = network.backbone.body.stage_maps(images)
        channels = network.head.in_features // len(maps)
        expected = bifpn(maps, network.backbone.state_dict(), lambda name, *fused: sum(fused), channels)
        levels = network.backbone(images)
    assert list(levels) == [f"n{int(name == 'resnet18-bifpn') * 2 + i}" for i in range(len(maps))]
    for ours, level, stage in zip(levels.values(), expected, maps, strict=True):
        assert level.std() > 0.05
        assert_close(ours, level)
        assert ours.shape[2:] == stage.shape[2:]


def test_weighted_everywhere_is_fast_normalised_fusion() -> None:
    """Σᵢ wᵢ/(ε + Σⱼ wⱼ)·mapᵢ, w = δ(v), of two and of three maps (section 3.3)."""
    torch.manual_seed(0)
    settings = FusionSettings(scale=1)
    space = SearchSpace.named("resnet20-bifpn", InputSpec(3, 27, 5), ("add", "weighted"), settings=settings)
    network = lively(space.build(space.uniform("weighted")))
    state = network.backbone.state_dict()
    necks = [point for point in space.points if point.shape.kind == "long skip"]
    for point in necks:
        state[f"{point.name}.fuse.weight"].copy_(torch.randn(len(point.shape.inputs)) + 0.5)

    def fuse(name: str, *fused: torch.Tensor) -> torch.Tensor:
        weights = state[f"{name}.fuse.weight"].clamp(min=0)
        return sum(w / (1e-4 + weights.sum()) * u for w, u in zip(weights, fused, strict=True))

    assert any((state[f"{point.name}.fuse.weight"] < 0).any() for point in necks)
    images = torch.randn(2, 3, 27, 27)
    with torch.inference_mode():
        expected = bifpn(network.backbone.body.stage_maps(images), state, fuse, 32)
        for ours, level in zip(network.backbone(images).values(), expected, strict=True):
            assert_close(ours, level)


def test_inner_levels_of_a_bifpn_merge_three_maps() -> None:
    operators = ("add", "concat", "aff", "sk", "weighted", "se_concat")
    space = SearchSpace.named("resnet18-bifpn", InputSpec(3, 97, 5), operators)
    necks = [point for point in space.points if point.shape.kind == "long skip"]
    names = ["top_down.p4", "top_down.p3", "top_down.p2", "bottom_up.n3", "bottom_up.n4", "bottom_up.n5"]
    assert [point.name for point in necks] == names
    assert [len(point.shape.inputs) for point in necks] == [2, 2, 2, 3, 3, 2]
    assert [point.shape.in_channels for point in necks] == [256, 128, 64, 256, 256, 256]
    assert [point.shape.stride for point in necks] == [1, 1, 1, 2, 2, 2]
    assert [point.shape.height for point in necks] == [7, 13, 25, 13, 7, 4]
    for point in necks:
        offered = {choice.op for choice in point.choices}
        assert (offered, dict(point.left_out)) == (
            (set(operators) - {"aff"}, {"aff": "'aff' fuses 2 maps, not 3"})
            if len(point.shape.inputs) == 3
            else (set(operators), {})
        )


@pytest.mark.parametrize("name", ["resnet20-fpn", "resnet18-pan", "resnet18-bifpn"])
def test_a_level_has_the_stride_of_its_number(name: str) -> None:
    network = all_add(name, 128)
    with torch.inference_mode():
        sizes = {level: map.shape[-1] for level, map in network.backbone(torch.randn(1, 3, 128, 128)).items()}
    assert sizes == {level: 128 // 2 ** int(level[1:]) for level in network.backbone.levels}


def test_points_of_the_neck_say_where_their_maps_come_from() -> None:
    space = SearchSpace.named("resnet18-pan", InputSpec(3, 97, 5))
    network = all_add("resnet18-pan", 97)
    necks = [point.shape for point in space.points if point.shape.kind == "long skip"]
    assert [shape.name for shape in necks] == ["fpn.p4", "fpn.p3", "fpn.p2", "pan.n3", "pan.n4", "pan.n5"]
    laterals = [block[0].in_channels for block in network.backbone.fpn.inner_blocks]
    assert [shape.in_channels for shape in necks] == [laterals[2], laterals[1], laterals[0], 256, 256, 256]
    assert [shape.stride for shape in necks] == [1, 1, 1, 2, 2, 2]
    assert [shape.height for shape in necks] == [7, 13, 25, 13, 7, 4]


def test_x_is_the_lateral_map_and_y_the_resized_one() -> None:
    network = all_add("resnet20-pan", 27)
    given: dict[str, tuple[torch.Tensor, ...]] = {}
    for name in ("fpn.p1", "pan.n1"):
        network.backbone.get_submodule(f"{name}.fuse").register_forward_hook(
            lambda _, maps, out, name=name: given.update({name: maps})
        )
    images = torch.randn(1, 3, 27, 27)
    with torch.inference_mode():
        maps = network.backbone.body.stage_maps(images)
        network(images)
        laterals = [block(stage) for block, stage in zip(network.backbone.fpn.inner_blocks, maps, strict=True)]
        assert torch.equal(given["fpn.p1"][0], laterals[1])
        # Nearest: output position i takes input position floor(i · 7/14).
        rows = torch.arange(14) * 7 // 14
        assert torch.equal(given["fpn.p1"][1], laterals[2][:, :, rows][:, :, :, rows])
        levels = network.backbone.fpn(maps)
        assert torch.equal(given["pan.n1"][0], levels[1])


def test_the_classifier_sees_every_level() -> None:
    network = all_add("resnet20-fpn", 16)
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        averages = [level.mean(dim=(2, 3)) for level in network.backbone(images).values()]
        torch.testing.assert_close(network(images), network.head(torch.cat(averages, dim=1)))
    assert network.head.in_features == 3 * 32


@pytest.mark.parametrize("name", ["resnet20-fpn", "resnet20-pan", "resnet20-bifpn"])
def test_a_pyramid_trains_from_scratch_at_a_resnets_learning_rate(name: str) -> None:
    """Without norm in the neck the loss is NaN after a handful of such steps."""
    network = all_add(name, 16).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.3, momentum=0.9, nesterov=True)
    images, labels = torch.randn(64, 3, 16, 16), torch.arange(64) % 5
    losses = []
    for _ in range(12):
        loss = F.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert max(losses) < 20
