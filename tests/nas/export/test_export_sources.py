"""What an operator leans on travels with it, wherever it was written; what cannot is refused by name."""

from __future__ import annotations

import ast
import importlib
import json
import random
import re
import subprocess
import sys
from textwrap import dedent

import pytest
import torch
from export_networks import expected_logits, logits_alone, random_images, scaled, trained_network

from nas.export import ExportError, export_network
from nas.export.folder import FILES
from nas.export.generation import generate
from nas.export.sources import Sources
from search_spaces import InputSpec, SearchSpace, names, register
from search_spaces.fusions import operator_names, unregister

GREY = InputSpec(1, 28, 10)

HELPERS = '''
import math
from dataclasses import dataclass

MIN_WIDTH = 1  # the same name as one of ours


@dataclass(frozen=True)
class Slope:
    """How steep."""

    value: float = math.e - 2


STEEP, UNUSED = Slope(0.7), 3


def bottleneck_width(channels, reduction):
    return max(MIN_WIDTH, channels // reduction)


def never_used():
    raise NotImplementedError
'''

OPERATORS = '''
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

import {helpers}
from {helpers} import bottleneck_width as squeeze, Slope
from search_spaces import register
from search_spaces.fusions import layers
from search_spaces.fusions.aff import MultiScaleChannelAttention as Attention
from search_spaces.fusions.layers import bottleneck_width, pointwise as pw


def load(value):  # a name that model.py has for itself
    return value


class Base(nn.Module):
    def slope(self, slope: Slope) -> float:
        return slope.value


@register(
    "{name}",
    width=bottleneck_width,
)
class Tilted(Base):
    """x + slope·gate(y): names imported, renamed, clashing, inherited."""

    def __init__(self, channels: int, ratio: int = 4) -> None:
        super().__init__()
        width = squeeze(channels, ratio)
        self.squeeze, self.expand = pw(channels, width), layers.pointwise(width, channels, bias=True)
        self.attention = Attention(channels, bottleneck_width(channels, ratio))

    def forward(self, x: Tensor, y: "torch.Tensor") -> Tensor:
        gate = torch.sigmoid(self.expand(functional.gelu(self.squeeze(layers.global_average(y)))))
        return load(x + self.slope({helpers}.STEEP) * gate * y * self.attention(x))
'''


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """Writes modules of a user's, imports them, and forgets them and their operators afterwards."""
    before = set(operator_names())
    written = []
    (tmp_path / "user").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "user")

    def write(name: str, text: str):
        (tmp_path / "user" / f"{name}.py").write_text(text, encoding="utf-8")
        written.append(name)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield write
    for name in set(operator_names()) - before:
        unregister(name)
    for name in written:
        sys.modules.pop(name, None)


def trained_with(operator: str, choice: str, point: str = "layer2.0"):
    return trained_network("resnet8", GREY, {point: choice}, operators=("add", "aff", operator))


def test_a_users_operator_is_exported(user_module, tmp_path):
    user_module("tilt_helpers", HELPERS)
    user_module("tilt_operators", OPERATORS.format(helpers="tilt_helpers", name="tilted"))
    trained = trained_with("tilted", "tilted/4")
    out = tmp_path / "out"
    export_network(trained, out)
    images = random_images(GREY, 3)
    (logits,) = logits_alone(out, [images], tmp_path)
    expected = expected_logits(trained, images)
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()
    source = (out / "model.py").read_text()
    assert '"layer2.0": Tilted(32, ratio=4),' in source
    assert "never_used" not in source
    assert "@register" not in source
    assert "tilt_helpers" not in source
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--isolated",
            "--no-cache",
            "--select",
            "E,F",
            "--line-length",
            "120",
            "-",
        ],
        input=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_source_is_the_same_every_time(user_module):
    user_module("same_helpers", HELPERS)
    user_module("same_operators", OPERATORS.format(helpers="same_helpers", name="same"))
    trained = trained_with("same", "same/4")
    assert generate(trained).text == generate(trained).text


