"""Searches with rungs: real trainings in this process, on Ray's workers, and killed in the middle of a promotion."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from programs import kill_when, nas_program, start_nas
from rich.console import Console

import nas
from nas.stages.trained import kept_numbers, longest_weights
from nas.terminal.runs import print_run, print_status, print_trial
from reports import RunView
from reports.estimates import estimated_epochs
from reports.page import write_report
from trials.record.training import Training

SETTINGS: dict[str, Any] = {
    "space": "resnet8", "operators": ["add", "concat", "se"], "train_images": 128, "val_fraction": 0.05, "trials": 5,
    "engine": "local", "export": "none", "finalists": "none", "rungs": [1, 2],
    "training": {"batch_size": 32, "precision": "float32", "regime": "scratch"},
    "latency": {"passes": 30, "warmup": 3, "attempts": 1},
}  # fmt: skip
FILE = """
operators = ["add", "concat", "se"]
train_images = 128
val_fraction = 0.05
trials = 5
engine = "local"
export = "none"
finalists = "none"
[training]
batch_size = 32
precision = "float32"
regime = "scratch"
[latency]
passes = 30
warmup = 3
attempts = 1
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    return nas.search(**SETTINGS | {"out": str(tmp_path_factory.mktemp("rungs") / "run")}).view


def told(training: Training) -> tuple[Any, ...]:
    """What of a training does not depend on time."""
    return (*training.identity, training.score, training.loss)


def test_a_trial_is_looked_at_again_from_the_same_start_for_longer(finished: RunView) -> None:
    assert [result.epochs for result in finished.results] == [1] * 5
    assert [(t.seed, t.epochs, t.start, len(t.curve)) for t in finished.beside] == [(0, 2, "scratch", 2)] * 3
    assert finished.beside[0].architecture == finished.baseline_architecture
    assert {t.architecture.key for t in finished.beside} <= {r.architecture.key for r in finished.results}
    assert estimated_epochs(finished) == 2
    for trial in finished.complete:
        again = [t for t in finished.beside if t.architecture == trial.result.architecture]
        assert trial.longer == (again[0] if again else None)
        assert trial.longest.epochs == (2 if again else 1)


def test_what_was_seen_says_how_long_was_looked(finished: RunView, tmp_path: Path) -> None:
    text = io.StringIO()
    console = Console(file=text, width=200)
    print_run(console, finished)
    print_status(console, finished, active=False)
    again, once = (next(t for t in finished.complete if (t.longer is None) is bare) for bare in (False, True))
    print_trial(console, finished, again)
    page = write_report(finished, tmp_path / "report.html").read_text()
    assert again.longer is not None
    for shown in (text.getvalue(), page):
        assert "seen at" in shown
        assert "Looked at: 5 for 1 epoch, of these 3 for 2 epochs; estimates are of 2 epochs." in shown
    assert f"{100 * (again.longer.score or 0):.2f}% seen at 2 epochs" in text.getvalue()
    assert f"{100 * (again.longer.score or 0):.2f}% of 2" in text.getvalue()
    shown = {one["number"]: one for one in json.loads(nas_program("show", finished.path, "--json").stdout)["trials"]}
    assert shown[again.result.number]["longest"]["epochs"] == 2
    assert shown[again.result.number]["score"] == again.result.score != again.longer.score
    assert shown[once.result.number]["longest"] == {
        "epochs": 1,
        "score": once.result.score,
        "loss": once.result.loss,
    }


def test_a_front_member_without_a_long_look_is_named(finished: RunView) -> None:
    text = io.StringIO()
    print_run(Console(file=text, width=400), finished)
    short = [str(trial.result.number) for trial in finished.front if trial.longer is None]
    assert ("On the front without so long a look" in text.getvalue()) is bool(short)


@pytest.mark.slow
def test_the_export_is_of_the_longest_look(finished: RunView, tmp_path: Path) -> None:
    trial = next(t for t in finished.complete if t.longer is not None and t.result.origin != "baseline")
    assert trial.longer is not None
    assert "-2.safetensors" in longest_weights(trial, finished.path).name
    assert kept_numbers(finished, finished.path) == {r.number for r in finished.results}
    nas.open_run(finished.path).export(trial.result.number, tmp_path / "exported")
    provenance = json.loads((tmp_path / "exported" / "arch.json").read_text())["provenance"]
    assert (provenance["epochs"], provenance["score"]) == (2, trial.longer.score)
    assert (provenance["judged_on"], provenance["selected_by"]["score"]) == ("val", trial.result.score)
    # Where those weights are gone, it is the first look's, with its figures.
    longest_weights(trial, finished.path).unlink()
    nas.open_run(finished.path).export(trial.result.number, tmp_path / "short")
    provenance = json.loads((tmp_path / "short" / "arch.json").read_text())["provenance"]
    assert (provenance["epochs"], provenance["score"]) == (1, trial.result.score)


@pytest.mark.slow
def test_killed_in_the_middle_of_a_promotion_it_goes_on(finished: RunView, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (tmp_path / "rungs.toml").write_text(FILE)
    command = ("search", tmp_path / "rungs.toml", "--rungs", "1,2", "--out", folder)
    program = start_nas(*command)
    stopped = kill_when(program, folder, lambda view: view.beside)
    assert not stopped.finished
    done = nas_program(*command)
    assert done.returncode == 0, done.stderr
    assert "again, 2 epochs: " in done.stderr
    after = RunView.load(folder)
    assert after.beside[: len(stopped.beside)] == stopped.beside
    assert [*map(told, after.trainings)] == [*map(told, finished.trainings)], "as if it had not been killed"
    assert nas_program(*command).returncode == 0
    assert RunView.load(folder).trainings == after.trainings
    other = nas_program("search", tmp_path / "rungs.toml", "--rungs", "1,3", "--out", folder)
    assert other.returncode != 0
    assert "holds a run of another configuration (rungs: recorded [1, 2], given [1, 3])" in other.stderr


@pytest.mark.slow
def test_workers_side_by_side_train_nothing_twice(tmp_path: Path) -> None:
    view = nas.search(**SETTINGS | {"engine": "ray", "workers": 2, "trials": 6, "out": str(tmp_path / "run")}).view
    identities = [training.identity for training in view.trainings]
    assert len(set(identities)) == len(identities) == 6 + 3
    assert view.baseline_architecture.key in {training.architecture.key for training in view.beside}
    assert view.finished


def test_a_check_says_the_looks(tmp_path: Path) -> None:
    done = nas_program(
        "check", "--rungs", "1,2,4", "--trials", 9, "--train-images", 128, "--batch-size", 32, "--out", tmp_path / "run"
    )
    assert done.returncode == 0, done.stderr
    assert "plan: 9 first looks, 5 second (2 epochs), 3 third (4 epochs)" in done.stdout
