"""The networks: torchvision's weights fit, the points are where they say, the trunk is common."""

from __future__ import annotations

import pytest
import torch
import torchvision

from search_spaces import InputSpec, SearchSpace, SpaceError, design, names
from search_spaces.inheritance import fusion_paths

CIFAR = ("resnet8", "resnet14", "resnet20", "resnet32", "resnet56")
IMAGENET = ("resnet18", "resnet34", "resnet50", "resnet101", "resnext50")


def test_the_catalogue() -> None:
    assert set(CIFAR + IMAGENET) <= set(names())
    with pytest.raises(SpaceError, match="unknown space 'resnet-18': did you mean 'resnet18'"):
        design("resnet-18")


@pytest.mark.parametrize("name", names())
def test_every_named_network_builds_and_classifies(name: str) -> None:
    spec = InputSpec(1, 33, 7)
    space = SearchSpace.named(name, spec)
    network = space.build(space.baseline).eval()
    with torch.inference_mode():
        logits = network(torch.randn(3, 1, 33, 33))
    assert logits.shape == (3, 7)
    assert logits.isfinite().all()
    assert len(space.points) == sum(hasattr(module, "fuse") for module in network.modules())


@pytest.mark.parametrize(("name", "layers"), [("resnet8", 8), ("resnet20", 20), ("resnet56", 56), ("resnet50", 50)])
def test_a_network_has_the_layers_of_its_name(name: str, layers: int) -> None:
    space = SearchSpace.named(name)
    network = space.build(space.baseline)
    weighted = [
        module_name
        for module_name, module in network.named_modules()
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear) and "downsample" not in module_name
    ]
    assert len(weighted) == layers


@pytest.mark.parametrize("name", IMAGENET)
def test_torchvisions_weights_give_torchvisions_outputs(name: str) -> None:
    torch.manual_seed(0)
    their_name = {"resnext50": "resnext50_32x4d"}.get(name, name)
    theirs = torchvision.models.get_model(their_name, weights=None, num_classes=10).eval()
    with torch.no_grad():
        for tensor_name, tensor in theirs.state_dict().items():
            if tensor_name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor_name.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.1)
    space = SearchSpace.named(name, InputSpec(3, 65, 10))
    ours = space.build(space.baseline).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, 65, 65)
    with torch.inference_mode():
        expected = theirs(images)
        scale = expected.abs().max().clamp(min=1)
        torch.testing.assert_close(ours(images) / scale, expected / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size"),
    [*((name, size) for name in ("resnet8", "resnet14", "inception-cifar", "resnet20-fpn", "resnet20-pan",
                                       "resnet20-bifpn")
       for size in (8, 9, 27, 30, 33)),
     *((name, size) for name in ("resnet18", "resnet50", "resnext50", "googlenet") for size in (32, 65, 97)),
     *((name, size) for name in ("resnet34-fpn", "resnet50-fpn", "resnet18-pan", "resnet18-bifpn")
       for size in (33, 97))],
)  # fmt: skip
def test_points_have_the_shapes_that_are_fused(name: str, size: int) -> None:
    space = SearchSpace.named(name, InputSpec(3, size, 4))
    network = space.build(space.baseline).eval()
    seen: list[tuple[str, tuple[tuple[int, ...], ...], tuple[int, ...]]] = []
    blocks: dict[str, tuple[int, int]] = {}
    paths = {name: path for path, name in fusion_paths(network).items()}
    for point in space.points:
        block, fusion = paths[point.name].removesuffix(".fuse"), paths[point.name]
        network.get_submodule(block).register_forward_hook(
            lambda _, given, out, name=point.name: blocks.update({name: (given[0].shape[1], given[0].shape[2])})
        )
        network.get_submodule(fusion).register_forward_hook(
            lambda _, given, out, name=point.name: seen.append(
                (name, tuple(tuple(map.shape) for map in given), tuple(out.shape))
            )
        )
    with torch.inference_mode():
        network(torch.randn(1, 3, size, size))
    assert [name for name, _, _ in seen] == [point.name for point in space.points]
    for point, (_, maps, fused) in zip(space.points, seen, strict=True):
        shape = point.shape
        assert maps == tuple((1, channels, shape.height, shape.width) for channels in shape.inputs)
        assert fused == (1, shape.channels, shape.height, shape.width)
        assert sum(shape.inputs) == shape.channels * (1 if shape.merge == "cat" else len(shape.inputs))
        if shape.kind != "long skip":
            in_channels, in_size = blocks[point.name]
            assert in_channels == shape.in_channels
            assert shape.height == -(-in_size // shape.stride)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("resnet8", {"layer": "short skip"}), ("googlenet", {"inception": "same layer"}),
     ("inception-cifar", {"inception": "same layer"}), ("resnet20-fpn", {"layer": "short skip", "fpn": "long skip"}),
     ("resnet18-pan", {"layer": "short skip", "fpn": "long skip", "pan": "long skip"}),
     ("resnet20-bifpn", {"layer": "short skip", "top_down": "long skip", "bottom_up": "long skip"})],
)  # fmt: skip
def test_points_say_what_kind_of_merge_they_are(name: str, kinds: dict[str, str]) -> None:
    points = SearchSpace.named(name).points
    assert {point.name.partition(".")[0].rstrip("12345abcde"): point.shape.kind for point in points} == kinds


