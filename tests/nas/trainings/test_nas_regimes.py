"""Searches under `inherit` and `supernet`: trained once, kept, gone on with, and said."""

from __future__ import annotations

import io
import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from programs import nas_program
from rich.console import Console
from safetensors.torch import load_file, save_file

import nas
from nas.cli.main import commands
from nas.engines.interruption import Interrupted, Interruption
from nas.session.session import run_search
from nas.settings.errors import ConfigError
from nas.settings.loading import load_config
from nas.studies.noise import NoisePlan, measure_noise
from nas.studies.trust import TrustPlan, measure_trust
from nas.telling import Silence
from nas.terminal.trainings import TrainingsShown
from nas.tools.reprice import reprice, write
from nas.trainings.parent import ParentError
from reports import RunView
from reports.regime import regime_story
from search_spaces import InputSpec, SearchSpace
from search_spaces.supernet import SinglePath
from trials.errors import CheckpointError
from trials.record.store import Store
from trials.training.cuda_graph import CaptureFailed
from trials.training.step import TrainingStep
from trials.trial import TrialJob


class Heard(Silence):
    """Keeps what is said; presses Ctrl-C when trial `stop_at` starts."""

    def __init__(self, interruption: Interruption | None = None, stop_at: int | None = None) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._interruption, self._stop_at = interruption, stop_at

    def say(self, line: str) -> None:
        self.lines.append(line)

    def started(self, job: TrialJob) -> None:
        if self._interruption is not None and job.number == self._stop_at:
            self._interruption._handle(signal.SIGINT, None)

    @property
    def training(self) -> bool:
        return any(line.startswith("training the ") for line in self.lines)


@pytest.fixture
def small(tiny: dict[str, Any]) -> dict[str, Any]:
    """Two trials after a parent of two epochs."""
    training = {"epochs": 1, "batch_size": 64, "regime": "inherit", "parent_epochs": 2, "precision": "float32"}
    return tiny | {"train_images": 128, "trials": 2, "training": training}


def flat(settings: dict[str, Any]) -> dict[str, Any]:
    nested = {key: value for key, value in settings.items() if isinstance(value, dict)}
    return {key: value for key, value in settings.items() if key not in nested} | {
        f"{key}.{name}": inner for key, section in nested.items() for name, inner in section.items()
    }


def scores(view: RunView) -> list[tuple[Any, ...]]:
    return [(r.number, r.architecture, r.score, r.loss) for r in view.results]


def parent_weights(folder: Path | str) -> dict[str, torch.Tensor]:
    found = load_file(Path(folder) / "parent.safetensors")
    return {name: tensor.clone() for name, tensor in found.items()}  # no part of a file that a test may damage


@pytest.mark.parametrize("regime", ["inherit", pytest.param("supernet", marks=pytest.mark.slow)])
def test_an_interrupted_search_goes_on_from_the_same_weights(
    regime: str, small: dict[str, Any], tmp_path: Path
) -> None:
    settings = small | {"training": small["training"] | {"regime": regime}, "operators": ["add", "se"], "trials": 1}
    config = load_config(None, flat(settings))
    interruption = Interruption()
    first = Heard(interruption, stop_at=0)
    with pytest.raises(Interrupted):
        run_search(config, first, interruption=interruption)
    assert first.training
    assert any("epoch 2 of 2" in line for line in first.lines)
    before = parent_weights(tmp_path / "run")
    second = Heard()
    run = run_search(config, second)
    assert not second.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in parent_weights(tmp_path / "run").items())
    assert len(run.view.complete) == 1
    facts = run.view.parent
    assert facts is not None
    assert (facts["regime"], facts["epochs"], facts["source"]) == (regime, 2, None)
    assert facts["seconds"] > 0
    (sentence, *_) = regime_story(run.view)
    assert ("trained all-add network" if regime == "inherit" else "path through a trained supernet") in sentence
    assert "2 epochs" in sentence
    assert "fine-tuned for 1 epoch" in sentence
    assert "its batch norms recalibrated before evaluation" in sentence
    shown = CliRunner().invoke(commands, ["show", str(run.path)]).output
    assert sentence.split(" (")[0] in shown
    assert json.loads(CliRunner().invoke(commands, ["show", str(run.path), "--json"]).output)["run"]["parent"] == facts


