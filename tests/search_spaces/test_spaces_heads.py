"""Detectors and segmenters over a pyramid: the neck is torchvision's, every weight and every fusion point counts."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.models.detection.fcos import FCOSHead
from torchvision.ops import FeaturePyramidNetwork

from search_spaces import FusionChoice, InputSpec, SearchSpace, SpaceError, design, names
from search_spaces.catalogue import HEADS
from search_spaces.networks import PyramidDesign
from search_spaces.networks.detection import fcos_head
from search_spaces.networks.pyramid import PyramidBackbone, cifar_pyramid, group_norm, imagenet_pyramid
from search_spaces.networks.segmentation import SemanticHead
from search_spaces.space import fusion_at

DENSE = ("resnet8-fpn-fcos", "resnet8-pan-retinanet", "resnet20-bifpn-fcos", "resnet8-pan-semantic")


@pytest.mark.parametrize(
    ("channels", "groups"), [(4, 1), (28, 2), (31, 1), (32, 4), (60, 6), (64, 8), (256, 32), (512, 64)]
)
def test_a_head_of_any_width_has_groups_of_eight_or_more(channels: int, groups: int) -> None:
    norm = group_norm(channels)
    assert norm.num_groups == groups
    assert norm(torch.randn(2, channels, 3, 3)).shape == (2, channels, 3, 3)


def backbone(pyramid: PyramidDesign, spec: InputSpec, choice: str = "add") -> PyramidBackbone:
    shapes = {point.name: point for point in pyramid.points(spec)}
    torch.manual_seed(0)
    return pyramid.backbone(spec, lambda name, channels: fusion_at(shapes[name], FusionChoice.parse(choice)))


@pytest.mark.parametrize(
    ("pyramid", "widths", "size"),
    [(cifar_pyramid(8, "fpn").at_stride_4, [16, 32, 64], 61), (imagenet_pyramid(18, "fpn"), [64, 128, 256, 512], 97)],
)  # fmt: skip
def test_an_all_add_fpn_is_torchvisions_to_the_bit(pyramid: PyramidDesign, widths: list[int], size: int) -> None:
    ours = backbone(pyramid, InputSpec(3, size, 1)).eval()
    theirs = FeaturePyramidNetwork(widths, pyramid.channels, norm_layer=nn.BatchNorm2d).eval()
    theirs.load_state_dict(ours.fpn.state_dict(), strict=True)
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        expected = theirs(OrderedDict(zip(ours.levels, ours.body.stage_maps(images), strict=True)))
        levels = ours(images)
    assert isinstance(levels, OrderedDict)
    assert list(levels) == list(expected) == ["p2", "p3", "p4", "p5"][: len(widths)]
    assert all(torch.equal(levels[level], expected[level]) for level in expected)
    assert min(level.std() for level in levels.values()) > 0.01


@pytest.mark.parametrize("choice", ["aff/4", "iaff/4"])
def test_attentional_necks_take_odd_sizes(choice: str) -> None:
    """61 × 45 pixels: levels of 16 × 12, 8 × 6 and 4 × 3 places."""
    network = backbone(cifar_pyramid(8, "pan").at_stride_4, InputSpec(3, 61, 1), choice)
    with torch.inference_mode():
        levels = network.eval()(torch.randn(2, 3, 61, 45))
        plain = backbone(cifar_pyramid(8, "pan").at_stride_4, InputSpec(3, 61, 1))
        plain.load_state_dict(network.state_dict(), strict=False)
        expected = plain.eval()(torch.randn(2, 3, 61, 45))
    assert [tuple(level.shape) for level in levels.values()] == [(2, 32, 16, 12), (2, 32, 8, 6), (2, 32, 4, 3)]
    assert levels.keys() == expected.keys()


def test_every_pyramid_takes_every_head() -> None:
    pyramids = [name for name in names() if isinstance(design(name), PyramidDesign)]
    assert {"resnet8-fpn", "resnet8-pan", "resnet50-fpn"} <= set(pyramids)
    for name in pyramids:
        for head in HEADS:
            found = design(f"{name}-{head}")
            trunk_points = {point.name for point in design(name).points(InputSpec(3, 128, 1)) if "layer" in point.name}
            assert trunk_points < {point.name for point in found.points(InputSpec(3, 128, 1))}
    with pytest.raises(SpaceError, match="unknown pyramid for a head 'fcos' 'resnet8-fnp': did you mean 'resnet8-fpn'"):
        design("resnet8-fnp-fcos")
    with pytest.raises(SpaceError, match="unknown pyramid for a head 'semantic' 'resnet18'"):
        design("resnet18-semantic")


def test_a_large_detector_is_over_p3_to_p7_and_a_small_one_over_p2_to_p4() -> None:
    large, small = SearchSpace.named("resnet18-fpn-fcos", InputSpec(3, 64, 3)), SearchSpace.named("resnet8-fpn-fcos")
    assert [point.name for point in large.points if point.shape.kind == "long skip"] == ["fpn.p4", "fpn.p3"]
    assert [point.name for point in small.points if point.shape.kind == "long skip"] == ["fpn.p3", "fpn.p2"]
    assert large.build(large.baseline).strides == (8, 16, 32, 64, 128)
    network = small.build(small.baseline)
    assert network.strides == (4, 8, 16)
    with torch.inference_mode():
        logits, boxes, centerness = network.eval()(torch.randn(2, 3, 128, 128))
    places = 32**2 + 16**2 + 8**2
    assert (logits.shape, boxes.shape, centerness.shape) == ((2, places, 10), (2, places, 4), (2, places, 1))


def test_a_large_fcos_head_is_torchvisions() -> None:
    torch.manual_seed(0)
    ours, theirs = fcos_head(256, 5, 4).eval(), FCOSHead(256, 1, 5).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    levels = [torch.randn(1, 256, size, size) for size in (6, 3)]
    with torch.inference_mode():
        found, expected = ours(levels), theirs(levels)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_pyramid_needs_two_stages() -> None:
    with pytest.raises(SpaceError, match="first_stage is 2: a pyramid over 3 stages needs at least two"):
        PyramidDesign(cifar_pyramid(8, "fpn").trunk, "fpn", 32, first_stage=2)


@pytest.mark.parametrize("name", [*DENSE, "resnet18-fpn-fcos"])
def test_every_weight_and_every_fusion_of_a_dense_network_learns(name: str) -> None:
    """A level that no head looks at would leave a point of the neck that decides nothing."""
    torch.manual_seed(0)
    space = SearchSpace.named(name, InputSpec(3, 64, 4), operators=("add", "concat", "weighted"))
    network = space.build(space.uniform("concat" if "bifpn" not in name else "weighted"))
    outputs = network(torch.randn(4, 3, 64, 64))
    # The regressions start below a ReLU: everything that leads to any of them counts.
    sum(
        (output + output.square()).sum() for output in (outputs if isinstance(outputs, tuple) else [outputs])
    ).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", DENSE)
def test_the_dense_trunk_starts_the_same_in_every_architecture(name: str) -> None:
    space = SearchSpace.named(name, InputSpec(3, 64, 4))
    states = []
    for op in ("add", "aff", "concat"):
        torch.manual_seed(11)
        state = space.build(space.uniform(op)).state_dict() if space.offers(op) else {}
        states.append({key: value for key, value in state.items() if ".fuse." not in key})
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert all(torch.equal(state[key], states[0][key]) for key in state)


def test_the_semantic_head_raises_each_level_step_by_step_and_sums_them() -> None:
    """Kirillov et al., fig. 3, with one class read off each level: a level that is 0 adds what its biases are, 0."""
    head = SemanticHead(6, 8, 3, 2).eval()
    levels = [torch.randn(1, 6, 9, 7), torch.randn(1, 6, 5, 4), torch.randn(1, 6, 3, 2)]
    with torch.inference_mode():
        logits = head(levels)
        alone = [
            head([level if number == chosen else torch.zeros_like(level) for number, level in enumerate(levels)])
            for chosen in range(3)
        ]
    assert [len(branch) for branch in head.branches] == [1, 1, 2]
    assert logits.shape == (1, 2, 9, 7)
    bias = head.classifier.bias.detach().view(1, 2, 1, 1)
    torch.testing.assert_close(logits, sum(each - bias for each in alone) + bias, rtol=1e-4, atol=1e-4)
    assert min((each - bias).abs().max() for each in alone) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"resnet8-fpn-{head}" for head in HEADS])
def test_the_dense_part_is_one_graph(name: str) -> None:
    """What an export needs: tensors in, tensors out, nothing that depends on what is in them."""
    space = SearchSpace.named(name, InputSpec(3, 64, 4), operators=("add", "aff"), reductions=(4,))
    network = space.build(space.uniform("aff")).eval()
    images = torch.randn(2, 3, 64, 64)
    program = torch.export.export(network, (images,))
    with torch.inference_mode():
        for ours, theirs in zip(program.module()(images), network(images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
