"""Exports of networks with points of other kinds: branches that are concatenated, pyramids, odd sizes."""

from __future__ import annotations

import random

import pytest
import torch
from export_networks import expected_logits, random_images, scaled, trained_network

from nas.export import ExportError, export_network
from nas.export.generation import generate
from search_spaces import InputSpec, SearchSpace, register
from search_spaces.fusions import unregister

SMALL = InputSpec(3, 33, 4)


class GatedSum(torch.nn.Module):
    """Σ σ(gᵢ(GAP(Σ xⱼ)))·2·xᵢ, of any number of inputs."""

    def __init__(self, channels: int, reduction: int, *, inputs: int = 2) -> None:
        super().__init__()
        self.squeeze = torch.nn.Conv2d(channels, channels // reduction, 1)
        self.gates = torch.nn.ModuleList(torch.nn.Conv2d(channels // reduction, channels, 1) for _ in range(inputs))

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        total = torch.stack(maps).sum(dim=0)
        squeezed = torch.relu(self.squeeze(total.mean(dim=(2, 3), keepdim=True)))
        gated = [2 * torch.sigmoid(gate(squeezed)) * x for gate, x in zip(self.gates, maps, strict=True)]
        return torch.stack(gated).sum(dim=0)


class GatedBranches(torch.nn.Module):
    """Each of n branches gated by a bottleneck of their own channels, side by side."""

    def __init__(self, channels: tuple[int, ...], reduction: int) -> None:
        super().__init__()
        self.gates = torch.nn.ModuleList(GatedSum(width, reduction, inputs=1) for width in channels)

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        return torch.cat([gate(x) for gate, x in zip(self.gates, maps, strict=True)], dim=1)


@pytest.fixture
def gated():
    register("gated_sum", width=lambda channels, reduction: channels // reduction, max_inputs=None, cat=GatedBranches)(
        GatedSum
    )
    yield "gated_sum"
    unregister("gated_sum")


def choices_of(name, operators=("add", "concat", "se", "cbam", "aff", "iaff")):
    return SearchSpace.named(name, SMALL, operators).sample(random.Random(3)).labels()


def assert_source_computes(trained, images):
    source = generate(trained)
    text = source.text
    assert source.packages == ["torch"]
    namespace = {"__name__": "model", "__file__": "model.py"}
    exec(compile(text, "model.py", "exec"), namespace)
    network = namespace["build"]().eval()
    network.load_state_dict(dict(trained.state_dict))
    expected = expected_logits(trained, images)
    with torch.inference_mode():
        assert (network(scaled(trained, images)) - expected).abs().max() <= 1e-5 * expected.abs().max()
    return text


@pytest.mark.parametrize("name", ["googlenet", "inception-cifar", "resnet20-fpn", "resnet18-pan", "resnext50"])
def test_a_source_at_an_odd_size(name):
    text = assert_source_computes(trained_network(name, SMALL, choices_of(name)), random_images(SMALL, 2))
    assert ("Concatenation((" in text) == (name == "googlenet")


def test_an_operator_at_a_point_of_four_branches(gated):
    operators = ("add", gated)
    choices = {"inception3a": f"{gated}/4", "inception5b": f"{gated}/16"}
    text = assert_source_computes(
        trained_network("googlenet", SMALL, choices, operators=operators), random_images(SMALL, 2)
    )
    assert '"inception3a": GatedBranches((64, 128, 32, 32), reduction=4),' in text
    assert '"inception3b": Concatenation((128, 192, 96, 64)),' in text


def test_a_source_with_points_of_three_maps():
    operators = ("add", "sk", "weighted")
    trained = trained_network(
        "resnet20-bifpn", SMALL, choices_of("resnet20-bifpn", operators) | {"bottom_up.n1": "sk/4"}, operators=operators
    )
    text = assert_source_computes(trained, random_images(SMALL, 2))
    assert '"bottom_up.n1": SelectiveKernelFusion(32, reduction=4, inputs=3),' in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("inception-cifar", "resnet20-bifpn"),
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("googlenet", "resnet20-fpn", "resnet20-pan", "resnet18-fpn")
        ),
    ],
)
def test_every_artefact_at_an_odd_size(name, tmp_path):
    trained = trained_network(name, SMALL, choices_of(name))
    assert export_network(trained, tmp_path / "out")["passed"]


OWN_DESIGN = """
from search_spaces.networks import cifar_resnet

INNER = cifar_resnet(8)


class Design:
    title = summary = "ours"
    default_input = INNER.default_input

    def points(self, spec):
        return INNER.points(spec)

    def build(self, spec, fuse):
        return INNER.build(spec, fuse)


SPACE = Design()
"""


def test_a_design_that_does_not_say_how_it_builds_cannot_be_exported(tmp_path):
    (tmp_path / "my_space.py").write_text(OWN_DESIGN)
    with pytest.raises(ExportError) as error:
        generate(trained_network(f"{tmp_path / 'my_space.py'}:SPACE", SMALL, {}))
    assert "derive Design from search_spaces.networks.ConstructedDesign and give it construction(spec)" in str(
        error.value
    )
    assert "\n" not in str(error.value)


def test_a_plan_is_written_out_where_it_is_used():
    text = generate(trained_network("resnet8-fpn-fcos", SMALL, {})).text
    assert "class PyramidPlan(NamedTuple):" in text
    assert (
        '            trunk=TrunkPlan(block=BasicBlock, layers=(1, 1, 1), widths=(16, 32, 64), stem="imagenet"),' in text
    )
    assert '        head=DetectorPlan(kind="fcos", convolutions=2, extra_levels=False, anchor_scale=0.5),' in text
