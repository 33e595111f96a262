"""What the trials of a run train in: measured once by a worker, recorded, kept, and told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nas.cli.main import commands
from nas.run import Run
from nas.session.session import run_search
from nas.settings.errors import ConfigError
from nas.settings.loading import load_config
from nas.telling import Silence
from nas.trainings import precision
from nas.trainings.noise_file import NoiseFile
from nas.trainings.prepared import prepare
from reports import RunView
from reports.errors import AllFailed
from trials.record.file import FILE_NAME
from trials.record.store import Store
from trials.training import trainer


class Heard(Silence):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def small(tiny: dict[str, Any]) -> dict[str, Any]:
    """Two trials, in a precision that is yet to be chosen."""
    return tiny | {"train_images": 128, "trials": 2, "training": tiny["training"] | {"precision": "fastest"}}


@pytest.fixture
def float32_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here, as on some device: bfloat16 is in hardware, and not worth it."""
    monkeypatch.setattr(precision.devices, "has_bf16", lambda device: True)
    monkeypatch.setattr(precision, "WORTH_IT", 1e9)
    monkeypatch.setattr(precision, "_ROUNDS", 1)


def searched(settings: dict[str, Any], extend: bool = False, heard: Heard | None = None) -> tuple[RunView, list[str]]:
    flat = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    flat |= {f"{s}.{k}": v for s, inner in settings.items() if isinstance(inner, dict) for k, v in inner.items()}
    heard = heard or Heard()
    return run_search(load_config(None, flat), heard, extend=extend).view, heard.lines


def precisions(view: RunView) -> list[str]:
    return [result.environment["training_precision"] for result in view.results]


@pytest.mark.usefixtures("float32_is_faster")
def test_every_trial_of_a_run_trains_in_what_was_measured_once(
    small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    view, said = searched(small | {"trials": 1})
    assert any(line.startswith("trials train in float32: bfloat16 was ") for line in said)
    assert view.precision is not None
    assert view.precision["precision"] == "float32"
    assert set(view.precision["images_per_second"]) == {"float32", "bfloat16"}
    assert precisions(view) == ["float32"]
    monkeypatch.setattr(precision, "WORTH_IT", 0.0)  # another machine might choose otherwise: the run does not
    again, said = searched(small, extend=True)
    assert not any("trials train in" in line for line in said)
    assert again.precision == view.precision
    assert precisions(again) == ["float32"] * 2
    sentence = "Trials trained in float32: bfloat16 was "
    assert sentence in CliRunner().invoke(commands, ["show", str(view.path)]).output
    assert sentence in CliRunner().invoke(commands, ["status", str(view.path)]).output
    assert sentence in Run(view.path).report().read_text()
    shown = json.loads(CliRunner().invoke(commands, ["show", str(view.path), "--json"]).output)
    assert shown["run"]["precision"] == view.precision


def test_what_is_given_is_not_measured(small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.trainings.precision.choose_precision", lambda bench: pytest.fail("measured"))
    for name, shown in (("float32", "float32"), ("bfloat16", "bfloat16 autocast")):
        training = small["training"] | {"precision": name}
        view, said = searched(small | {"trials": 1, "training": training, "out": f"{small['out']}-{name}"})
        assert view.precision is None
        assert precisions(view) == [shown]
        assert not any("trials train in" in line for line in said)
    with pytest.raises(ConfigError, match="given 'float16'; it should be 'auto', 'fastest', 'float32' or 'bfloat16'"):
        searched(small | {"training": small["training"] | {"precision": "float16"}})


@pytest.mark.usefixtures("float32_is_faster")
def test_where_training_fails_the_first_trial_says_so(small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any) -> Any:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(trainer, "train", broken)
    heard = Heard()
    with pytest.raises(AllFailed):
        searched(small | {"trials": 1}, heard=heard)
    assert "bfloat16 and float32 could not be compared: RuntimeError: no such kernel" in heard.lines
    view = RunView.load(Path(small["out"]))
    assert view.precision is None
    assert [result.error for result in view.results] == ["RuntimeError: no such kernel"]
    assert view.sessions[-1].outcome == "complete"


@pytest.mark.usefixtures("float32_is_faster")
def test_a_run_of_an_older_version_goes_on_as_it_began(small: dict[str, Any]) -> None:
    """It trained in bfloat16 where the hardware has it, and recorded no choice."""
    before, _ = searched(small | {"trials": 1})
    with Store.open_for_writing(before.path / FILE_NAME) as store:
        config = store.get("config")
        del config["training"]["precision"], config["training"]["cuda_graph"]
        store.put({"precision": None, "config": config})
    view, said = searched(small | {"training": small["training"] | {"precision": "auto"}}, extend=True)
    assert not any("trials train in" in line for line in said)
    assert view.precision is None
    from trials.machine.device import has_bf16, resolve

    hardware = "bfloat16 autocast" if has_bf16(resolve("cpu")) else "float32"
    assert precisions(view) == ["float32", hardware]


@pytest.mark.usefixtures("float32_is_faster")
def test_noise_before_a_search_keeps_its_choice_in_its_file(small: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "search.toml"
    lines = ['space = "resnet8"', "train_images = 128", "val_fraction = 0.05", 'engine = "local"', "[training]"]
    config.write_text(
        "\n".join([*lines, "epochs = 1", "batch_size = 64", 'precision = "fastest"', 'regime = "scratch"'])
    )
    file = tmp_path / "noise.json"
    command = ["noise", str(config), "--seeds", "2", "--out", str(file)]
    done = CliRunner().invoke(commands, command)
    assert done.exit_code == 0, done.output
    prepared = prepare(load_config(config, {}))
    choice = NoiseFile(file, prepared).precision
    assert choice is not None
    assert choice["precision"] == "float32"
    content = json.loads(file.read_text())
    content["precision"]["precision"] = "float16"
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"no file of nas noise \(precision\.precision: "):
        NoiseFile(file, prepared)


@pytest.mark.usefixtures("float32_is_faster")
def test_a_dry_run_tells_the_precision(small: dict[str, Any]) -> None:
    settings = [
        "--space",
        "resnet8",
        "--train-images",
        "256",
        "--engine",
        "local",
        "--epochs",
        "1",
        "--precision",
        "fastest",
    ]
    done = CliRunner().invoke(commands, ["check", *settings])
    assert done.exit_code == 0, done.output
    assert "trials train in float32: bfloat16 was " in done.output
