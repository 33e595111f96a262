"""The command line as a program: help, JSON, exit codes, and how fast it answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from programs import nas_program

from nas.cli.main import commands

COMMANDS = sorted(commands.commands)


def test_every_command_has_help() -> None:
    """That each stands in the docs is test_pages.py's to ask."""
    for name in COMMANDS:
        command = commands.commands[name]
        assert command.help
        assert all(getattr(option, "help", "") for option in command.params if option.param_type_name == "option"), name


@pytest.mark.parametrize(
    ("arguments", "needed"), [(["--help"], set()), (["search", "--help"], {"pydantic"}), (["--version"], set())]
)
def test_help_imports_nothing_heavy(arguments: list[str], needed: set[str]) -> None:
    program = (
        "import sys\nfrom nas.cli.main import main\n"
        f"sys.argv = ['nas', *{arguments!r}]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'optuna', 'sqlalchemy', 'pydantic', 'numpy', 'rich'} & set(sys.modules)\n"
        f"print(sorted(heavy - {needed!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr.strip() == "[]"


def test_reading_a_run_imports_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom nas.cli.main import main\n"
        f"sys.argv = ['nas', 'status', {str(tmp_path)!r}]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert not {'torch', 'ray', 'optuna'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)


def test_spaces_json() -> None:
    listed = json.loads(nas_program("spaces", "--json").stdout)["spaces"]
    by_name = {space["name"]: space for space in listed}
    assert by_name["resnet8"]["points"] == 3
    assert by_name["resnet8"]["size"] == 840
    assert by_name["resnet50"]["points"] == 16
    assert set(by_name) == {
        *(f"resnet{depth}" for depth in (8, 14, 20, 32, 56, 18, 34, 50, 101)),
        *(f"resnet{depth}-fpn" for depth in (8, 18, 20, 34, 50)),
        *("resnet8-pan", "resnet18-pan", "resnet20-pan", "resnet18-bifpn", "resnet20-bifpn"),
        *("resnext50", "googlenet", "inception-cifar"),
    }


def test_check_says_what_a_search_would_do_and_writes_nothing(tmp_path: Path) -> None:
    done = nas_program("check", "--train-images", 512, "--max-flops", "1.05x", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["size"] == 840
    assert found["feasible"] == {"value": pytest.approx(488 / 840), "at_least": 488, "at_most": 488, "size": 840}
    assert found["binding"] == {
        "metric": "macs", "certain": True, "counted": {"macs": pytest.approx(488 / 840)}, "latency_over": None,
        "latency_drawn": None,
    }  # fmt: skip
    assert found["counting"]["input_shape"] == [1, 1, 28, 28]
    assert "fvcore" in found["counting"]["counter"]
    assert found["counting"]["products"] == found["counting"]["products_by_fvcore"] > 0
    assert found["costs"]["largest within"]["macs"] <= 1.05 * found["costs"]["baseline"]["macs"]
    assert (
        found["costs"]["baseline"]["macs"] == found["costs"]["cheapest"]["macs"] < found["costs"]["costliest"]["macs"]
    )
    assert 0 < found["costs"]["baseline"]["latency_ms"]["p50"] <= found["costs"]["baseline"]["latency_ms"]["p95"]
    assert found["estimated_search_seconds"] > 0
    least, most = found["estimated_final_seconds"]
    assert 0 < least < most
    assert list(tmp_path.iterdir()) == []


def test_check_does_not_need_a_learning_rate_that_converges(tmp_path: Path) -> None:
    (tmp_path / "hot.toml").write_text("train_images = 256\n[training]\npeak_lr = 1e12\nbatch_size = 32\n")
    done = nas_program("check", tmp_path / "hot.toml")
    assert done.returncode == 0, done.stderr
    assert "3 points" in done.stdout


def test_doctor_finds_this_machine_fit(tmp_path: Path) -> None:
    done = nas_program("doctor", "--out", tmp_path, "--json")
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == 0, findings
    assert {"torch", "ray", "record", "data", "onnx"} <= {finding["name"] for finding in findings}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "--trials", "0"], 2, r"--trials: given 0; it should be greater than or equal to 1"),
        (["search", "--space", "resnet9"], 2, "unknown space 'resnet9': did you mean 'resnet8'"),
        (["search", "--operators", "add,afff"], 2, "unknown fusion operator 'afff': did you mean 'aff'"),
        (["search", "--reductions", "0"], 2, "--reductions: given 0"),
        (["search", "--reductions", "4,x"], 2, "--reductions: given '4,x'; expected whole numbers"),
        (["search", "--data", "mnist"], 2, "--data: .*fashion-mnist"),
        (["search", "--engine", "slurm"], 2, "--engine: given 'slurm'; it should be 'ray' or 'local'"),
        (["search", "--max-flops", "1M"], 3, "the closest, add at every point, has macs 9,559,168"),
        (["search", "--extend", "--fresh"], 2, "give one of them"),
        (["search", "--frobnicate"], 2, "No such option"),
        (["search", "nothing.toml"], 2, "nothing.toml: no such file"),
        (["show", "nothing"], 2, "nothing holds no run"),
        (["status", "nothing"], 2, "nothing holds no run"),
        (["report", "nothing"], 2, "nothing holds no run"),
        (["export", "nothing"], 2, "nothing holds no run"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_bad_usage_is_one_clear_line(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    done = nas_program(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