def test_a_supernet_is_never_captured(small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph would hold the one path that it was captured on, and nobody would see it."""
    asked = []

    def record(step: TrainingStep, *given: Any) -> None:
        asked.append(any(isinstance(module, SinglePath) for module in step.network.modules()))
        raise CaptureFailed("not here")

    monkeypatch.setattr("trials.training.loop.replayed", record)
    training = small["training"] | {"regime": "supernet", "parent_epochs": 1, "cuda_graph": True}
    run = nas.search(**small | {"trials": 1, "training": training, "operators": ["add", "se"]})
    assert run.view.results[0].environment["cuda_graph"] == "none: not here"
    assert asked
    assert not any(asked)


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["inherit", "supernet"])
def test_a_search_comes_out_the_same_however_often_it_stops(regime: str, small: dict[str, Any], tmp_path: Path) -> None:
    settings = small | {"training": small["training"] | {"regime": regime}}
    whole = nas.search(**settings | {"out": str(tmp_path / "whole")})
    for stop_at in (0, 1):
        interruption = Interruption()
        with pytest.raises(Interrupted):
            run_search(load_config(None, flat(settings)), Heard(interruption, stop_at), interruption=interruption)
    run = nas.search(**settings)
    assert scores(run.view) == scores(whole.view)
    assert regime_story(run.view)[0].split(" (")[0] in run.report().read_text()


@pytest.mark.slow
def test_a_lost_or_damaged_parent_is_made_anew_and_another_is_refused(small: dict[str, Any], tmp_path: Path) -> None:
    nas.search(**small | {"trials": 1})
    path, whole = tmp_path / "run" / "parent.safetensors", parent_weights(tmp_path / "run")
    path.write_bytes(path.read_bytes()[:-100])
    heard = Heard()
    run_search(load_config(None, flat(small | {"trials": 2})), heard, extend=True)
    assert heard.training
    assert any("is damaged or of other settings" in line for line in heard.lines)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in parent_weights(tmp_path / "run").items())

    moved = {**(RunView.load(tmp_path / "run").parent or {}), "digest": "0" * 16}
    with Store.open_for_writing(tmp_path / "run" / "study.db") as store:
        store.put({"parent": moved})
    with pytest.raises(ConfigError, match=r"trials have started from other weights.*--fresh"):
        nas.search(**small | {"trials": 3}, extend=True)


@pytest.mark.slow
def test_a_regime_belongs_to_its_run(small: dict[str, Any]) -> None:
    nas.search(**small | {"trials": 1})
    for training in (
        small["training"] | {"regime": "scratch", "parent_epochs": None},
        small["training"] | {"regime": "supernet"},
        small["training"] | {"parent_epochs": 3},
    ):
        with pytest.raises(ConfigError, match=r"another configuration.*training\.(regime|parent_epochs)"):
            nas.search(**small | {"trials": 2, "training": training}, extend=True)


@pytest.mark.slow
def test_a_run_of_before_there_were_regimes_goes_on_from_scratch(tiny: dict[str, Any]) -> None:
    settings = tiny | {"train_images": 128, "trials": 1}
    run = nas.search(**settings)
    with Store.open_for_writing(run.path / "study.db") as store:
        config = store.get("config")
        for key in ("regime", "parent", "parent_epochs", "fine_tune_lr"):
            del config["training"][key]
        store.put({"config": config})
    assert len(nas.search(**settings | {"trials": 2}, extend=True).trials) == 2
    assert not (run.path / "parent.safetensors").exists()
    assert regime_story(RunView.load(run.path)) == []


@pytest.mark.slow
def test_a_users_own_checkpoint_is_the_parent(small: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    space = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
    mine = dict(space.build(space.baseline).state_dict())
    save_file(mine, tmp_path / "mine.safetensors")
    training = {"epochs": 1, "batch_size": 64, "regime": "inherit", "parent": str(tmp_path / "mine.safetensors")}
    settings = small | {"trials": 1, "training": training}
    heard = Heard()
    run_search(load_config(None, flat(settings)), heard)
    assert not heard.training
    assert any("mine.safetensors" in line and "accuracy on 500 validation images" in line for line in heard.lines)
    assert all(torch.equal(tensor, mine[name]) for name, tensor in parent_weights(tmp_path / "run").items())
    assert "mine.safetensors" in regime_story(RunView.load(tmp_path / "run"))[0]

    (tmp_path / "mine.safetensors").rename(tmp_path / "elsewhere")  # the run has a copy
    assert len(nas.search(**settings | {"trials": 2}, extend=True).trials) == 2
    save_file(mine | {"fc.bias": mine["fc.bias"] + 1}, tmp_path / "mine.safetensors")
    with pytest.raises(ConfigError, match=r"other weights than .*mine\.safetensors.*put that file back"):
        nas.search(**settings | {"trials": 3}, extend=True)
    save_file({"fc.bias": mine["fc.bias"]}, tmp_path / "mine.safetensors")
    with pytest.raises(CheckpointError, match=r"mine.safetensors lacks the weight 'conv1.weight' of resnet8"):
        nas.search(**settings, fresh=True)
    assert len(RunView.load(tmp_path / "run").trials) == 2


@pytest.mark.slow
def test_operators_that_cannot_start_as_the_parent_are_named(small: dict[str, Any]) -> None:
    run = nas.search(**small | {"trials": 1, "operators": ["add", "concat", "se"], "fusion": {"scale": 1.0}})
    assert regime_story(run.view)[1] == "se: no start as the sum, so where it stands the trunk alone was inherited."


def test_a_parent_that_diverges_is_one_line_and_a_failure(small: dict[str, Any]) -> None:
    diverging = small | {"training": small["training"] | {"peak_lr": 1e12, "fine_tune_lr": 0.1}}
    with pytest.raises(ParentError, match=r"could not be trained: (NonFiniteLoss|ExplodingGradients): ") as caught:
        nas.search(**diverging)
    assert caught.value.exit_code == 1
    assert not (Path(diverging["out"]) / "parent.safetensors").exists()


@pytest.mark.slow
def test_trust_and_noise_start_from_the_trials_weights(small: dict[str, Any], tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), record=True, width=200)
    run = nas.search(**small | {"trials": 5})
    before = (tmp_path / "run" / "parent.safetensors").read_bytes()
    view = measure_trust(run.path, TrustPlan(5, 2, 1, ()), {}, TrainingsShown(console), Interruption())
    assert (tmp_path / "run" / "parent.safetensors").read_bytes() == before
    assert len(view.beside) == 5
    assert "training the parent" not in console.export_text()
    assert regime_story(view)[-1] == "So did the trainings that its noise and its trust are judged by."

    # A search and a noise file of one configuration train the same parent: what they share is equal to the bit.
    config = load_config(None, flat(small | {"seed": 0}))
    measure_noise(config, NoisePlan(2, (1,), 0, None), tmp_path / "noise.json", TrainingsShown(console), Interruption())
    assert (tmp_path / "noise.parent.safetensors").exists()
    content = json.loads((tmp_path / "noise.json").read_text())
    assert content["parent"]["digest"] == view.parent["digest"]
    assert content["repeats"][0]["loss"] == view.trials[0].result.loss
    plan = NoisePlan(3, (1,), 0, None)
    more = measure_noise(config, plan, tmp_path / "noise.json", TrainingsShown(console), Interruption())
    assert more.floors[0].seeds == 3
    assert console.export_text().count("training the parent") == 1  # for the first of the two


@pytest.mark.slow
def test_a_repriced_run_takes_its_parent_along(small: dict[str, Any], tmp_path: Path) -> None:
    run = nas.search(**small | {"trials": 1})
    config = write(reprice(run.path, {"max_flops": "2x"}), run.path, tmp_path / "new")
    heard = Heard()
    run_search(load_config(config, {"trials": 2}), heard, extend=True)
    assert not heard.training


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training.regime": "inherrit"}, "--regime: .*did you mean 'inherit'"),
        (
            {"training.regime": "scratch", "training.parent": "a.pt"},
            "parent is '.*a.pt', but under regime scratch .*give regime inherit",
        ),
        ({"training.regime": "scratch", "training.parent_epochs": 3}, "parent_epochs is 3, but under regime scratch"),
        ({"training.regime": "scratch", "training.fine_tune_lr": 0.1}, "fine_tune_lr is 0.1, but under regime scratch"),
        ({"training.regime": "supernet", "training.parent": "a.pt"}, "regime supernet trains its own"),
        (
            {"training.regime": "inherit", "training.parent": "a.pt", "training.parent_epochs": 3},
            "parent is '.*a.pt' and parent_epochs 3: give one of them",
        ),
        ({"training.regime": "inherit", "training.parent_epochs": 0}, "--parent-epochs: given 0"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, settings)


def test_the_parents_epochs_are_settled_once() -> None:
    config = load_config(None, {"training.regime": "inherit", "training.epochs": 5})
    assert config.training.parent_epochs == 20
    longer = load_config(None, {**config.to_json(), "training.epochs": 40})
    assert longer.training.parent_recipe() == config.training.parent_recipe()
    recipe, parent = config.training.recipe(), config.training.parent_recipe()
    assert parent is not None
    assert (recipe.epochs, parent.epochs) == (5, 20)
    assert recipe.peak_lr == parent.peak_lr / 4
    assert load_config(None, {"training.regime": "scratch"}).training.parent_recipe() is None


@pytest.mark.slow
def test_a_dry_run_says_what_is_trained_before_and_what_is_wrong_with_a_checkpoint(tmp_path: Path) -> None:
    small = ["--train-images", "128", "--batch-size", "64", "--epochs", "1", "--engine", "local"]
    done = CliRunner().invoke(commands, ["check", *small, "--regime", "supernet", "--json"])
    found = json.loads(done.stdout)
    assert found["estimated_shared_seconds"] == pytest.approx(4 * found["estimated_trial_seconds"])
    (tmp_path / "a.pt").write_bytes(b"nothing")
    done = CliRunner().invoke(commands, ["check", *small, "--regime", "inherit", "--parent", str(tmp_path / "a.pt")])
    assert isinstance(done.exception, CheckpointError)


@pytest.mark.slow
@pytest.mark.parametrize("regime", [pytest.param("inherit", marks=pytest.mark.long), "supernet"])
def test_ray_and_the_local_engine_start_from_the_same_weights(regime: str, tmp_path: Path) -> None:
    small = [
        "--train-images",
        "512",
        "--epochs",
        "1",
        "--trials",
        "3",
        "--parent-epochs",
        "2",
        "--finalists",
        "none",
        "--export",
        "none",
        "--sampler",
        "random",  # proposes alike whatever runs beside
    ]
    for engine in (["--engine", "local"], ["--workers", "2"]):
        done = nas_program("search", "--regime", regime, *small, *engine, "--out", tmp_path / engine[1])
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("training the ") == 1
    local, ray = (RunView.load(tmp_path / name) for name in ("local", "2"))
    assert scores(local) == scores(ray)
    assert local.parent is not None
    assert ray.parent is not None
    assert local.parent["digest"] == ray.parent["digest"]
