"""`nas discover`: a network by reference, its table and JSON, and one line for every slip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from programs import nas_program
from torch import nn

import nas
from nas.cli.main import commands
from search_spaces import SpaceError
from search_spaces.discovery.loading import load_model
from search_spaces.errors import UserError

NETWORK = """
import torch
from torch import nn
from parts import WIDTH


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x):
        x = x + self.conv(x)
        return x + 1


def build():
    return nn.Sequential(nn.Conv2d(1, WIDTH, 1), Block())


MODEL = build()
NUMBER = 3


def broken():
    raise RuntimeError("no weights\\nhere")


def returns_none():
    return None


def plain():
    return nn.Conv2d(1, 2, 1)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "parts.py").write_text("WIDTH = 8\n")
    (tmp_path / "bad.py").write_text("import no_such_package\n")
    return tmp_path


@pytest.mark.parametrize("name", ["MODEL", "build"])
def test_a_network_in_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(folder)
    options = ["--size", "12", "--channels", "1", "--reductions", "2", "--json"]
    done = CliRunner().invoke(commands, ["discover", f"net.py:{name}", *options], catch_exceptions=False)
    found = json.loads(done.stdout)
    assert found["name"] == f"net.py:{name}"
    (point,) = found["points"]
    assert (point["name"], point["channels"], point["height"]) == ("1.add1", 8, 12)
    assert point["choices"] == ["add", "concat", "se/2", "cbam/2", "aff/2", "iaff/2"]
    assert found["not_varied"] == [{"location": "1.add2", "reason": "a sum with the number 1"}]
    assert found["size"] == 6


def test_the_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    small = ["--size", "12", "--channels", "1"]
    done = CliRunner().invoke(commands, ["discover", "net.py:MODEL", *small], catch_exceptions=False)
    assert "1.add1  short skip  2 maps         8  12x12       1  add concat se/4" in done.output
    assert "se/16, cbam/16, aff/16, iaff/16 (a reduction ratio above its 8 channels): 1.add1" in done.output
    assert "a sum with the number 1:\n    1.add2" in done.output
    nothing = CliRunner().invoke(commands, ["discover", "net.py:plain", *small], catch_exceptions=False)
    assert "net.py:plain: 0 points" in nothing.output


def test_a_torchvision_network() -> None:
    found = json.loads(nas_program("discover", "torchvision:resnet18", "--size", 64, "--json").stdout)
    assert [point["name"] for point in found["points"]][:2] == ["layer1.0.add", "layer1.1.add"]
    assert found["not_varied"] == []


@pytest.mark.slow
@pytest.mark.long
def test_the_survey(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    done = nas_program("discover", "--survey")
    assert done.returncode == 0, done.stderr
    assert "densenet121" in done.stdout
    assert len([line for line in done.stdout.splitlines() if " short skip" in line]) == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.py:MODEL"], "nothing.py: no such file"),
        (["net.py"], "model 'net.py': give torchvision:NAME"),
        (["net.txt:MODEL"], "give a Python file and an object in it"),
        (["net.py:MODLE"], "unknown object of net.py 'MODLE': did you mean 'MODEL'"),
        (["net.py:NUMBER"], "net.py:NUMBER is a int: give an nn.Module or a callable that returns one"),
        (["net.py:broken"], "net.py:broken raised RuntimeError: no weights here"),
        (["net.py:returns_none"], "net.py:returns_none returned a NoneType, not an nn.Module"),
        (["bad.py:MODEL"], "bad.py cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
        (["torchvision:resnet19"], "unknown torchvision model 'resnet19': did you mean 'resnet1"),
        (["net.py:MODEL", "--size", "0"], "--size: given 0; expected a whole number above 0"),
        (["net.py:MODEL", "--size", "16"], "does not run on an input of shape [2, 3, 16, 16]"),
        (["net.py:MODEL", "--operators", "add,afff"], "unknown fusion operator 'afff': did you mean 'aff'"),
        (["net.py:MODEL", "--reductions", "4,x"], "--reductions: given '4,x'; expected whole numbers"),
        ([], "give a MODEL or --survey"),
        (["net.py:MODEL", "--survey"], "give a MODEL or --survey"),
    ],
)
def test_bad_usage_is_one_clear_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(commands, ["discover", *arguments])
    if isinstance(done.exception, UserError):
        assert message in str(done.exception)
        assert "\n" not in str(done.exception)
    else:
        assert (done.exit_code, message in done.output) == (2, True)


def test_the_program_ends_with_the_line_and_its_code(folder: Path) -> None:
    done = nas_program("discover", "net.py:NUMBER", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "nas: net.py:NUMBER is a int: give an nn.Module or a callable that returns one\n"


def test_the_library_names_it_too(folder: Path) -> None:
    model = load_model(f"{folder / 'net.py'}:MODEL")
    images = torch.randn(2, 1, 12, 12)
    space = nas.discover(model, images, ("add", "aff"), (2,))
    child = nas.inherit(model, space.uniform("aff"), space)
    torch.testing.assert_close(child(images), model(images))
    with pytest.raises(SpaceError, match="has no merge that can be varied"):
        nas.discover(nn.Conv2d(1, 1, 1), images)
