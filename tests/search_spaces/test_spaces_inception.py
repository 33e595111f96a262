"""GoogLeNet and the small Inception: the same-layer merges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torchvision
from torch import nn

from search_spaces import InputSpec, SearchSpace, register
from search_spaces.fusions import unregister
from search_spaces.fusions.linear import Add

BRANCHES = {
    "inception3a": (64, 128, 32, 32),
    "inception4d": (112, 288, 64, 64),
    "inception5b": (384, 384, 128, 128),
}


@pytest.fixture
def scaled() -> Iterator[str]:
    """An operator with a form of its own for concatenations."""

    class Scaled(nn.Module):
        """cat((1 + wᵢ)·xᵢ)."""

        def __init__(self, channels: tuple[int, ...]) -> None:
            super().__init__()
            self.weights = nn.Parameter(torch.rand(len(channels)))

        def forward(self, *maps: torch.Tensor) -> torch.Tensor:
            return torch.cat([(1 + weight) * x for weight, x in zip(self.weights, maps, strict=True)], dim=1)

    register("scaled_branches", cat=Scaled)(Add)
    yield "scaled_branches"
    unregister("scaled_branches")


@pytest.mark.parametrize("size", [32, 65, 97])
def test_googlenet_is_torchvisions(size: int) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.googlenet(
        weights=None, num_classes=10, aux_logits=False, transform_input=False, init_weights=False
    ).eval()
    with torch.no_grad():
        for tensor_name, tensor in theirs.state_dict().items():
            if tensor_name.endswith("conv.weight"):
                nn.init.kaiming_normal_(tensor)  # with PyTorch's own start a map vanishes by the last block
            elif tensor_name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor_name.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.1)
    space = SearchSpace.named("googlenet", InputSpec(3, size, 10))
    ours = space.build(space.baseline).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        expected = theirs(images)
        assert (expected[0] - expected[1]).abs().max() > 1e-2 * expected.abs().max()
        scale = expected.abs().max().clamp(min=1)
        torch.testing.assert_close(ours(images) / scale, expected / scale, rtol=0, atol=1e-5)


def test_googlenets_points_are_four_unequal_branches() -> None:
    points = {point.name: point.shape for point in SearchSpace.named("googlenet").points}
    assert len(points) == 9
    for name, inputs in BRANCHES.items():
        assert (points[name].merge, points[name].inputs, points[name].channels) == ("cat", inputs, sum(inputs))
    sizes = [points[name].height for name in BRANCHES]
    assert sizes == [28, 14, 7]


def test_operators_with_a_form_for_concatenations_stand_in_googlenet(scaled: str) -> None:
    space = SearchSpace.named("googlenet", InputSpec(3, 64, 4), ("add", "concat", "aff", "mscam", scaled), (4,))
    offered = ["add", "concat", "aff/4", scaled]
    assert all([str(choice) for choice in point.choices] == offered for point in space.points)
    reason = "'mscam' cannot stand at a concatenation: on a concatenated map it is what 'aff' is there"
    assert all(point.left_out == {"mscam": reason} for point in space.points)
    assert space.size == 4**9


def test_an_operator_in_googlenet_weighs_the_branches_where_they_stand(scaled: str) -> None:
    torch.manual_seed(0)
    space = SearchSpace.named("googlenet", InputSpec(3, 33, 4), ("add", scaled))
    block = space.build(space.architecture({p.name: scaled for p in space.points})).eval().get_submodule("inception3b")
    branches: list[torch.Tensor] = []
    block.fuse.register_forward_hook(lambda _, maps, out: branches.extend(maps))
    with torch.inference_mode():
        out = block(torch.randn(2, 256, 5, 5))
        weights = block.fuse.weights
        expected = torch.cat([(1 + weight) * branch for weight, branch in zip(weights, branches, strict=True)], dim=1)
    assert len(branches) == 4
    torch.testing.assert_close(out, expected)


def test_googlenets_trunk_starts_the_same_in_every_architecture(scaled: str) -> None:
    space = SearchSpace.named("googlenet", InputSpec(3, 32, 4), ("add", scaled))
    states = []
    for op in ("add", scaled):
        torch.manual_seed(11)
        state = space.build(space.uniform(op)).state_dict()
        states.append({key: value for key, value in state.items() if ".fuse." not in key})
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_the_small_inception_merges_a_3x3_branch_x_with_a_5x5_branch_y() -> None:
    """How far a change at one position spreads tells a branch's kernel."""
    torch.manual_seed(0)
    space = SearchSpace.named("inception-cifar", InputSpec(3, 32, 10))
    block = space.build(space.baseline).eval().get_submodule("inception1.1")
    given: list[tuple[torch.Tensor, ...]] = []
    block.fuse.register_forward_hook(lambda _, maps, out: given.append(maps))
    maps = torch.randn(1, 16, 15, 15)
    changed = maps.clone()
    changed[:, :, 7, 7] *= -5
    with torch.inference_mode():
        block(maps)
        block(changed)
    for before, after, reach in zip(*given, (3, 5), strict=True):
        rows = (before - after).abs().sum(dim=(0, 1, 3)).nonzero().flatten()
        assert rows.tolist() == list(range(7 - reach // 2, 8 + reach // 2))


def test_the_small_inception_has_twenty_layers_and_about_resnet20s_size() -> None:
    space = SearchSpace.named("inception-cifar")
    network = space.build(space.baseline)
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    longest = [name for name in convolutions if "5x5" not in name]
    assert len(longest) + 1 == 20
    host = SearchSpace.named("resnet20")
    sizes = [sum(p.numel() for p in built.parameters()) for built in (network, host.build(host.baseline))]
    assert 0.8 < sizes[0] / sizes[1] < 1.25
