"""A new engine, proposer or stage is one file and one line: each of the toys is, and searches for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reports import RunView

TOYS = Path(__file__).parent / "toys"
#: The one line of each, and what is asked for to have it.
LINES = {
    "engine": ('registry.ENGINES["toy"] = "toy_engine:ToyEngine"', ("--engine", "toy")),
    "proposer": ('registry.PROPOSERS["toy"] = "toy_proposer:ToyProposer"', ("--sampler", "toy")),
    "stage": ('registry.STAGES["toy"] = "toy_stage:ToyStage"', ()),
}


def search(kind: str, folder: Path) -> subprocess.CompletedProcess[str]:
    line, asked = LINES[kind]
    program = f"import sys; sys.path.insert(0, {str(TOYS)!r})\nfrom nas import registry\n{line}\n"
    program += "from nas.cli.main import main\nmain()\n"
    command = ["search", "--trials", "3", "--train-images", "128", "--epochs", "1", "--batch-size", "32"]
    command += [
        "--regime",
        "scratch",
        "--engine",
        "local",
        "--finalists",
        "none",
        "--export",
        "none",
        "--out",
        str(folder),
        *asked,
    ]
    return subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", LINES)
def test_a_toy_is_one_short_file_and_one_line(kind: str, tmp_path: Path) -> None:
    assert len((TOYS / f"toy_{kind}.py").read_text().splitlines()) < 30
    done = search(kind, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    view = RunView.load(tmp_path / "run")
    assert len(view.complete) == 3
    if kind == "engine":
        assert view.sessions[0].details["engine"] == "toy"
    if kind == "proposer":
        assert view.config["sampler"] == "toy"
    if kind == "stage":
        assert "toy stage: 0." in done.stderr
        (training,) = view.beside
        assert training.look == (view.front[0].result.architecture.key, 100, 1)


def test_what_is_not_registered_is_named_with_the_nearest_that_is(tmp_path: Path) -> None:
    line = "from nas.cli.main import main\nmain()\n"
    command = ["search", "--sampler", "tpo", "--out", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", line, *command], capture_output=True, text=True, check=False)
    assert (done.returncode, "did you mean 'tpe'?" in done.stderr) == (2, True), done.stderr
