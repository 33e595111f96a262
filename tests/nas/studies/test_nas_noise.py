"""`nas noise` and `nas trust`: real trainings, recorded one by one, judged from the record."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import nas_program, start_nas
from rich.console import Console

import nas
from nas.cli.main import commands
from nas.cli.options import SECONDS
from nas.engines.interruption import Interrupted, Interruption
from nas.settings.errors import ConfigError
from nas.settings.loading import load_config
from nas.studies.noise import NoisePlan, configuration, measure_noise
from nas.studies.trust import TrustPlan, measure_trust
from nas.terminal.runs import print_status
from nas.terminal.studies import print_noise, print_trust
from nas.terminal.trainings import TrainingsShown
from nas.tools.check import recorded_noise
from nas.trainings.noise_file import NoiseFile
from nas.trainings.prepared import prepare
from nas.trainings.trainings import Wanted, missing
from reports import RunView
from search_spaces import Architecture, FusionChoice
from search_spaces.errors import UserError
from trials.record.file import FILE_NAME
from trials.record.store import Store
from trials.record.training import Training
from trials.trial import TrialState


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200, record=True)


class Stopping(Console):
    """A user who presses Ctrl-C when so many trainings were told."""

    def __init__(self, interruption: Interruption, after: int) -> None:
        super().__init__(file=io.StringIO())
        self._left = after
        self._interruption = interruption

    def print(self, *objects: Any, **options: Any) -> None:
        if any(" of " in str(text) for text in objects):
            self._left -= 1
        if self._left == 0:
            self._interruption._handle(signal.SIGINT, None)


def settings(tiny: dict[str, Any], **changes: Any) -> dict[str, Any]:
    small = {**tiny, "train_images": 128, **changes}
    nested = {key: value for key, value in small.items() if isinstance(value, dict)}
    flat = {key: value for key, value in small.items() if key not in nested}
    return flat | {f"{key}.{name}": inner for key, section in nested.items() for name, inner in section.items()}


def test_noise_goes_to_a_file_and_goes_on_where_it_stopped(
    tiny: dict[str, Any], tmp_path: Path, console: Console
) -> None:
    out, config = tmp_path / "noise.json", load_config(None, settings(tiny, trials=4))
    plan = NoisePlan(2, (1,), 1, None)
    interruption = Interruption()
    with pytest.raises(Interrupted):
        measure_noise(config, plan, out, TrainingsShown(Stopping(interruption, after=3)), interruption)
    recorded = json.loads(out.read_text())["repeats"]
    assert len(recorded) == 3
    found = measure_noise(config, NoisePlan(2, (1,), 1, 3600.0), out, TrainingsShown(console), Interruption())
    content = json.loads(out.read_text())
    assert content["repeats"][:3] == recorded
    assert len(content["repeats"]) == 4
    assert "1 of 1: 1 epoch" in console.export_text()
    assert content["noise"] == json.loads(json.dumps(found.to_json()["noise"]))
    assert content["advice"]["seeds"] == found.advice.seeds
    assert (found.floors[0].seeds, found.floors[0].architectures) == (2, 2)
    print_noise(console, found.floors, found.to_json()["advice"])
    assert "score (points)" in console.export_text()
    again = measure_noise(config, plan, out, TrainingsShown(console), Interruption())
    assert again.floors == found.floors

    prepared = prepare(config)
    other = dataclasses.replace(
        prepared, config=load_config(None, settings(tiny, train_images=256) | {"training.peak_lr": 0.1})
    )
    with pytest.raises(ConfigError, match=r"of another configuration \(train_images, training.peak_lr\)"):
        NoiseFile(out, other)
    for spoil, complaint in SPOILT.items():
        out.write_text(spoil(content))
        with pytest.raises(ConfigError, match=f"is no file of nas noise.*{complaint}"):
            NoiseFile(out, prepared)


def _with_repeat(**changes: Any) -> Callable[[dict[str, Any]], str]:
    return lambda content: json.dumps({**content, "repeats": [{**content["repeats"][0], **changes}]})


SPOILT: dict[Callable[[dict[str, Any]], str], str] = {
    lambda content: json.dumps(content)[:-9]: "Expecting|delimiter|Unterminated",
    lambda content: json.dumps({**content, "format": "another"}): "format",
    _with_repeat(score=1.5): "score",
    _with_repeat(loss=float("inf")): "loss",
    _with_repeat(choices={"layer1.0": "nothing"}): "no choice|nothing|not on offer",
    _with_repeat(seed=-1): "seed",
    _with_repeat(score=None): "either a score or an error",
}


def test_what_is_known_is_not_trained_and_seeds_come_before_networks() -> None:
    nets = [Architecture("s", {"p": FusionChoice(op)}) for op in ("add", "se")]
    wanted = [Wanted(net, seed, epochs) for epochs in (3, 1) for net in nets for seed in (0, 1)]
    known = [Training(nets[0], 0, 1, score=0.5, loss=1.0), Training(nets[1], 1, 3, error="diverged")]
    order = [(t.epochs, t.seed, nets.index(t.architecture)) for t in missing([*wanted, *wanted], known)]
    assert order == [(1, 0, 1), (1, 1, 0), (1, 1, 1), (3, 0, 0), (3, 0, 1), (3, 1, 0)]


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90min", 5400), ("1.5d", 129600), ("30 m", 1800), ("45s", 45)]
)
def test_a_budget_of_time(text: str, seconds: float) -> None:
    assert SECONDS.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "0s", "1e9h", "2 hours", "nan h", "9" * 400 + "h"])
def test_a_budget_that_is_no_time(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a time such as 90min"):
        SECONDS.convert(text, None, None)


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        ((1, (1,), 2, None), "--seeds: given 1"),
        ((3, (0, 2), 2, None), "--fidelities"),
        ((3, (), 2, None), "--fidelities"),
        ((3, (1,), -1, None), "--rivals"),
    ],
)
def test_a_noise_plan_that_cannot_be(plan: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        NoisePlan(*plan)


@pytest.mark.parametrize(("plan", "complaint"), [((4, 9, 2, ()), "at least 5"), ((5, 9, 0, ()), "--seeds")])
def test_a_trust_plan_that_cannot_be(plan: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        TrustPlan(*plan)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["noise", "--out", "none"], "holds no run to write to; give the folder of one, or a file such as"),
        (["noise", "--out", "x.json", "--fidelities", "1,two"], "--fidelities: given '1,two'; expected whole numbers"),
        (["noise", "--out", "no/x.json"], "no is no folder"),
        (["trust", "none"], "holds no run (no study.db)"),
    ],
)
def test_commands_answer_a_mistake(
    arguments: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(complaint)) as raised:
        commands(arguments, standalone_mode=False)
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.long
@pytest.mark.slow
def test_noise_and_trust_of_a_run(tiny: dict[str, Any], tmp_path: Path, console: Console) -> None:
    run = nas.search(**tiny | {"trials": 6})
    folder = run.path
    known = {t.result.architecture.key: t.result for t in run.trials}

    config, place = configuration(None, {}, str(folder))
    assert place == folder
    assert configuration(None, {"trials": 40}, str(folder))[0].trials == 40
    with pytest.raises(ConfigError, match=r"another configuration \(training.batch_size: recorded 64, given 128\)"):
        configuration(None, {"training.batch_size": 128}, str(folder))
    found = measure_noise(config, NoisePlan(3, (1, 2), 1, 600.0), folder, TrainingsShown(console), Interruption())
    assert [(f.epochs, f.seeds, f.architectures) for f in found.floors] == [(1, 3, 2), (2, 3, 2)]
    view = RunView.load(folder)
    assert len(view.beside) == 11, "all-add under the run's seed at its fidelity is trial 0"
    assert recorded_noise(config)["floors"] == [floor.to_json() for floor in found.floors]
    assert recorded_noise(load_config(None, settings(tiny) | {"training.peak_lr": 0.1})) is None

    # To the bit: what a repeat would have come to is what the trial did.
    with Store.create(tmp_path / FILE_NAME, {key: _meta(folder, key) for key in ("config", "description")}):
        pass
    alone = measure_noise(config, NoisePlan(3, (1, 2), 1, None), tmp_path, TrainingsShown(console), Interruption())
    assert [(f.score, f.loss) for f in alone.floors] == [(f.score, f.loss) for f in found.floors]
    there = {r.look: r for r in RunView.load(tmp_path).trainings}
    baseline = run.view.baseline_trial.result
    assert there[baseline.architecture.key, 0, 1].loss == baseline.loss

    with pytest.raises(ConfigError, match="the long trainings take more than 1 epochs"):
        measure_trust(folder, TrustPlan(6, 1, 2, ()), {}, TrainingsShown(console), Interruption())
    with pytest.raises(ConfigError, match="workers is 2"):
        measure_trust(folder, TrustPlan(6, 3, 2, ()), {"workers": 2}, console, Interruption())
    interruption = Interruption()
    with pytest.raises(Interrupted):
        measure_trust(folder, TrustPlan(6, 3, 2, ()), {}, TrainingsShown(Stopping(interruption, after=5)), interruption)
    assert sum(r.epochs == 3 for r in RunView.load(folder).beside) == 5
    judged = measure_trust(folder, TrustPlan(6, 3, 2, ()), {}, TrainingsShown(console), Interruption())
    long = [r for r in judged.beside if r.epochs == 3]
    assert {(r.architecture.key, r.seed) for r in long} == {(key, seed) for key in known for seed in (1, 2)}
    print_trust(console, judged)
    print_status(console, judged, False)
    text = console.export_text()
    assert "6 architectures as 3 epochs (mean of 2 seeds)" in text
    assert "of 15 pairs are distinguishable" in text

    nas.open_run(folder).report()
    assert "Short trainings beside long ones" in (folder / "report.html").read_text()
    shown = json.loads(nas_program("status", folder, "--json").stdout)["trust"]
    assert shown["agreement"]["missing"] == 0
    again = nas_program("trust", folder, "--sample", 6, "--epochs", 3, "--json")
    assert json.loads(again.stdout) == shown
    assert "training" not in again.stderr
    assert json.loads(nas_program("show", folder, "--json").stdout)["trust"] == shown
    assert nas.open_run(folder).view.count(TrialState.COMPLETE) == 6


def _meta(folder: Path, key: str) -> Any:
    with Store.open(folder / FILE_NAME) as store:
        return store.get(key)


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "noise.json"
    small = ["--train-images", 512, "--epochs", 1, "--batch-size", 64, "--engine", "local", "--regime", "scratch"]
    program = start_nas("noise", *small, "--seeds", 40, "--fidelities", 1, "--out", out)
    assert program.stderr is not None
    while not program.stderr.readline().lstrip().startswith("2 of 120"):
        assert program.poll() is None
    os.kill(program.pid, signal.SIGINT)
    _, told = program.communicate(timeout=60)
    assert program.returncode == 130
    assert "every ended training is saved. Go on with:" in told
    assert len(json.loads(out.read_text())["repeats"]) >= 2
    assert not list(tmp_path.glob(".noise.json*"))
