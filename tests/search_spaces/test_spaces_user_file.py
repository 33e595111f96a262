"""A user's own Python file: run in one guarded place, with what lies beside it."""

from __future__ import annotations

import inspect
import random
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch

import trials
from search_spaces.discovery.loading import load_model
from search_spaces.errors import SpaceError
from search_spaces.user_code import code_of, read
from search_spaces.user_file import load_object

NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self, num_classes=4):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, num_classes)
    def forward(self, x):
        return self.head(self.stem(x).mean((2, 3)))
"""


def test_what_it_prints_is_narration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.py").write_text(
        "print('imported')\n"
        + NET
        + "        \ndef make(num_classes=4):\n    print('made')\n    return Net(num_classes)\n"
    )
    load_model(f"{tmp_path}/net.py:make", 3)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "imported\nmade\n")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys\nsys.exit(3)", r"net\.py ends the program when it is run \(exit 3\): move what runs a program"),
        ("import argparse\np = argparse.ArgumentParser()\np.add_argument('file')\np.parse_args()", r"net\.py ends the"),
        ("raise KeyError('x')", r"net\.py cannot be imported: KeyError: 'x'"),
        ("import nowhere_to_be_found", r"net\.py cannot be imported: ModuleNotFoundError: No module named 'nowhere"),
        ("def f(:", r"net\.py cannot be imported: SyntaxError"),
        (
            "x = 1\n" + NET.replace("nn.Linear(8, num_classes)", "exit('no licence')"),
            r"ends the program .*\(exit no licence\)",
        ),
    ],
)
def test_whatever_it_does_is_one_line(tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "net.py").write_text(code)
    with pytest.raises(SpaceError, match=message) as caught:
        load_model(f"{tmp_path}/net.py:Net")
    assert "\n" not in str(caught.value)


def test_the_process_is_as_before(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import os, random, sys\nimport numpy, torch\nDRAWN = torch.randn(1)\nARGUMENTS = list(sys.argv)\n"
        "torch.manual_seed(7); random.seed(7); numpy.random.seed(7)\ntorch.set_default_dtype(torch.float64)\n"
        "torch.set_num_threads(torch.get_num_threads() + 1)\nsys.path.insert(0, '/nowhere')\nsys.argv = ['x']\n"
        f"if __name__ == '__main__': raise SystemExit(1)\n{NET}"
        "def seeded(num_classes=4):\n    torch.manual_seed(3)\n    return Net(num_classes)\n"
    )  # fmt: skip

    def state() -> list[object]:
        drawn = [random.random(), numpy.random.random(), float(torch.rand(1))]
        return [*drawn, torch.get_default_dtype(), torch.get_num_threads(), list(sys.path), sys.argv]

    def seeded() -> None:
        torch.manual_seed(1), random.seed(1), numpy.random.seed(1)

    seeded()
    before = state()
    seeded()
    assert load_object(f"{tmp_path}/net.py:ARGUMENTS") == [str(tmp_path / "net.py")]
    assert state() == before
    seeded()
    load_model(f"{tmp_path}/net.py:seeded")
    assert state() == before
    # What is initialised draws from the seed that was there.
    seeded()
    one, two = load_model(f"{tmp_path}/net.py:Net"), load_model(f"{tmp_path}/net.py:Net")
    assert not torch.equal(one.stem.weight, two.stem.weight)
    # A network that is made while the file runs is the same in every process.
    drawn = set()
    for seed in (1, 2):
        program = (
            f"import torch; torch.manual_seed({seed})\nfrom search_spaces.user_file import load_object\n"
            f"print(load_object('{tmp_path}/net.py:DRAWN').item())"
        )
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        drawn.add(run.stdout)
    assert drawn == {f"{load_object(f'{tmp_path}/net.py:DRAWN').item()}\n"}


@pytest.mark.parametrize("name", ["trials", "nas", "helpers", "search_spaces"])
def test_what_lies_beside_it_is_found_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    """Also when two files have helpers of one name, and when one is imported as late as the network is made."""
    ours = sys.modules.get(name)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text(f"{NET}\nWHERE = {folder!r}\n")
        (tmp_path / folder / "net.py").write_text(
            f"from {name} import WHERE, Net\ndef late(num_classes=4):\n    import {name}\n"
            f"    net = {name}.Net(num_classes)\n    net.where = {name}.WHERE\n    return net\n"
        )
    for folder in ("one", "two", "one"):
        file = tmp_path / folder / "net.py"
        assert load_object(f"{file}:WHERE") == folder
        network = load_model(f"{file}:late")
        assert network.where == folder
        assert Path(inspect.getsourcefile(type(network))) == tmp_path / folder / f"{name}.py"
        assert "self.stem" in inspect.getsource(type(network))
    if ours is not None:
        assert sys.modules[name] is ours
        assert hasattr(trials, "__path__")


def test_the_code_of_a_file_is_that_of_all_it_imports_from_beside_itself(tmp_path: Path) -> None:
    def code(**changed: str) -> str:
        files = {
            "net.py": "import os\nfrom package import part\nimport helper, torch\n",
            "helper.py": "def f():\n    from package.deep import x\n    return x\n",
            "package/__init__.py": "", "package/part.py": "from . import other\n", "package/other.py": "y = f'{1}'\n",
            "package/deep.py": "x = 1\n", "unused.py": "z = 1\n",
        } | {name.replace("__", "/") + ".py": text for name, text in changed.items()}  # fmt: skip
        (tmp_path / "package").mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        code_of.cache_clear()
        read.clear()
        return code_of(tmp_path / "net.py")

    same = code()
    assert code(unused="z = 2") == same
    assert code(helper="# said\ndef f():\n\n        from package.deep import x  # why\n        return x") == same
    for changed in ({"helper": "def f(): pass"}, {"package__other": "y = f'{2}'"}, {"package__deep": "x = 2"}):
        assert code(**changed) != same
    (tmp_path / "net.py").write_text("def f(:")
    code_of.cache_clear()
    read.clear()
    assert code_of(tmp_path / "net.py") != same
