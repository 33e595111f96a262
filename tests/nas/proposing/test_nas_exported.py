"""A run as an Optuna study: what Optuna itself makes of it is what the run says."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState as OptunaState
from programs import nas_program

import nas
from nas.proposing.exported import StudyError
from search_spaces import Architecture, FusionChoice
from trials.record.file import FILE_NAME
from trials.record.store import Store
from trials.trial import Failure, TrialState


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small search, and beside what it trained one that failed, one that was gated, one that was stopped."""
    folder = tmp_path_factory.mktemp("run") / "first"
    found = nas.search(
        space="resnet8", train_images=256, val_fraction=0.05, trials=5, engine="local", export="none",
        finalists="none", max_flops="1.3x", out=str(folder), latency={"passes": 30, "warmup": 3, "attempts": 1},
        training={"epochs": 1, "batch_size": 64, "precision": "float32", "regime": "scratch"},
    )  # fmt: skip
    some = found.view.results[0]
    untrained = {"score": None, "loss": None, "curve": (), "figures": {}, "tempered_loss": None, "temperature": None}
    others: list[tuple[TrialState, str, dict[str, Any]]] = [
        (TrialState.FAILED, "se", {**untrained, "failure": Failure.DIVERGED, "error": "NonFiniteLoss: it did"}),
        (TrialState.GATED, "cbam", {**untrained, "macs": 10 * some.macs}),
        (TrialState.STOPPED, "aff", {**untrained, "error": "interrupted"}),
        (TrialState.COMPLETE, "iaff", {"macs": 10 * some.macs, "score": 0.99}),  # the best by far, and over the budget
    ]
    with Store.open_for_writing(folder / FILE_NAME) as store:
        known = {trial.result.architecture.key for trial in found.trials}
        for number, (state, operator, changes) in enumerate(others, start=20):
            first, *rest = some.architecture.choices
            choices = {first: FusionChoice(operator, 4)} | dict.fromkeys(rest, FusionChoice("concat"))
            architecture = Architecture(some.architecture.space, choices)
            assert architecture.key not in known
            store.append(
                replace(some, number=number, state=state, origin="sampler", architecture=architecture, **changes)
            )
    return nas.open_run(folder)


def test_the_trials_are_all_there_with_what_they_came_to(run: Any) -> None:
    study = run.optuna_study()
    assert study.study_name == "first"
    assert [way.name for way in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["accuracy", "macs"]
    assert len(study.trials) == len(run.trials)
    states = {
        TrialState.COMPLETE: OptunaState.COMPLETE, TrialState.FAILED: OptunaState.FAIL,
        TrialState.GATED: OptunaState.PRUNED, TrialState.STOPPED: OptunaState.FAIL,
    }  # fmt: skip
    for told, trial in zip(study.trials, run.trials, strict=True):
        result = trial.result
        assert told.state is states[result.state]
        assert told.user_attrs["trial"] == result.number
        assert told.user_attrs["architecture"] == result.architecture.labels()
        assert (told.user_attrs["origin"], told.user_attrs["macs"]) == (result.origin, result.macs)
        assert list(told.params.values()) == [str(choice) for choice in result.architecture.choices.values()]
        assert set(told.distributions) == set(told.params)
        assert told.datetime_complete is not None
        assert told.datetime_complete.timestamp() == pytest.approx(run.view.moments[result.number], abs=1e-3)
        assert told.duration is not None
        assert told.duration.total_seconds() == pytest.approx(result.seconds, abs=1e-3)
        if result.state is TrialState.COMPLETE:
            assert told.values == [trial.objective("accuracy"), result.macs]
            assert told.user_attrs["score"] == result.score
        assert told.constraints["macs"] == pytest.approx(trial.violations["macs"])
    failed = study.trials[-4]
    assert (failed.user_attrs["failure"], failed.user_attrs["error"]) == (
        "diverged", "NonFiniteLoss: it did",
    )  # fmt: skip


def test_what_optuna_finds_best_is_the_front(run: Any) -> None:
    study = run.optuna_study()
    assert {trial.user_attrs["trial"] for trial in study.best_trials} == {t.result.number for t in run.front()}
    over = [trial.result.number for trial in run.trials if trial.feasible is False]
    assert over == [21, 23], (over, run.view.constraints, [t.violations for t in run.trials])
    for trial in study.trials:  # where optuna-dashboard looks
        assert trial.system_attrs["constraints"] == [trial.constraints["macs"]]


def test_a_study_in_a_storage_is_there_for_another_process_and_is_written_once(run: Any, tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'studies.db'}"
    done = nas_program("optuna", run.path, address, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "study": "first", "storage": address, "trials": len(run.trials), "best": len(run.front()),
    }  # fmt: skip
    study = optuna.load_study(study_name="first", storage=address)
    assert {trial.user_attrs["trial"] for trial in study.best_trials} == {t.result.number for t in run.front()}
    again = nas_program("optuna", run.path, address)
    assert again.returncode == 2
    assert again.stderr == (
        f"nas: {address} has a study 'first' already: give another --study-name, or delete it there first\n"
    )
    assert len(optuna.load_study(study_name="first", storage=address).trials) == len(run.trials)
    assert nas_program("optuna", run.path, address, "--study-name", "second").returncode == 0
    assert optuna.get_all_study_names(address) == ["first", "second"]


@pytest.mark.parametrize("address", ["nowhere://there", "not an address", "sqlite:////no/such/folder/studies.db"])
def test_a_storage_that_cannot_be_opened_is_told_in_a_line(run: Any, address: str) -> None:
    with pytest.raises(StudyError, match=r"cannot be used as Optuna's storage .* such as sqlite") as caught:
        run.optuna_study(address)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_study_that_broke_off_is_not_there(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address, add, count = f"sqlite:///{tmp_path / 'studies.db'}", optuna.Study.add_trial, 0

    def broken(self: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        add(self, trial)

    monkeypatch.setattr(optuna.Study, "add_trial", broken)
    with pytest.raises(KeyboardInterrupt):
        run.optuna_study(address)
    assert optuna.get_all_study_names(address) == []


@pytest.mark.browser
def test_optuna_dashboard_opens_it(run: Any, tmp_path: Path) -> None:
    """A real server, its page loaded in Chromium."""
    pytest.importorskip("optuna_dashboard")
    browser = shutil.which("chromium") or pytest.skip("no chromium here")
    address = f"sqlite:///{tmp_path / 'studies.db'}"
    run.optuna_study(address)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = "from optuna_dashboard._cli import main; main()"
    server = subprocess.Popen([sys.executable, "-c", program, address, "--port", str(port), "--host", "127.0.0.1"])
    try:
        page, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while True:
            try:
                listed = json.load(urllib.request.urlopen(f"{page}/api/studies"))
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        (study,) = listed["study_summaries"]
        assert study["study_name"] == "first"
        detail = json.load(urllib.request.urlopen(f"{page}/api/studies/{study['study_id']}?after=0"))
        assert len(detail["trials"]) == len(run.trials)
        assert any(trial.get("constraints") for trial in detail["trials"])
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
        dom = subprocess.run(
            [*command, f"{page}/dashboard/studies/{study['study_id']}"], capture_output=True, text=True, check=False,
            timeout=120,
        ).stdout  # fmt: skip
        assert "first" in dom
    finally:
        server.terminate()
        server.wait()
