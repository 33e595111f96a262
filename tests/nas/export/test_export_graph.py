"""model.py of a network that was traced: its modules made anew, its graph as code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from export_networks import expected_logits, random_images, scaled, trained_network
from programs import nas_program

from nas.export import export_network
from nas.export.generation import generate
from search_spaces import InputSpec

NET = """
import torch
from torch import nn
from torch.nn import functional as F


class Kept(nn.Module):  # torch.fx cannot follow it: it is one step of the graph
    def __init__(self, power: int, SECRET=3):
        super().__init__()
        self.power = power

    def forward(self, x):
        return x ** self.power if x.sum() > float("-inf") else x


class Block(nn.Module):
    def __init__(self, channels, groups=1):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding="same", bias=False, groups=groups)
        self.norm = nn.BatchNorm2d(channels, eps=1e-3)
        self.gamma = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x):
        out = F.relu(self.norm(self.conv(x)), inplace=True) * self.gamma
        out += x
        return torch.where(out > float("inf"), out.new_tensor(0.0), out)


class Net(nn.Module):
    def __init__(self, num_classes=4, width=8, kept=None):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), nn.Hardswish())
        self.blocks = nn.Sequential(Block(width), Block(width, groups=2), nn.Dropout(0.25))
        self.kept = Kept(1) if kept is None else kept
        self.register_buffer("shift", torch.ones(1))
        self.register_buffer("fixed", torch.full((width,), 0.5), persistent=False)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x, pool: bool = True):
        x = self.kept(self.blocks(self.stem(x)))
        if pool:
            x = F.adaptive_avg_pool2d(x, 1).flatten(1) * self.fixed + self.shift
        return self.head(F.dropout(x, 0.1, self.training))


class Forgetful(Kept):
    def __init__(self, exponent):
        super().__init__(exponent)


class Weighing(nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.register_buffer("weights", weights)

    def forward(self, x):
        return x * self.weights if x.sum() > 0 else x


def weighing(num_classes=4):
    return Net(num_classes, kept=Weighing(torch.ones(8, 1, 1)))


def forgetful(num_classes=4):
    return Net(num_classes, kept=Forgetful(1))


def altered(num_classes=4):
    network = Net(num_classes)
    network.head.extra = nn.Parameter(torch.ones(1))
    return network
"""
SPEC = InputSpec(3, 17, 4)


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path}/net.py"


def assert_source_computes(trained, packages):
    source = generate(trained)
    assert source.packages == packages
    namespace = {"__name__": "model", "__file__": "model.py"}
    exec(compile(source.text, "model.py", "exec"), namespace)
    network = namespace["build"]()
    network.load_state_dict(dict(trained.state_dict), strict=True)
    images = random_images(trained.space.input, 3)
    expected = expected_logits(trained, images)
    with torch.inference_mode():
        assert (network.eval()(scaled(trained, images)) - expected).abs().max() <= 1e-6 * expected.abs().max()
        torch.manual_seed(1)
        trains = network.train()(scaled(trained, images))
        torch.manual_seed(1)
        assert torch.equal(trains, trained.build().train()(scaled(trained, images)))
    return source.text


def test_the_source_of_a_network_in_a_file(net):
    trained = trained_network(f"{net}:Net", SPEC, {"blocks.0.add": "aff/4", "blocks.1.add": "se/4"})
    text = assert_source_computes(trained, ["torch"])
    assert 'put(self, "blocks.1.add", fusions["blocks.1.add"])' in text
    assert "class Kept(nn.Module):" in text
    assert "Conv2d(in_channels=8, out_channels=8, kernel_size=(3, 3), padding=" in text
    assert "def forward(self, x: torch.Tensor) -> torch.Tensor:" in text
    assert "_assert" not in text
    assert " = None" not in text.split("class TracedNetwork")[1]


def test_the_source_of_a_torchvision_network():
    trained = trained_network("torchvision:mobilenet_v3_small", InputSpec(3, 32, 4), {})
    assert_source_computes(trained, ["torch"])


@pytest.mark.parametrize("name", ["forgetful", "weighing", "altered"])
def test_what_its_constructor_cannot_make_is_put_together_from_its_parts(net, name):
    text = assert_source_computes(trained_network(f"{net}:{name}", SPEC, {}), ["torch"])
    assert "restored(" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "torchvision:resnet18",
        *(pytest.param(f"torchvision:{name}", marks=pytest.mark.long) for name in ("convnext_tiny", "googlenet")),
    ],
)
def test_every_artefact_of_torchvision_networks(name, tmp_path):
    assert export_network(trained_network(name, InputSpec(3, 64, 4), {}), tmp_path / "out")["passed"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", [pytest.param("local", marks=pytest.mark.long), "ray"])
def test_a_search_over_a_users_network_to_its_export(net, tmp_path, engine):
    Path(net).write_text(NET.replace("nn.Conv2d(3,", "nn.Conv2d(1,").replace('if x.sum() > float("-inf") else x', ""))
    small = ("--train-images", 512, "--epochs", 1, "--parent-epochs", 1, "--trials", 2, "--reductions", 4)
    small += ("--engine", engine, "--finalists", "none", "--export", "best")
    search = ("search", "--space", "net.py:Net", *small, "--out", "run")
    done = nas_program(*search, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "exported" / "model.onnx").is_file()
    again = nas_program(*search, cwd=tmp_path)
    assert "run is complete" in again.stderr
