"""What README.md shows is run: its commands in order, its library use, its operator in one file."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from readme_parts import README, SMALL, blocks, commands, of_scenes, run

import nas

#: What `net.py:Net` in README.md stands for.
NET = """
from torchvision.models import resnet18


def Net(num_classes):
    return resnet18(num_classes=num_classes)
"""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FUSION_NAS_LOCKS", str(tmp_path))
    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "examples").symlink_to(Path("examples").resolve())
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_run_in_the_order_shown(workplace: Path) -> None:
    from PIL import Image

    generator = torch.Generator().manual_seed(0)
    for index in range(120):
        path = workplace / "path/to/images" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (40, 40, 3), generator=generator, dtype=torch.uint8).numpy()
        Image.fromarray(pixels).save(path)
    (workplace / "net.py").write_text(NET)
    ran = []
    for command in commands():
        if "--survey" in command or of_scenes(command):
            continue  # minutes, and run by test_nas_discover.py and test_readme_scenes.py
        small = [*SMALL, "--engine", "local", "--workers", "1"] if command[1] in ("search", "check") else []
        if command[1] == "search" and "runs/first" in command:
            small += ["--trials", "5"]  # nas trust ranks them
        if command[1] == "search" and not {"examples/quickstart.toml", "runs/first"} & set(command):
            small += ["--export", "none"]  # a quarter of a minute each; two are looked at below
        if "folder:path/to/images" in command:
            small += ["--train-images", "80", "--batch-size", "16"]
        *command, target = [*command, None] if ">" not in command else [*command[: command.index(">")], command[-1]]
        done = run([*command, *small], workplace)
        assert done.returncode == 0, (command, done.stderr)
        if target is not None:
            (workplace / target).write_text(done.stdout)
        ran.append(command[1])
    assert set(ran) == {
        "check",
        "search",
        "status",
        "show",
        "report",
        "export",
        "spaces",
        "doctor",
        "discover",
        "latency",
        "noise",
        "trust",
        "ablate",
        "attention",
        "reprice",
    }
    assert (workplace / "runs/first/report.html").exists()
    (code,) = [block for block in blocks("python") if "DeviceProfile" in block]  # it reads what the commands wrote
    done = subprocess.run([sys.executable, "-c", code], cwd=workplace, capture_output=True, text=True, check=False)
    assert "MAPE" in done.stdout, done.stderr
    assert (workplace / "exported/model.onnx").exists()
    assert (workplace / "runs/quickstart/exported/model.py").exists()


def test_the_cluster_command_is_one_that_nas_takes() -> None:
    (line,) = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("ray job submit")]
    done = run([*shlex.split(line.split(" -- ")[1])[:1], "search", "no-such.toml", "--address", "auto"], Path.cwd())
    assert "no-such.toml: no such file" in done.stderr
    assert line.endswith("nas search my.toml --address auto")


def test_the_library_use(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = [block for block in blocks("python") if "nas.search" in block]
    small: dict[str, Any] = {"train_images": 128, "engine": "local", "training": {"epochs": 1, "batch_size": 64}}
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(nas, "search", functools.partial(nas.search, **small))
    exec(compile(code.replace("trials=12", "trials=2"), "README.md", "exec"), {})
    assert "layer1.0" in capsys.readouterr().out
    assert (workplace / "runs/library/report.html").exists()
    assert (workplace / "exported/model.py").exists()


def test_an_operator_in_one_file() -> None:
    from search_spaces import InputSpec, SearchSpace
    from search_spaces.fusions import unregister

    (code,) = [block for block in blocks("python") if "@register" in block]
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    try:
        space = SearchSpace.named("resnet8", InputSpec(1, 28, 10), ["add", "se", "scaled"])
        images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        outputs = []
        for op in ("add", "scaled"):
            torch.manual_seed(0)
            outputs.append(space.build(space.uniform(op)).eval()(images))
        torch.testing.assert_close(*outputs)
    finally:
        unregister("scaled")


def test_a_network_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = [block for block in blocks("python") if "nas.discover" in block]
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert "short skip" in capsys.readouterr().out
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for network in (names["network"], names["child"]):
        torch.testing.assert_close(network.eval()(images), names["model"].eval()(images))


@pytest.mark.slow
def test_a_detector_is_trained_judged_and_exported(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    (code,) = [block for block in blocks("python") if "train_scenes" in block]
    small = code.replace('"scenes-mini"', '"scenes-mini", train_images=32').replace("epochs=4", "epochs=1")
    names: dict[str, Any] = {}
    exec(compile(small, "README.md", "exec"), names)
    assert "'Trouser'" in capsys.readouterr().out
    assert names["figures"]["images"] == 400
    (code,) = [block for block in blocks("python") if "export_network" in block]
    exec(compile(code, "README.md", "exec"), names)
    assert (workplace / "exported-detector/model.onnx").exists()
    assert "'model.onnx'" in capsys.readouterr().out


def test_files_that_are_linked_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert Path(target).exists(), target


def test_the_table_of_operators_is_complete() -> None:
    from search_spaces import operator_names

    for name in operator_names():
        assert re.search(rf"^\| `{name}(/r)?` \|", README, flags=re.MULTILINE), name
