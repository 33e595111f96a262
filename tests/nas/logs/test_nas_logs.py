"""Logs of a search as other tools read them: each trial once, whatever happened between, and never in the way."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.logs.figures import Numbers
from nas.logs.log import Logged
from nas.logs.mlflow_log import MlflowLog
from nas.settings.errors import ConfigError
from nas.telling import Silence


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check(run: Any) -> None:
    folder = run.path / "log" / "csv"
    found = rows(folder / "trials.csv")
    results = {str(result.number): result for result in run.view.results}
    assert sorted(row["trial"] for row in found) == sorted(results)
    for row in found:
        result = results[row["trial"]]
        assert (row["state"], row["key"], int(row["macs"])) == (str(result.state), result.architecture.key, result.macs)
        assert (row["accuracy"] and float(row["accuracy"])) == (result.score if result.score is not None else "")
    epochs = [(row["trial"], int(row["epoch"]), float(row["train_loss"])) for row in rows(folder / "epochs.csv")]
    known = [(str(r.number), point.epoch, point.train_loss) for r in run.view.results for point in r.curve]
    assert sorted(epochs) == sorted(known)


def test_csv_has_each_trial_and_epoch_once_also_when_a_search_goes_on(tiny: dict[str, Any]) -> None:
    check(nas.search(**tiny | {"log": ["csv"], "max_flops": "1.05x"}))
    run = nas.search(**tiny | {"log": ["csv"], "max_flops": "1.05x", "trials": 4}, extend=True)
    assert len(run.view.complete) == 4
    check(run)


def test_a_log_that_cannot_be_written_is_said_once_and_ends_no_search(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(Silence, "say", lambda self, line: said.append(line))
    monkeypatch.setattr("nas.logs.log.LOG_NAME", "study.db")  # no folder can be made there
    run = nas.search(**tiny | {"log": ["csv"], "trials": 2})
    assert len(run.view.complete) == 2
    (line,) = [line for line in said if "--log" in line]
    assert line.startswith("--log csv: nothing more is logged (")
    assert line.endswith("; the search goes on")


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_package_that_is_missing_is_told_before_anything_is_done(tiny: dict[str, Any], name: str) -> None:
    if find_spec(name) is not None:
        Logged(Silence(), [name])
        return
    with pytest.raises(ConfigError, match=f"--log {name} needs the package {name}: pip install {name}, or --log csv"):
        nas.search(**tiny | {"log": [name]})
    assert not Path(tiny["out"]).exists()


def scalars(run: nas.Run, name: str) -> list[tuple[int, float]]:
    """What TensorBoard reads of a search's log: step and value, as often as they are there."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "log" / "tensorboard"))
    events.Reload()
    return sorted((event.step, event.value) for event in events.Scalars(name))


def broken_at(log: type, monkeypatch: pytest.MonkeyPatch, trial: int) -> None:
    """A log whose disk, or server, is gone from a trial on: before that trial is known to be logged."""
    plain = Numbers.add

    def add(self: Numbers, number: int) -> None:
        if number >= trial:
            raise OSError("gone")
        plain(self, number)

    monkeypatch.setattr(f"{log.__module__}.Numbers.add", add)


@pytest.mark.slow
def test_tensorboard_has_each_trial_once_also_those_that_were_recorded_while_it_was_not_logged(
    tiny: dict[str, Any],
) -> None:
    pytest.importorskip("tensorboard")
    run = nas.search(**tiny | {"log": ["tensorboard"], "trials": 2})
    nas.search(**tiny | {"log": [], "trials": 3}, extend=True)
    run = nas.search(**tiny | {"log": ["tensorboard"], "trials": 4}, extend=True)
    known = [(r.number, r.score) for r in run.view.results if r.score is not None]
    assert scalars(run, "trials/accuracy") == [(number, pytest.approx(score)) for number, score in known]
    assert len(known) == 4
    for result in run.view.results:
        losses = [(point.epoch, pytest.approx(point.train_loss)) for point in result.curve]
        assert scalars(run, f"train_loss/trial {result.number:05d}") == losses


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own, of SQLAlchemy 2.1
def test_mlflow_has_a_run_for_each_trial_also_where_one_was_half_written(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with monkeypatch.context() as broken:
        broken_at(MlflowLog, broken, 1)
        nas.search(**tiny | {"log": ["mlflow"], "trials": 3})
    run = nas.search(**tiny | {"log": ["mlflow"], "trials": 4}, extend=True)
    found = mlflow.search_runs(experiment_names=["run"], output_format="list")
    logged = sorted((int(one.data.tags["fusion_nas.trial"]), one.data.metrics["accuracy"]) for one in found)
    assert logged == [(r.number, r.score) for r in run.view.results if r.score is not None]
    assert len(logged) == 4
