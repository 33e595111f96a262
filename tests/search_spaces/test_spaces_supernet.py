"""Supernets: a path is the network that stands alone, to the bit, and the choices share nothing but the trunk."""

from __future__ import annotations

import random

import pytest
import torch
import torchvision

from search_spaces import InputSpec, SearchSpace, SpaceError, discover
from search_spaces.space import fusion_modules
from search_spaces.supernet import build_path, build_supernet, choose_path

SPACE = SearchSpace.named("resnet8", InputSpec(1, 16, 7))
IMAGES = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def stirred(space: SearchSpace) -> torch.nn.Module:
    """A supernet as if trained: every weight and statistic moved."""
    torch.manual_seed(0)
    supernet = build_supernet(space)
    with torch.no_grad():
        for tensor in [*supernet.parameters(), *supernet.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(0.05 * torch.rand(tensor.shape))
    return supernet


@pytest.mark.parametrize("training", [False, True])
def test_a_path_is_the_network_alone(training: bool) -> None:
    supernet = stirred(SPACE)
    weights = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    rng = random.Random(0)
    for architecture in [SPACE.baseline, SPACE.uniform("iaff"), SPACE.sample(rng), SPACE.sample(rng)]:
        supernet.load_state_dict(weights)
        choose_path(supernet, architecture)
        alone = build_path(SPACE, architecture, weights)
        assert torch.equal(supernet.train(training)(IMAGES), alone.train(training)(IMAGES))
    first, second = (build_path(SPACE, SPACE.uniform(op), weights).eval()(IMAGES) for op in ("se", "cbam"))
    assert not torch.allclose(first, second)


def test_a_path_of_a_discovered_network_keeps_its_merges() -> None:
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None, num_classes=4).eval()
    images = torch.randn(2, 3, 32, 32)
    space = discover(model, images, ["add", "concat", "aff"], [16], vary=["layer1", "layer2"])
    supernet = build_supernet(space)
    torch.testing.assert_close(supernet(images), model(images))
    architecture = space.uniform("aff")
    choose_path(supernet, architecture)
    assert torch.equal(build_path(space, architecture, supernet.state_dict()).eval()(images), supernet(images))


def test_every_choice_has_weights_of_its_own_beside_one_trunk() -> None:
    supernet = build_supernet(SPACE)
    points = {point.name: [str(choice) for choice in point.choices] for point in SPACE.points}
    assert {name: list(fusion.choices) for name, fusion in fusion_modules(supernet).items()} == points
    alone = sum(p.numel() for p in SPACE.build(SPACE.baseline).parameters())
    fusions = [m for fusion in fusion_modules(supernet).values() for m in fusion.choices.values()]
    own = sum(p.numel() for m in fusions for p in m.parameters())
    assert sum(p.numel() for p in supernet.parameters()) == alone + own


def test_the_trunk_starts_as_that_of_any_architecture() -> None:
    networks = []
    for build in (lambda: build_supernet(SPACE), lambda: SPACE.build(SPACE.uniform("aff"))):
        torch.manual_seed(5)
        networks.append(build().state_dict())
    trunk = SPACE.build(SPACE.baseline).state_dict()
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in trunk)


def test_weights_of_another_space_are_named() -> None:
    narrow = SearchSpace.named("resnet8", InputSpec(1, 16, 7), ["add", "se"])
    with pytest.raises(SpaceError, match=r"lacks the weight 'layer1\.0\.fuse\.choices\.aff/4\..*another space"):
        build_path(SPACE, SPACE.uniform("aff"), build_supernet(narrow).state_dict())
    other = SearchSpace.named("resnet8", InputSpec(3, 16, 7))
    with pytest.raises(SpaceError, match=r"'conv1\.weight' has shape \[16, 3, 3, 3\], but resnet8 has \[16, 1, 3, 3\]"):
        build_path(SPACE, SPACE.baseline, build_supernet(other).state_dict())