def test_definitions_come_after_what_they_need(user_module):
    user_module(
        "looping",
        dedent(
            '''
            from torch import nn
            from search_spaces import register


            class Root(nn.Module):
                def make(self):
                    return Leaf  # which is made of this very class


            class Leaf(Root):
                pass


            @register("looping")
            class Looping(Root):
                """x + y."""

                def __init__(self, channels):
                    super().__init__()
                    self.leaf = self.make()

                def forward(self, x, y):
                    return x + y
            '''
        ),
    )
    text = generate(trained_with("looping", "looping")).text
    assert text.index("class Root") < text.index("class Leaf")
    assert text.index("class Root") < text.index("class Looping")
    exec(compile(text, "model.py", "exec"), {"__name__": "model", "__file__": "model.py"})


def left_out(trained, out):
    """Why there is no model.py; the others are there."""
    report = export_network(trained, out)
    assert {path.name for path in out.iterdir()} == set(FILES) - {"model.py", "predict.py"}
    assert json.loads((out / "arch.json").read_text())["left_out"] == report["left_out"]
    assert report["left_out"].keys() == {"model.py"}
    return report["left_out"]["model.py"]


def test_an_operator_inside_a_function_has_no_source(tmp_path):
    from search_spaces.fusions.linear import Add

    class Inner(Add):
        """x + y."""

    register("inner")(Inner)
    try:
        assert "not defined at the top level of a module" in left_out(trained_with("inner", "inner"), tmp_path / "out")
    finally:
        unregister("inner")


def test_an_operator_without_source_has_none(user_module, tmp_path):
    text = OPERATORS.format(helpers="gone_helpers", name="gone")
    user_module("gone_helpers", HELPERS)
    module = user_module("gone_operators", text)
    (tmp_path / "user" / "gone_operators.py").unlink()
    importlib.import_module("linecache").checkcache()
    reason = left_out(trained_with("gone", "gone/4"), tmp_path / "out")
    assert "source of module 'gone_operators' cannot be read" in reason
    assert module.Tilted.__module__ == "gone_operators"


def test_an_import_of_ours_inside_a_body_is_refused(user_module):
    user_module(
        "hidden_import",
        dedent(
            '''
            from torch import nn
            from search_spaces import register


            @register("hidden_import")
            class Hidden(nn.Module):
                """x + y."""

                def __init__(self, channels):
                    super().__init__()

                def forward(self, x, y):
                    from search_spaces.fusions.layers import global_average

                    return x + y + global_average(y)
            '''
        ),
    )
    with pytest.raises(ExportError, match="move that import to the module's top"):
        generate(trained_with("hidden_import", "hidden_import"))


SMALL_OPERATOR = '''
import importlib
import json

from torch import nn
from search_spaces import register


@register("{name}")
class Small(nn.Module):
    """x + y."""

    def __init__(self, channels):
        super().__init__()
        {first}

    def forward(self, x, y):
        return x + y
'''


def test_a_model_that_needs_its_own_home_is_left_out(user_module, tmp_path):
    first = "importlib.import_module(type(self).__module__ if __name__ == 'secret' else 'secret')"
    user_module("secret", SMALL_OPERATOR.format(name="secret", first=first))
    assert re.search(
        "does not run by itself: .*may not import secret", left_out(trained_with("secret", "secret"), tmp_path / "out")
    )


def test_a_source_that_is_not_what_was_trained_is_left_out(user_module, tmp_path, monkeypatch):
    module = user_module("patched", SMALL_OPERATOR.format(name="patched", first="pass"))
    monkeypatch.setattr(module.Small, "forward", lambda self, x, y: x - y)
    assert "model.py differs from the trained network by" in left_out(
        trained_with("patched", "patched"), tmp_path / "out"
    )


