"""`nas latency` as a program, and which architectures it means."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cli.main import main
from nas.tools.latency.selecting import SpaceOptions, make_space, select, square_size
from search_spaces.errors import UserError

SMALL = ["--space", "resnet8", "--size", "16", "--device", "cpu", "--passes", "30", "--attempts", "1"]
OPTIONS = SpaceOptions("resnet8", "16x16")


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: object
    out: str
    err: str


Nas = Callable[..., Ended]


@pytest.fixture
def latency(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Nas:
    """`nas latency …` in this process: starting one takes longer than what it does here."""
    monkeypatch.setattr("signal.signal", lambda number, handler: None)

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr("sys.argv", ["nas", "latency", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return Ended(end.value.code or 0, printed.out, printed.err)

    return run


def test_a_profile_is_made_shown_and_used(latency: Nas, tmp_path: Path) -> None:
    path = tmp_path / "cpu.json"
    made = latency("profile", *SMALL, "--sample", 10, "--out", path, "--json")
    assert made.code == 0, made.err
    summary = json.loads(made.out)
    assert summary["space"]["input"] == {"channels": 3, "size": 16, "classes": 10}
    assert re.search(r"profiling resnet8 on cpu, eager, fp32, channels_last, 1 thread: 1[12] of 1[12]", made.err), (
        made.err
    )
    shown = latency("show", path)
    assert "held-out error" in shown.out
    assert "FLOPs only" in shown.out
    used = latency(*SMALL, "--architectures", "add,aff/8", "--profile", path, "--json")
    assert used.code == 0, used.err
    rows = json.loads(used.out)["architectures"]
    assert [row["label"] for row in rows] == ["add", "aff/8"]
    for row in rows:
        assert 0 < row["latency"]["p50_ms"] <= row["latency"]["p95_ms"]
        assert row["iqr_ms"] == pytest.approx(row["latency"]["spread"] * row["latency"]["p50_ms"])
        assert row["predicted_ms"] > 0
    other = latency(*SMALL, "--batch", 2, "--profile", path)
    assert other.code == 2
    assert "the profile is of eager, fp32, batch 1, 1 threads; measure under the same" in other.err


def test_the_table_says_what_was_measured_and_how(latency: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    done = latency(*SMALL, "--architectures", "se", "--sample", 1, "--dtype", "bf16")
    assert done.code == 0, done.err
    head, *rows = done.out.splitlines()
    assert head.startswith("resnet8, 3x16x16, batch 1, on ")
    assert "(cpu, eager, bf16, channels_last, 1 thread)" in head
    assert "torch 2" in head
    assert [row.split()[0] for row in rows[:3]] == ["architecture", "se", "random"]
    assert re.search(r"se +~?\d+\.\d{3} ms +± \d+\.\d% +\d+\.\d{3} ms +\d+\.\d{3} ms +\d+\.\d{3}x +30 ", rows[1])
    assert "measuring on cpu, eager, bf16, channels_last, 1 thread: 2 of 2" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "32x24"], "--size: given '32x24'; the named networks take square images only: give 32 or 24"),
        (["--size", "big"], "--size: given 'big'; expected pixels"),
        (["--runtime", "tensorrt"], "unknown runtime 'tensorrt'"),
        (["--dtype", "fp16", "--device", "cpu"], "dtype fp16 is for CUDA devices"),
        (["--runtime", "cudagraph", "--device", "cpu"], "runtime cudagraph needs a CUDA device"),
        (["--device", "cuda:99"], "device 'cuda:99' is not there"),
        (["--batch", "0"], "--batch: given 0"),
        (["--architectures", "afff"], "unknown fusion operator 'afff': did you mean 'aff'"),
        (["--architectures", "none.json"], "none.json: cannot be read"),
        (["--architectures", "nowhere:front"], "nowhere holds no run"),
        (["--space", "none.json"], "none.json: cannot be read"),
        (["--profile", "none.json"], "none.json: cannot be read"),
        (["--space", "torchvision:resnet18", "--size", "64"], "for: give --channels, --classes"),
        (["--sample", "0"], "--sample: given 0"),
        (["--batch", "2", "profile", "--out", "p.json"], "give options after the subcommand: nas latency profile"),
        (["profile", "--out", "p.json", "--sample", "101"], "a profile measures 10 to 100"),
        (["profile", "--out", "nowhere/p.json"], "nowhere is no folder"),
        (["show", "none.json"], "none.json: cannot be read"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    latency: Nas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = latency(*arguments)
    assert ended.code == 2
    assert re.search(message, ended.err), ended.err
    assert ended.err.splitlines()[-1].startswith(("nas: ", "Error: "))
    assert ended.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_profile_is_not_replaced(latency: Nas, tmp_path: Path) -> None:
    notes = tmp_path / "notes.json"
    notes.write_text('{"format": "notes"}')
    done = latency("profile", *SMALL, "--out", notes)
    assert done.code == 2
    assert "expected a file of nas latency profile" in done.err
    assert notes.read_text() == '{"format": "notes"}'


def test_a_damaged_profile_ends_with_the_code_of_damage(latency: Nas, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"format": "fusion-nas device pro')
    done = latency("show", tmp_path / "p.json")
    assert done.code == 5
    assert done.err.count("\n") == 1


def test_architectures_of_a_run_bring_its_space(tiny: dict[str, Any]) -> None:
    run = nas.search(**tiny)
    space, named = select(SpaceOptions(), [f"{run.path}:front", f"{run.path}:0"], None, 0)
    assert space.fingerprint == run.view.description["space"]["fingerprint"]
    assert [one.architecture for one in named[:-1]] == [trial.result.architecture for trial in run.front()]
    assert named[-1].architecture == space.baseline
    assert named[-1].label == "run:0"
    with pytest.raises(UserError, match="brings its own space: leave out --space"):
        select(OPTIONS, [f"{run.path}:0"], None, 0)


def test_architectures_by_name_file_and_chance(tmp_path: Path) -> None:
    space = make_space(OPTIONS)
    file = tmp_path / "two.json"
    file.write_text(json.dumps([space.uniform("cbam").to_json(), space.uniform("aff", 4).to_json()]))
    _, named = select(OPTIONS, ["iaff/4", str(file)], 2, 7)
    assert [one.label for one in named] == ["iaff/4", "two 1", "two 2", "random 1", "random 2"]
    assert named[2].architecture == space.uniform("aff", 4)
    assert select(OPTIONS, [], 2, 7)[1] == named[3:]
    assert select(OPTIONS, [], 2, 8)[1] != named[3:]
    _, default = select(OPTIONS, [], None, 0)
    assert [one.label for one in default] == ["add", "concat", "se", "cbam", "aff", "iaff"]
    file.write_text(json.dumps({"space": "resnet20", "choices": {}}))
    with pytest.raises(UserError, match="architecture of resnet20, given --space resnet8"):
        select(OPTIONS, [str(file)], None, 0)
    for broken in ("[1]", "{", '{"space": "resnet8"}'):
        file.write_text(broken)
        with pytest.raises(UserError):
            select(OPTIONS, [str(file)], None, 0)


def test_an_ordinary_network_is_measured_for_the_images_that_were_given() -> None:
    space = make_space(SpaceOptions("torchvision:mobilenet_v3_small", "64", 3, 5, ["add", "se"], [4]))
    assert (space.input.size, space.input.classes, len(space.points)) == (64, 5, 6)


def test_a_space_goes_through_a_file_unchanged(tmp_path: Path) -> None:
    options = SpaceOptions("resnet14", "28", 1, 7, ["add", "se", "aff"], [4, 8], ["layer1", "layer2"], "stage")
    space = make_space(options)
    assert (space.input.channels, space.input.size, space.input.classes, space.tie) == (1, 28, 7, "stage")
    file = tmp_path / "space.json"
    for content in (space.to_json(), {"space": space.to_json(), "points": []}):
        file.write_text(json.dumps(content))
        assert make_space(SpaceOptions(str(file))).fingerprint == space.fingerprint
    with pytest.raises(UserError, match="says all of its space: leave out --size"):
        make_space(SpaceOptions(str(file), "32"))


def test_sizes() -> None:
    assert square_size("224") == square_size("224x224") == square_size("224X224") == 224
    for text in ("", "x", "0", "-1", "1.5", "32x", "32x32x32", "9999999"):
        with pytest.raises(UserError, match="--size: given"):
            square_size(text)


def test_a_profile_is_shown_without_torch(tmp_path: Path) -> None:
    """The commands start in a blink, also the group that measures."""
    program = (
        "import sys\nsys.modules['torch'] = None\nfrom nas.cli.main import main\n"
        f"sys.argv = ['nas', 'latency', 'show', {str(tmp_path / 'none.json')!r}]\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"nas: {tmp_path / 'none.json'}: cannot be read (No such file or directory); " + (
        "give a file that nas latency profile made\n"
    )
