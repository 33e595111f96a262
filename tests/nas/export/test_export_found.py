"""Networks as people write them, each of a kind that an export once lost or refused: model.py computes what they do."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from export_networks import BASE, expected_logits, random_images, scaled, trained_network

from nas.export.formats import Job
from nas.export.formats.source import Source
from nas.export.generation import generate
from nas.export.trained import write_weights
from search_spaces import InputSpec

SPEC = InputSpec(3, 16, 4)
NET = (
    BASE
    + """
import functools

import timm
from helpers import SCALES, TABLE
from torch.nn import functional as F
from torch.nn.utils import parametrizations


class GammaBlock(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8))
        self.gamma = nn.Parameter(torch.ones(8, 1, 1))

    def forward(self, x):
        return x + F.dropout(self[1](self[0](x)), 0.1, self.training) * self.gamma


class Gamma(Base):
    def more(self):
        self.block = GammaBlock()

    def inner(self, x):
        return self.block(x)


class Recurrent(Base):
    def more(self):
        self.rows, self.columns = nn.LSTM(8, 4, batch_first=True, bidirectional=True), nn.GRU(8, 8, batch_first=True)

    def inner(self, x):
        x = x + self.a(x)
        b, c, h, w = x.shape
        tokens = self.columns(self.rows(x.flatten(2).transpose(1, 2))[0])[0]
        return x + tokens.transpose(1, 2).reshape(b, c, h, w)


class Whole(nn.Module):
    def forward(self, x):
        if x.abs().max() > 1e9:  # keeps it whole: torch.fx cannot follow
            x = x * 0
        return self.step(x)


class Norms(Whole):
    def __init__(self, norm_layer=nn.InstanceNorm2d):
        super().__init__()
        self.norm_layer, self.make = norm_layer, functools.partial(norm_layer, affine=True)
        self.options = {"kinds": [nn.ReLU, F.gelu]}
        self.norm = self.make(8)

    def step(self, x):
        return self.norm(x)


class Normalised(Base):
    def more(self):
        self.a = Norms()


class Tokens(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x):
        b, c, h, w = x.shape
        t = x.flatten(2).transpose(1, 2)
        t = self.part(t, t, t)[0] if isinstance(self.part, nn.MultiheadAttention) else self.part(t)
        return t.transpose(1, 2).reshape(b, c, h, w)


