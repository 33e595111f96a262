"""A run of eight workers on a cluster, gone on with and studied elsewhere: by another engine, or at another address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from programs import nas_program

import nas
from nas.engines.slots import expected_workers
from nas.settings.changes import elsewhere, resumed
from nas.settings.errors import ConfigError
from nas.settings.loading import load_config
from reports import RunView
from trials.cores import cores
from trials.record.file import FILE_NAME
from trials.record.store import Store

EIGHT = {"engine": "ray", "workers": 8, "ray.address": "10.0.0.1:6379", "ray.gpus_per_trial": 0.25}


@pytest.fixture
def of_eight(tiny: dict[str, Any]) -> Path:
    """A finished run whose record says that eight workers on a cluster trained it."""
    run = nas.search(**tiny | {"trials": 1}).path
    with Store.open_for_writing(run / FILE_NAME) as store:
        store.put({"config": load_config(None, {**RunView.load(run).config, **EIGHT}).to_json()})
    return run


def test_what_is_the_recorded_engines_goes_with_it() -> None:
    recorded = load_config(None, EIGHT).to_json()
    local = load_config(None, elsewhere(recorded, {"engine": "local"}))
    assert (local.engine, local.workers, local.ray.address) == ("local", None, None)
    assert load_config(None, elsewhere(recorded, {"engine": "local", "workers": 1})).workers == 1
    moved = load_config(None, elsewhere(recorded, {"ray.address": "auto"}))
    assert (moved.workers, moved.ray.address, moved.ray.gpus_per_trial) == (8, "auto", 0.25)
    there = load_config(None, elsewhere(local.to_json(), {"ray.address": "auto"}))
    assert (there.engine, there.ray.address) == ("ray", "auto")
    assert load_config(None, elsewhere(recorded, {})) == load_config(None, EIGHT)
    with pytest.raises(ConfigError, match="--address: engine local runs in this process"):
        elsewhere(recorded, {"engine": "local", "ray.address": "auto"})
    assert recorded == load_config(None, EIGHT).to_json(), "what was recorded is left as it is"


def test_a_run_of_eight_workers_goes_on_and_is_studied_in_this_process(of_eight: Path) -> None:
    config = resumed(RunView.load(of_eight).config, str(of_eight), {"engine": "local"}, extend=False)
    assert (config.engine, config.workers) == ("local", None)
    found = nas_program("noise", "--out", of_eight, "--engine", "local", "--seeds", 2, "--rivals", 0, "--fidelities", 1)
    assert found.returncode == 0, found.stderr
    assert len(RunView.load(of_eight).trainings) == 2
    # Nothing is trained by these, for want of trials; but they come as far as that.
    for command in (("trust",), ("finalists",), ("ablate", "0")):
        name, *rest = command
        found = nas_program(name, of_eight, *rest, "--engine", "local")
        assert "runs one trial at a time" not in found.stderr
        assert found.stderr.count("\n") >= 1


@pytest.mark.parametrize("command", ["noise", "trust", "ablate", "finalists"])
def test_every_study_says_where_it_runs(command: str) -> None:
    shown = nas_program(command, "--help").stdout
    for option in ("--engine", "--workers", "--address", "--gpus-per-trial", "--device"):
        assert option in shown


def test_workers_are_expected_by_what_a_trial_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a machine of 64 cores and 2 GPUs two trials run side by side, not 64."""
    there = cores()
    assert expected_workers(load_config(None, {"engine": "local"})) == 1
    assert expected_workers(load_config(None, {"workers": 5, "device": "cpu"})) == 5
    assert expected_workers(load_config(None, {"device": "cpu"})) == there
    assert expected_workers(load_config(None, {"device": "cpu", "ray.cpus_per_trial": 0.5})) == 2 * there
    monkeypatch.setattr("nas.engines.slots.cores", lambda: 64)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("nas.engines.slots.resolve", lambda device: torch.device("cuda"))
    assert expected_workers(load_config(None, {})) == 2
    assert expected_workers(load_config(None, {"ray.gpus_per_trial": 0.25})) == 8
    assert expected_workers(load_config(None, {"ray.gpus_per_trial": 0.01})) == 64
