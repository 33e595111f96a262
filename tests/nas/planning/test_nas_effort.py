"""Searches that may take so long and no longer: real small trainings, killed and gone on with."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from costless import FormulaEngine, prepared_of, searched
from programs import nas_program, start_nas, wait_for

import nas
from nas.planning.spent import BudgetSpent, unreached
from nas.settings.errors import ConfigError
from nas.telling import Silence
from reports import RunView
from reports.effort import effort_json, effort_text, hours
from reports.page import write_report
from reports.status import status_json
from reports.verdict import verdict_of
from trials.trial import TrialState

SMALL = """
early_stop = "never"
train_images = 128
val_fraction = 0.02
engine = "local"
export = "none"
finalists = 1
finalist_seeds = 2
[training]
epochs = 1
batch_size = 32
precision = "float32"
regime = "scratch"
[latency]
passes = 30
warmup = 3
attempts = 1
"""


def longest(view: RunView) -> float:
    """Seconds of the longest training, the tolerance of a search's end."""
    return max((training.seconds for training in (*view.trainings, *view.finals)), default=5.0) + 2.0


@pytest.mark.parametrize(
    ("asked", "counted_to"),
    [({"trials": 23}, 23), ({"max_trials": 25}, 25), ({"max_hours": "9h", "trials": 24}, 24), ({}, 20)],
)
def test_progress_counts_to_the_looks_that_were_asked(tmp_path: Path, asked: dict[str, Any], counted_to: int) -> None:
    wanted: list[int] = []

    class Heard(Silence):
        def begin(self, view: RunView, looks: int, epochs: int, workers: int) -> None:
            wanted.append(looks)
            super().begin(view, looks, epochs, workers)

    prepared = prepared_of({"space": "resnet8", "sampler": "random", "noise_seeds": 1, **asked}, tmp_path / "run")
    searched(prepared, FormulaEngine(), progress=Heard())
    assert set(wanted) == {counted_to}


@pytest.mark.long
@pytest.mark.slow
def test_a_search_ends_in_time_and_another_session_goes_on_with_what_is_left(tmp_path: Path) -> None:
    """Killed in its middle: what the killed session took counts, to the second."""
    (tmp_path / "small.toml").write_text(SMALL)
    folder = tmp_path / "run"
    command = ("search", tmp_path / "small.toml", "--max-hours", "45s", "--out", folder)
    program = start_nas(*command)
    wait_for(program, folder, 2)
    time.sleep(1.5)
    os.killpg(program.pid, signal.SIGKILL)
    at_kill = time.time()
    program.communicate()
    killed = RunView.load(folder)
    assert killed.sessions[0].ended_at is None
    alive = at_kill - killed.sessions[0].started_at + killed.sessions[0].details["prepared_s"]
    assert killed.effort.seconds == pytest.approx(alive, abs=2.0)
    done = nas_program(*command)
    after = RunView.load(folder)
    assert after.effort.seconds <= 45 + longest(after)
    assert after.effort.seconds > 30, "what was given is used"
    assert after.effort.seconds == pytest.approx(
        alive + sum(s.ended_at - s.started_at + s.details["prepared_s"] for s in after.sessions[1:]), abs=3.0
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if line.startswith("plan: ")]
    assert said, done.stderr
    if verdict_of(after) is not None:
        assert done.returncode == 0, done.stderr
        assert after.finished
        again = nas_program(*command)
        assert again.returncode == 0
        assert "is complete" in again.stderr
    else:
        assert done.returncode == 4, done.stderr
        assert "the budget is spent" in done.stderr
        assert f"nas search --resume {folder} --max-hours " in done.stderr
        assert not after.finished
    assert after.effort_plan is not None
    assert after.effort_plan["ended"]["why"] == "hours"
    status = nas_program("status", folder)
    assert "Budget: 0.01" in status.stdout
    assert json.loads(nas_program("status", folder, "--json").stdout)["budget"]["max_seconds"] == 45
    assert (
        " of --max-hours 45s are left, what the finals take"
        in write_report(after, tmp_path / "report.html").read_text()
    )


@pytest.mark.slow
def test_a_time_in_which_nothing_can_be_trained_ends_with_code_4_and_more_goes_on(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    command = ("search", tmp_path / "small.toml", "--trials", 2, "--out", tmp_path / "run")
    done = nas_program(*command, "--max-hours", "0.5s")
    assert done.returncode == 4, done.stderr
    assert "no training has ended" in done.stderr
    more = nas_program(*command, "--max-hours", "1")
    assert more.returncode == 0, more.stderr
    assert "plan: 2 looks, 1 finalist × 2 seeds; about " in more.stderr
    assert "verdict:  " in more.stdout


@pytest.mark.slow
def test_worker_hours_end_a_search(tiny: dict[str, Any]) -> None:
    lasting = {"train_images": 1024, "trials": None, "early_stop": "never"}
    run = nas.search(**tiny | lasting | {"max_gpu_hours": "6s"})
    view = run.view
    assert view.effort_plan is not None
    assert view.effort_plan["ended"]["why"] == "gpu_hours"
    assert view.complete
    held = sum(training.seconds for training in view.trainings)
    assert view.effort.device_seconds == pytest.approx(held)
    assert held <= 6 + longest(view)
    assert (effort_text(view) or "").startswith(f"budget: {hours(held)} of {hours(6)} GPU h, ")
    assert unreached(run.config, view) is None, "as many as fit were asked for, and trained"
    assert view.finished


@pytest.mark.slow
def test_the_number_of_trials_is_hard_across_sessions(tiny: dict[str, Any]) -> None:
    capped = tiny | {"trials": 5, "max_trials": 2}
    view = nas.search(**capped).view
    assert view.count(TrialState.COMPLETE) == 2
    assert view.finished
    assert effort_json(view)["ended"] == {"why": "trials", "text": "--max-trials 2 were trained"}
    assert len(nas.search(**capped).view.results) == 2
    assert len(nas.search(**capped | {"max_trials": 3}).view.results) == 3, "under a larger one it goes on"
    alone = nas.search(
        **{k: v for k, v in tiny.items() if k not in ("trials", "out")}, max_trials=2, out=f"{tiny['out']}2"
    )
    assert alone.view.count(TrialState.COMPLETE) == 2
    assert status_json(alone.view, active=False)["wanted"] == 2


def test_what_is_not_limited_is_trained_as_before_and_says_its_plan(tiny: dict[str, Any]) -> None:
    plain = nas.search(**tiny).view
    limited = nas.search(**tiny | {"out": f"{tiny['out']}2", "max_hours": 2}).view
    assert [(r.architecture.key, r.score) for r in plain.results] == [
        (r.architecture.key, r.score) for r in limited.results
    ]
    assert effort_text(plain) is None
    assert (effort_text(limited) or "").endswith(" of 2 h, 3 of 3 looks")
    for view in (plain, limited):
        assert view.effort_plan is not None
        assert view.effort_plan["ended"]["text"] == "all 3 looks were taken"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_hours": 0}, "expected hours above 0"),
        ({"max_hours": "-1"}, "expected hours above 0"),
        ({"max_gpu_hours": "2 parsecs"}, "expected hours above 0"),
        ({"max_hours": True}, "valid string"),
        ({"max_trials": 0}, "greater than or equal to 1"),
        ({"max_trials": 2, "finalists": 3}, "finalists is 3, but max_trials is 2"),
        ({"early_stop": "maybe"}, "it should be 'auto' or 'never'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        nas.search(**given, out="nowhere")
    assert "\n" not in str(raised.value)


def test_spent_hours_end_the_program_with_4() -> None:
    assert BudgetSpent.exit_code == 4
