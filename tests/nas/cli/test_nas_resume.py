"""`nas search --set` and `--resume` as they are typed, and as a library."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cli.interrupting import same_command, way_on
from nas.cli.main import main
from nas.settings.errors import ConfigError
from nas.settings.loading import load_config
from reports import RunView
from trials.record.store import Store
from trials.trial import TrialState

SMALL = [
    "--engine", "local", "--train-images", 256, "--epochs", 1, "--batch-size", 64, "--precision", "float32",
    "--regime", "scratch", "--finalists", "none", "--export", "none", "--set", "val_fraction=0.05",
    "--set", "latency.passes=30",
    "--set", "latency.attempts=1", "--set", "latency.warmup=3",
]  # fmt: skip
Nas = Callable[..., tuple[object, str, str]]


@pytest.fixture
def search(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Nas:
    """`nas search …` in this process: exit code, stdout, stderr."""
    monkeypatch.setattr("nas.cli.main.signal.signal", lambda number, handler: None)

    def run(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr("sys.argv", ["nas", "search", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out, printed.err

    return run


def test_any_key_is_set_and_the_run_goes_on_by_its_folder(search: Nas, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, _, err = search(*SMALL, "--trials", 1, "--out", run, "--set", "training.peak_lr=0.05")
    assert code == 0, err
    first = RunView.load(run)
    assert first.config["training"]["peak_lr"] == 0.05
    assert first.config["val_fraction"] == 0.05

    code, _, err = search("--resume", run)
    assert (code, RunView.load(run).count(TrialState.COMPLETE)) == (0, 1)
    assert f"{run} is complete: 1 trials were trained before" in err

    code, _, err = search("--resume", run, "--trials", 2)
    assert code == 2
    assert err == f"nas: --trials: {run} goes on with what it recorded; --extend lets that change\n"

    moved = run.rename(tmp_path / "moved")
    code, out, err = search("--resume", moved, "--extend", "--set", "trials=2", "--workers", 1, "--json")
    assert code == 0, err
    assert json.loads(out)["run"] == str(moved)
    after = RunView.load(moved)
    assert after.count(TrialState.COMPLETE) == 2
    assert after.config == {**first.config, "trials": 2, "workers": 1, "out": str(moved)}
    assert [r for r in after.results if r.number == 0] == [r for r in first.results if r.number == 0]


def test_as_a_library(tiny: dict[str, Any]) -> None:
    run = nas.search(**tiny | {"trials": 1})
    with pytest.raises(ConfigError, match=r"--space: .* goes on with what it recorded; search with another value"):
        nas.search(resume=run.path, space="resnet14")
    with pytest.raises(ConfigError, match="leave out config and fresh"):
        nas.search(resume=run.path, fresh=True)
    longer = nas.search(resume=run.path, extend=True, trials=2, device="cpu")
    assert longer.view.count(TrialState.COMPLETE) == 2
    assert longer.config == load_config(None, {}).model_validate(run.config.to_json() | {"trials": 2, "device": "cpu"})


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a search that was interrupted before its first trial."""
    folder = tmp_path_factory.mktemp("recorded") / "run"
    folder.mkdir()
    config = load_config(None, {"out": str(folder), "training.epochs": 2}).to_json()
    description = {"objectives": ["accuracy", "macs"]}
    with Store.create(folder / "study.db", {"config": config, "constraints": [], "description": description}) as store:
        store.begin_session({})
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume", "RUN", "search.toml"], "goes on with that run's own configuration: leave out search.toml"),
        (["--resume", "RUN", "--fresh"], "--fresh starts over: give one of them"),
        (["--resume", "RUN", "--out", "elsewhere"], "--out: the run to go on with is RUN; give --resume alone"),
        (["--resume", "RUN", "--epochs", "3"], "--epochs: RUN goes on with what it recorded; search with another"),
        (["--resume", "RUN", "--extend", "--epochs", "3"], "--epochs: RUN goes on with what it recorded"),
        (["--resume", "RUN", "--set", "training.epochs=3"], "--set training.epochs: RUN goes on with what it"),
        (["--resume", "RUN", "--max-flops", "1x"], "--max-flops: RUN goes on with what it recorded; --extend lets"),
        (["--resume", "RUN", "--workers", "0"], "--workers: given 0; it should be greater than or equal to 1"),
        (["--resume", "RUN", "--engine", "rey"], "--engine: given 'rey'"),
        (["--resume", "nothing"], "nothing holds no run"),
        (["--resume", "RUN/study.db"], "RUN/study.db"),
        (["--resume", ""], "holds no run"),
        (["--set", "trials"], "--set trials: expected KEY=VALUE"),
        (["--set", "trials=many"], "--set trials: given 'many'; it should be a valid integer"),
        (["--set", "training=3"], "--set training: it is a table; give one of its keys"),
        (["--set", "peak_lr=3"], "--set peak_lr: unknown key; did you mean 'training.peak_lr'?"),
        (["--set", "trials=3", "--trials", "3"], "--set trials: it is also given by --trials; give one of them"),
        (["--set", "trials=3", "--set", "trials=4"], "--set trials: it is also given by --set trials; give one"),
        (["--set", "engine=slurm"], "--set engine: given 'slurm'; it should be 'ray' or 'local'"),
        (["--set", "empty_images=drop"], "--set empty_images: unknown key, given 'drop'"),
    ],
)
def test_what_cannot_be_is_one_line(
    search: Nas, recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = search(*(argument.replace("RUN", str(recorded)) for argument in arguments))
    assert code == 2, err
    assert message.replace("RUN", str(recorded)) in err
    assert err.startswith("nas: ")
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_search_names_the_shortest_command_that_goes_on(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/nas", "search", "--fresh", "--out", "my run"])
    assert same_command(fresh=True) == "nas search --fresh --out 'my run'"
    assert same_command() == "nas search --out 'my run'"
    view = RunView.load(recorded)
    config = load_config(None, {"out": str(recorded), "training.epochs": 2})
    other = load_config(None, {"out": str(recorded), "training.epochs": 2, "trials": 30})
    nowhere = load_config(None, {"out": str(recorded.parent / "nowhere")})
    began = view.sessions[0].started_at
    assert way_on(config, False, began + 9, False) == f"nas search --resume {recorded}"
    assert way_on(config, True, began - 1, True) == f"nas search --resume {recorded} --json"
    # What was asked is not recorded yet: an extended run, an earlier run that is still to be put aside, no run at all.
    assert way_on(other, False, began, False) == "nas search --out 'my run'"
    assert way_on(config, True, began + 1, False) == "nas search --fresh --out 'my run'"
    assert way_on(nowhere, True, began, False) == "nas search --fresh --out 'my run'"