class Encoder(Base):
    def more(self):
        self.a = Tokens(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu"))


class Attention(Base):
    def more(self):
        self.a = Tokens(nn.MultiheadAttention(8, 2, bias=False, batch_first=True))


class Parametrized(Whole):
    def __init__(self, seed):
        super().__init__()
        self.c = parametrizations.weight_norm(nn.Conv2d(8, 8, 1))
        self.linear = parametrizations.orthogonal(nn.Linear(8, 8))
        self.rows = nn.LSTM(8, 8, batch_first=True)
        self.lock = lambda x: x * seed

    def step(self, x):
        x = self.lock(self.c(x)) + self.linear(x.mean((2, 3)))[..., None, None]
        return x + self.rows(x.mean(3).transpose(1, 2))[0].mean(1)[..., None, None]


class Kept(Base):
    def more(self):
        self.a = Parametrized(2)


class Stated(Whole):
    def step(self, x):
        return x * SCALES[0] * TABLE["slope"] + TABLE["b"]


class Stating(Base):
    def more(self):
        self.a = Stated()


MADE = Base()


def mobilenetv4(num_classes=4):
    return timm.create_model("mobilenetv4_conv_small", num_classes=num_classes)


def ghostnet(num_classes=4):
    return timm.create_model("ghostnet_050", num_classes=num_classes)
"""
)
HELPERS = """
SCALES = []
SCALES.append(1.5)
TABLE = {}
TABLE["slope"] = 0.5
for _key in ("a", "b"):
    TABLE[_key] = len(TABLE)
TABLE["unused"] = 0
"""


@pytest.mark.parametrize(
    ("name", "by_its_own_code"),
    [
        *(("Gamma", False), ("Recurrent", False), ("Normalised", False), ("Encoder", False), ("Attention", False)),
        *(("Stating", False), ("Kept", True), ("MADE", False)),
        pytest.param("ghostnet", False, marks=pytest.mark.slow),
        pytest.param("mobilenetv4", False, marks=[pytest.mark.slow, pytest.mark.long]),
    ],
)
def test_the_source_of_what_was_once_lost_or_refused(tmp_path: Path, name: str, by_its_own_code: bool) -> None:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "helpers.py").write_text(HELPERS)
    spec = InputSpec(3, 32, 4) if name[0].islower() else SPEC
    trained = trained_network(f"{tmp_path}/net.py:{name}", spec, {})
    out = tmp_path / "out"
    out.mkdir()
    network = trained.build()
    write_weights(trained, network, out)
    job = Job(trained, network, out)
    Source().write(job)
    assert (out / "code").is_dir() == by_its_own_code
    assert bool(job.facts["model.py"]["files"]) == by_its_own_code
    path, before = list(sys.path), dict(sys.modules)
    found = importlib.util.spec_from_file_location("exported_found", out / "model.py")
    assert found is not None
    assert found.loader is not None
    model = importlib.util.module_from_spec(found)
    found.loader.exec_module(model)
    assert sys.path == path
    assert [sys.modules.get(name) for name in ("net", "helpers")] == [before.get(name) for name in ("net", "helpers")]
    images = random_images(spec, 3)
    expected = expected_logits(trained, images)
    loaded = model.load()
    fused = model.load_fused() if hasattr(model, "FOLDED") else None
    with torch.inference_mode():
        assert (loaded(scaled(trained, images)) - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert (fused is not None) == (
            name in ("Gamma", "ghostnet")
        )  # timm's own norms, which have an activation, stay
        if fused is not None:
            assert (fused(scaled(trained, images)) - expected).abs().max() <= 1e-4 * expected.abs().max()
            assert sum(isinstance(part, torch.nn.BatchNorm2d) for part in fused.modules()) < len(model.FOLDED)
    torch.manual_seed(1)
    trains = loaded.train()(scaled(trained, images))
    torch.manual_seed(1)
    assert torch.allclose(trains, trained.build().train()(scaled(trained, images)), atol=1e-5)
    backbone = model.as_backbone()
    assert backbone(scaled(trained, images)).shape[:2] == (3, backbone.out_channels)
    assert len(model.load_trunk(model.build(), dict(network.state_dict()))) == len(network.state_dict())


def test_what_another_module_does_to_a_table_travels_with_it(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "helpers.py").write_text(HELPERS)
    text = generate(trained_network(f"{tmp_path}/net.py:Stating", SPEC, {})).text
    for statement in ("SCALES.append(1.5)", 'TABLE["slope"] = 0.5', 'for _key in ("a", "b"):', 'TABLE["unused"] = 0'):
        assert statement in text
    assert (
        text.index("TABLE = {}") < text.index('TABLE["slope"]') < text.index("for _key") < text.index('TABLE["unused"]')
    )


def test_helpers_of_one_name_in_two_folders_are_not_mixed_and_what_was_run_is_exported(tmp_path: Path) -> None:
    texts = {}
    for folder, scale in (("one", "1.5"), ("two", "2.5")):
        (tmp_path / folder / "parts").mkdir(parents=True)
        (tmp_path / folder / "net.py").write_text(
            NET.replace("import timm\n", "").replace("from helpers", "from parts.helpers")
        )
        (tmp_path / folder / "parts" / "__init__.py").write_text("")
        (tmp_path / folder / "parts" / "tables.py").write_text(f"SCALES = []\nSCALES.append({scale})\n")
        (tmp_path / folder / "parts" / "helpers.py").write_text(
            HELPERS.replace("SCALES = []\nSCALES.append(1.5)", "from . import tables\nSCALES = tables.SCALES")
        )
        trained = trained_network(f"{tmp_path / folder}/net.py:Stating", SPEC, {})
        for name in ("net.py", "parts/helpers.py"):
            (tmp_path / folder / name).write_text("# edited while the search went on")
        texts[scale] = generate(trained).text
    for scale, text in texts.items():
        names: dict[str, object] = {"__name__": "exported_one", "__file__": "model.py"}
        exec(text, names)
        assert names["SCALES"] == [float(scale)]
        assert names["TABLE"] == {"slope": 0.5, "a": 1, "b": 2, "unused": 0}