@pytest.mark.parametrize("name", ["resnet8", "inception-cifar", "resnet20-pan", "resnet20-bifpn", "googlenet"])
def test_every_parameter_learns(name: str) -> None:
    torch.manual_seed(0)
    space = SearchSpace.named(name, InputSpec(3, 33, 4))
    network = space.build(space.baseline)
    network(torch.randn(4, 3, 33, 33)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_block_fuses_its_identity_with_its_residual() -> None:
    space = SearchSpace.named("resnet8", InputSpec(3, 8, 4))
    block = space.build(space.baseline).eval().get_submodule("layer1.0")
    given: list[torch.Tensor] = []
    block.fuse.register_forward_hook(lambda _, inputs, out: given.extend(inputs))
    maps = torch.randn(2, 16, 8, 8)
    with torch.inference_mode():
        out = block(maps)
        assert torch.equal(given[0], maps)
        torch.testing.assert_close(out, (given[0] + given[1]).clamp(min=0))


@pytest.mark.parametrize(
    "name", ["resnet8", "resnet18", "inception-cifar", "resnet20-fpn", "resnet18-pan", "resnet18-bifpn"]
)
def test_the_trunk_starts_the_same_in_every_architecture(name: str) -> None:
    space = SearchSpace.named(name, InputSpec(3, 32, 10))
    states = []
    for op in space.operators:
        torch.manual_seed(11)
        state = space.build(space.uniform(op)).state_dict()
        states.append({key: value for key, value in state.items() if ".fuse." not in key})
    first = states[0]
    for state in states[1:]:
        assert state.keys() == first.keys()
        assert all(torch.equal(state[key], first[key]) for key in first)


@pytest.mark.parametrize(
    ("name", "size", "least"),
    [("resnet8", 7, 8), ("resnet56", 1, 8), ("resnet18", 7, 8), ("resnext50", 7, 8), ("googlenet", 31, 32),
     ("inception-cifar", 7, 8), ("resnet20-fpn", 7, 8), ("resnet18-pan", 7, 8), ("resnet20-bifpn", 7, 8)],
)  # fmt: skip
def test_an_image_too_small_is_refused(name: str, size: int, least: int) -> None:
    with pytest.raises(SpaceError, match=f"takes images of {least} pixels or more, not {size}"):
        SearchSpace.named(name, InputSpec(3, size, 10))


@pytest.mark.parametrize("name", ["resnet8", "inception-cifar", "resnet20-pan", "resnet20-bifpn"])
def test_identity_init_leaves_a_network_as_it_was(name: str) -> None:
    """A fusion put into a trained network does not disturb it."""
    space = SearchSpace.named(name, InputSpec(3, 16, 10))
    trained = space.build(space.baseline).eval()
    images = torch.randn(4, 3, 16, 16)
    with torch.inference_mode():
        expected = trained(images)
        for op in space.operators:
            network = space.build(space.uniform(op)).eval()
            missing, superfluous = network.load_state_dict(trained.state_dict(), strict=False)
            assert superfluous == []
            assert all(".fuse." in name for name in missing)
            torch.testing.assert_close(network(images), expected, rtol=1e-5, atol=1e-5)
