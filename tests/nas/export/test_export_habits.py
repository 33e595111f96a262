"""What people's networks hold is exported: layers never called, two names for one module, parametrized ones, those kept
whole; and of what cannot be, the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from export_networks import BASE, expected_logits, logits_alone, random_images, scaled, trained_network
from safetensors.torch import load_file

from nas.export import ExportError, export_network
from nas.export.folder import FILES
from nas.export.formats import FORMATS
from nas.export.formats.onnx_graph import onnx_runner
from nas.export.generation import generate
from search_spaces import InputSpec, SearchSpace
from trials.judge import weights_of

SPEC = InputSpec(3, 16, 4)
NET = (
    BASE
    + """
from torch.nn import functional as F
from torch.nn.utils import parametrizations


class Idle(Base):
    def more(self):
        self.spare = nn.Sequential(nn.Conv2d(8, 3, 1), nn.BatchNorm2d(3))
        self.weight = nn.Parameter(torch.ones(3))


class TwoNames(Base):
    def more(self):
        self.norm = nn.BatchNorm2d(8)
        self.many, self.again = nn.ModuleList([self.a]), self.norm
        self.register_parameter("shared", self.a.weight)

    def inner(self, x):
        for part in self.many:
            x = x + self.again(part(x))
        return x


class Normed(Base):
    def more(self):
        self.a = parametrizations.weight_norm(self.a)
        self.stem = parametrizations.spectral_norm(self.stem)


class Power(nn.Module):
    def __init__(self, exponent):
        super().__init__()
        self.part = nn.ModuleDict({"one": nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU())})
        self.gain = nn.ParameterList([torch.ones(8, 1, 1)])
        self.activation, self.most = F.relu, float("inf")
        self.register_buffer("table", torch.full((8, 1, 1), 0.5), persistent=False)
        self.register_buffer("steps", torch.ones(1, dtype=torch.int32))

    def forward(self, x):
        if x.abs().max() > self.most:
            x = x * 0
        return self.activation(self.part["one"](x) * self.gain[0] + self.table) * self.steps


class Kept(Base):
    def more(self):
        self.a = Power(1)


class Training(Base):
    def more(self):
        self.block = Block()

    def inner(self, x):
        return self.block(x)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.gain = nn.Conv2d(8, 8, 3, 1, 1), nn.Parameter(torch.ones(8, 1, 1))

    def forward(self, x):
        return x + F.dropout(self.a(x) * self.gain, 0.5, self.training)


class Hooked(Base):
    def more(self):
        self.a.register_forward_hook(halve)


class Silent(Base):
    def more(self):
        self.a = Power(1)
        self.a.activation = lambda x: x


def halve(module, given, result):
    return result * 0.5
"""
)


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path}/net.py"


def trained_of(reference: str):
    space = SearchSpace.named(reference, SPEC)
    return trained_network(reference, SPEC, {space.points[0].name: "aff/4"})


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("Idle", set()),
        ("TwoNames", set()),
        ("Normed", set()),
        ("Kept", {"model.onnx", "model.pt2"}),
        ("Training", set()),
        ("Hooked", set()),
        ("Silent", {"model.onnx", "model.pt2"}),
    ],
)
def test_what_can_be_exported_is_and_the_rest_is_named(net: str, tmp_path: Path, name: str, missing: set[str]) -> None:
    trained = trained_of(f"{net}:{name}")
    out = tmp_path / "out"
    report = export_network(trained, out)
    assert report["left_out"].keys() == missing
    assert all(reason and "\n" not in reason for reason in report["left_out"].values())
    description = json.loads((out / "arch.json").read_text())
    assert description["left_out"] == json.loads((out / "parity.json").read_text())["left_out"] == report["left_out"]
    by_its_own_code = {"code"} if name in ("Hooked", "Silent") else set()
    assert {path.name for path in out.iterdir()} == set(FILES) - missing | by_its_own_code
    assert load_file(out / "weights.safetensors")["head.weight"].shape == (4, 8)
    images = random_images(SPEC, 3)
    wanted = expected_logits(trained, images)
    if "model.py" not in missing:
        (given,) = logits_alone(out, [images], tmp_path)
        torch.testing.assert_close(given, wanted)
    if "model.onnx" not in missing:
        torch.testing.assert_close(
            onnx_runner(FORMATS[2], out / "model.onnx").forward(scaled(trained, images))["logits"], wanted
        )


def test_a_file_that_would_travel_and_is_no_python_is_named(net: str, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("import (\n")
    (tmp_path / "net.py").write_text(NET + "\n\ntry:\n    import other\nexcept SyntaxError:\n    other = None\n")
    trained = trained_of(f"{net}:Hooked")
    with pytest.raises(ExportError, match=r"other\.py would travel and is no Python"):
        generate(trained, original=True)
    assert "model.py" in export_network(trained, tmp_path / "out", formats=["py"])["left_out"]


def test_weights_with_two_names_travel(net: str) -> None:
    space = SearchSpace.named(f"{net}:TwoNames", SPEC)
    assert weights_of(space.build(space.baseline))


def test_baking_leaves_other_copies_parametrized(net: str, tmp_path: Path) -> None:
    trained = trained_of(f"{net}:Normed")
    before = trained.space.build(trained.architecture).state_dict().keys()
    assert "a.weight" in trained.build().state_dict()
    assert trained.space.build(trained.architecture).state_dict().keys() == before
    assert replace(trained).build().state_dict()["a.weight"].shape == (8, 8, 3, 3)
