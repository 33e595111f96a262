"""Weight inheritance: the trunk goes over, what is unchanged too, and what does not fit is said."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from search_spaces import FusionSettings, InputSpec, SearchSpace, SpaceError, discover, inherit
from search_spaces.discovery.rewriting import largest_difference
from search_spaces.inheritance import unpreserved
from search_spaces.space import fusion_modules

SMALL = InputSpec(1, 16, 7)
SPACE = SearchSpace.named("resnet8", SMALL)
IMAGES = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def stir(network: nn.Module) -> nn.Module:
    """As if trained: every weight and statistic moved."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(0.05 * torch.rand(tensor.shape, generator=generator))
    return network


@pytest.mark.parametrize("op", ["concat", "se", "cbam", "aff", "iaff"])
def test_a_child_starts_with_its_parents_outputs(op: str) -> None:
    parent = stir(SPACE.build(SPACE.baseline))
    before = parent.state_dict()
    child = inherit(parent, SPACE.uniform(op))
    assert largest_difference(parent, child, IMAGES, relative=True) <= 1e-5
    assert all(torch.equal(tensor, child.state_dict()[name]) for name, tensor in before.items())
    assert next(child.parameters()).data_ptr() != next(parent.parameters()).data_ptr()


def test_an_unchanged_fusion_keeps_its_weights() -> None:
    parent_choices = {"layer1.0": "aff/4", "layer2.0": "se/4", "layer3.0": "add"}
    parent = stir(SPACE.build(SPACE.architecture(parent_choices)))
    child = inherit(parent, SPACE.architecture({**parent_choices, "layer3.0": "iaff/8"}))
    assert largest_difference(parent, child, IMAGES, relative=True) <= 1e-5
    theirs, ours = parent.state_dict(), child.state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    other = inherit(parent, SPACE.architecture({**parent_choices, "layer1.0": "aff/4", "layer2.0": "se/8"}))
    assert torch.equal(theirs["layer1.0.fuse.attention.local_context.norm1.bias"],
                       other.state_dict()["layer1.0.fuse.attention.local_context.norm1.bias"])  # fmt: skip
    assert not other.state_dict()["layer2.0.fuse.gate.fc2.weight"].any()


def test_torchvisions_network_is_a_parent() -> None:
    torch.manual_seed(0)
    parent = torchvision.models.resnet18(weights=None, num_classes=5).eval()
    images = torch.randn(2, 3, 64, 64)
    child = inherit(parent, SearchSpace.named("resnet18").uniform("aff", 8))
    assert not child.training
    assert largest_difference(parent, child, images, relative=True) <= 1e-5
    assert child(images).shape == (2, 5)


def test_modes_and_type_are_the_parents() -> None:
    parent = SPACE.build(SPACE.baseline).double().train()
    parent.layer1.eval()
    child = inherit(parent, SPACE.uniform("aff"))
    assert {parameter.dtype for parameter in child.parameters()} == {torch.float64}
    assert child.training
    assert not child.layer1[0].fuse.attention.training
    assert child.layer2[0].fuse.attention.training


def test_discovered_networks_inherit() -> None:
    torch.manual_seed(0)
    model = torchvision.models.mobilenet_v3_small(weights=None, num_classes=4).train()
    images = torch.randn(4, 3, 64, 64)
    space = discover(model, images)
    parent = stir(space.build(space.baseline)).eval()
    child = inherit(parent, space.uniform("aff"))
    assert largest_difference(parent, child, images, relative=True) <= 1e-5
    grandchild = inherit(stir(child), space.uniform("aff"))
    assert largest_difference(child, grandchild, images) == 0
    fresh = inherit(stir(model), space.uniform("se"), space)
    assert largest_difference(model, fresh, images, relative=True) <= 1e-5


def test_what_does_not_fit_is_one_clear_line() -> None:
    parent = SPACE.build(SPACE.baseline)
    with pytest.raises(SpaceError, match=r"the parent lacks the weight 'layer1\.1\.conv1\.weight' of resnet14"):
        inherit(parent, SearchSpace.named("resnet14").baseline)
    with pytest.raises(SpaceError, match=r"the parent has the weight 'layer1\.1\.conv1\.weight', but resnet8 has none"):
        inherit(SearchSpace.named("resnet14").build(SearchSpace.named("resnet14").baseline), SPACE.baseline)
    other = SearchSpace.named("resnet8", InputSpec(3, 16, 7))
    with pytest.raises(SpaceError, match=r"'conv1\.weight' has shape \[16, 1, 3, 3\], but resnet8 has \[16, 3, 3, 3\]"):
        inherit(parent, other.baseline, other)
    with pytest.raises(SpaceError, match="architecture of space 'resnet14' given to space 'resnet8'"):
        inherit(parent, SearchSpace.named("resnet14").baseline, SPACE)
    found = discover(torchvision.models.mobilenet_v3_small(weights=None), torch.randn(2, 3, 32, 32))
    with pytest.raises(SpaceError, match="'MobileNetV3', which is no named space: give the space"):
        inherit(parent, found.baseline)


def test_a_child_has_the_fusions_of_its_space() -> None:
    space = SearchSpace.named("resnet8", SMALL, settings=FusionSettings(norm="group"))
    parent = stir(space.build(space.baseline))
    child = inherit(parent, space.uniform("aff"), space)
    norms = {type(module).__name__ for module in child.layer1[0].fuse.modules()}
    assert "SampleNorm" in norms
    assert "BatchNorm2d" not in norms
    assert set(fusion_modules(child)) == {point.name for point in space.points}
    assert largest_difference(parent, child, IMAGES, relative=True) <= 1e-5


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (FusionSettings(), ()),
        (FusionSettings(scale=1.0), ("se", "cbam", "aff", "iaff")),
        (FusionSettings(identity_init=False), ("concat", "se", "cbam", "aff", "iaff")),
    ],
)
def test_operators_that_do_not_start_as_the_sum_are_known(settings: FusionSettings, expected: tuple[str, ...]) -> None:
    space = SearchSpace.named("resnet8", SMALL, settings=settings)
    assert unpreserved(space) == expected
    parent = stir(space.build(space.baseline))
    for op in space.operators:
        child = inherit(parent, space.uniform(op), space)
        assert (largest_difference(parent, child, IMAGES, relative=True) <= 1e-5) == (op not in expected)
        theirs, ours = parent.state_dict(), child.state_dict()
        assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_at_a_concatenation_the_start_is_the_concatenation() -> None:
    space = SearchSpace.named("googlenet", InputSpec(3, 64, 5), ["add", "se_concat"], [16])
    assert unpreserved(space) == ()