def test_an_installed_class_stays_an_import():
    sources = Sources()
    assert sources.add(torch.nn.BatchNorm2d) == "BatchNorm2d"
    assert [imported.statement for imported in sources.imports()] == ["from torch.nn import BatchNorm2d"]
    assert sources.text() == []


def run_source(trained):
    """The generated model.py as a namespace."""
    text = generate(trained).text
    namespace = {"__name__": "model", "__file__": "model.py"}
    exec(compile(text, "model.py", "exec"), namespace)
    return namespace


def same_network(trained, images):
    network = run_source(trained)["build"]().eval()
    network.load_state_dict(dict(trained.state_dict))
    expected = expected_logits(trained, images)
    with torch.inference_mode():
        return (network(scaled(trained, images)) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("name", names())
def test_every_network_of_the_catalogue_has_a_source(name):
    spec = InputSpec(3, 32, 5)
    space = SearchSpace.named(name, spec)
    choices = space.sample(random.Random(2)).labels()
    assert same_network(trained_network(name, spec, choices), random_images(spec, 2))


@pytest.mark.parametrize("operator", operator_names())
def test_every_operator_has_a_source(operator):
    choices = SearchSpace.named("resnet8", GREY, ("add", operator)).uniform(operator).labels()
    trained = trained_network("resnet8", GREY, choices, operators=("add", operator))
    assert same_network(trained, random_images(GREY, 3))


@pytest.mark.slow
@pytest.mark.parametrize("place", range(0, len(operator_names()), 6))
def test_every_operator_is_exported(place, tmp_path):
    """Six to a network, which has six points."""
    operators = operator_names()[place : place + 6]
    space = SearchSpace.named("resnet14", GREY, ("add", *(name for name in operators if name != "add")))
    points = [point.name for point in space.points]
    choices = {point: space.uniform(name).labels()[point] for point, name in zip(points, operators, strict=False)}
    trained = trained_network("resnet14", GREY, choices, operators=space.operators)
    assert {choice.op for choice in trained.architecture.choices.values()} >= set(operators)
    assert export_network(trained, tmp_path / "out")["passed"]


def test_no_definition_is_carried_twice(user_module):
    user_module("twice_helpers", HELPERS)
    user_module("twice_operators", OPERATORS.format(helpers="twice_helpers", name="twice"))
    trained = trained_network(
        "resnet8", GREY, {"layer1.0": "aff/4", "layer2.0": "twice/4"}, operators=("add", "aff", "twice")
    )
    defined = [node.name for node in ast.parse(generate(trained).text).body if hasattr(node, "name")]
    assert len(defined) == len(set(defined))
    assert {"bottleneck_width", "bottleneck_width_2", "load_2"} <= set(defined)


def test_what_ends_a_line_for_text_but_not_for_python_moves_no_line(user_module):
    strange = "".join(map(chr, (0x0B, 0x0C, 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029)))
    text = OPERATORS.format(helpers="page_helpers", name="page")
    text = text.replace("class Base", f"\x0c\nABOUT = 'in two{strange}halves'  # and{strange}more\n\n\nclass Base")
    text = text.replace("return slope.value", "return slope.value * bool(ABOUT)")
    user_module("page_helpers", HELPERS.replace("\n\nSTEEP", "\n\x0c\nSTEEP"))
    user_module("page_operators", text)
    source = generate(trained_with("page", "page/4")).text
    assert f"ABOUT = 'in two{strange}halves'  # and{strange}more\n" in source
    assert "never_used" not in source
    ast.parse(source)


def test_a_statement_that_ends_on_the_line_of_another_is_refused_in_one_line(user_module, tmp_path):
    text = SMALL_OPERATOR.format(name="crowded", first="self.gain = GAIN")
    user_module("crowded", text.replace("\n\n\n@register", "\n\nGAIN = 1; OTHER = (\n    2)\n\n\n@register"))
    reason = left_out(trained_with("crowded", "crowded"), tmp_path / "out")
    assert reason.startswith("the lines of crowded:")
    assert "\n" not in reason
