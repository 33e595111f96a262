"""The last stage, device profiles in a search, and repricing: small real searches in this process."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

import nas
from nas.cli.main import commands
from nas.engines.interruption import Interrupted, Interruption
from nas.engines.local import LocalEngine
from nas.planning.planner import Planner
from nas.session.session import run_search
from nas.settings.errors import ConfigError
from nas.settings.search import SearchConfig
from nas.telling import Silence
from nas.terminal.check import print_check
from nas.tools import reprice as repricing
from nas.tools.check import check
from nas.trainings.prepared import prepare
from reports import NothingFeasible, RunView
from trials.budgets.feasibility import in_short
from trials.budgets.pricing import Source
from trials.errors import BenchLost, ProfileDamaged, ProfileError
from trials.latency import LatencyBench, Target
from trials.profile import DeviceProfile, fastest_predicted, make_profile
from trials.trial import LatencyProtocol, TrialState

SETTINGS: dict[str, Any] = {
    "space": "resnet8", "operators": ["add", "se", "iaff"], "reductions": [4], "train_images": 256,
    "val_fraction": 0.05, "trials": 3, "engine": "local", "export": "none", "finalists": "none",
    "training": {"epochs": 1, "batch_size": 64, "precision": "float32", "regime": "scratch"},
    "latency": {"passes": 30, "warmup": 3, "attempts": 1},
}  # fmt: skip
PROTOCOL = LatencyProtocol(warmup=3, passes=30, attempts=1)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real profile of the space that the searches here are over."""
    path = tmp_path_factory.mktemp("profile") / "cpu.json"
    space = prepare(SearchConfig.model_validate(SETTINGS)).space
    make_profile(space, Target("cpu"), PROTOCOL, path, architectures=12)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of five trials, its front measured."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    nas.search(**SETTINGS | {"trials": 5, "out": str(folder)})
    return folder


def test_the_front_was_measured_and_the_rest_was_not(finished: Path) -> None:
    view = RunView.load(finished)
    assert view.finished
    assert view.to_measure == ()
    assert view.final_stage is not None
    assert view.final_stage["measured"] == len(view.measured) >= 1
    assert {len(rounds) for rounds in view.measured.values()} == {2}
    assert {trial.latency.source for trial in view.front if trial.latency} == {Source.MEASURED}
    behind = [trial for trial in view.complete if trial.result.number not in view.measured]
    assert behind
    assert all(trial.latency is None for trial in behind)
    assert view.baseline is not None
    assert view.baseline.latency_ms is not None  # of this stage, which no trial waited for


def test_a_front_that_there_is_no_time_for_is_said_and_a_search_that_was_stopped_before_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    silence = Silence()
    silence.say = said.append  # type: ignore[method-assign]
    config = SearchConfig.model_validate(SETTINGS | {"out": str(tmp_path / "run")})
    with monkeypatch.context() as short:
        short.setattr(Planner, "fits_latency", False)
        view = run_search(config, silence).view
    assert "the front's latency is not measured: there is no time for it" in said
    assert view.final_stage is None
    assert view.finished, "under what it was given"
    (session,) = view.sessions
    stopped = replace(view, sessions=(replace(session, outcome="interrupted"),))
    assert not stopped.finished


@pytest.mark.parametrize("stop", ["first", "second"])
def test_a_stage_interrupted_in_either_round_goes_on_where_it_stopped(
    stop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interruption, measure = Interruption(), LatencyBench.measure
    taken: list[str] = []

    def interrupted(self: LatencyBench, architecture: Any, nominal: float | None = None) -> Any:
        again = architecture.key in taken[1:]  # the first is all-add's
        taken.append(architecture.key)
        if len(taken) == 3 if stop == "first" else again:
            raise Interrupted(2)
        return measure(self, architecture, nominal)

    settings = SETTINGS | {"out": str(tmp_path / "run"), "objectives": ["accuracy", "latency_ms"]}
    config = SearchConfig.model_validate(settings)
    monkeypatch.setattr(LatencyBench, "measure", interrupted)
    with pytest.raises(Interrupted):
        run_search(config, Silence(), interruption=interruption)
    monkeypatch.setattr(LatencyBench, "measure", measure)
    half = RunView.load(tmp_path / "run")
    assert not half.finished
    assert sum(len(rounds) for rounds in half.measured.values()) == len(taken) - 2
    whole = run_search(config, Silence()).view
    assert whole.finished
    assert {len(rounds) for rounds in whole.measured.values()} == {2}
    for number, kept in half.measured.items():
        assert whole.measured[number][: len(kept)] == kept
    assert whole.count(TrialState.COMPLETE) == 3


@pytest.mark.slow
def test_a_profile_gates_before_training_and_the_front_is_measured_on_its_device(profile: Path, tmp_path: Path) -> None:
    loaded = DeviceProfile.load(profile)
    settings = {"latency_profile": str(profile), "max_latency": "1.15x", "out": str(tmp_path / "run")}
    settings["sampler"] = "tpe"  # ehvi proposes nothing that is predicted to be over the budget
    view = nas.search(**SETTINGS | settings).view
    gate = 1.15 * loaded.baseline_ms * (1 + loaded.error.p90)
    for result in view.results:
        predicted = loaded.predict_ms(result.architecture)
        assert result.latency is None  # no worker measured anything
        assert (predicted <= gate) == (result.state is not TrialState.GATED) or result.origin == "baseline"
    assert view.count(TrialState.GATED) >= 1
    assert all(trial.latency is not None and trial.latency.source is Source.MEASURED for trial in view.front)
    assert view.baseline is not None
    assert view.baseline.latency_ms == loaded.baseline_ms
    again = nas.search(**SETTINGS | settings)
    assert again.view.results == view.results


@pytest.mark.slow
def test_a_profile_of_another_device_searches_for_it_and_says_that_it_is_not_here(
    profile: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "jetson.json"
    loaded = DeviceProfile.load(profile)
    loaded.model_copy(update={"device": {**loaded.device, "name": "a Jetson"}}).save(elsewhere)
    view = nas.search(**SETTINGS | {"latency_profile": str(elsewhere), "out": str(tmp_path / "run")}).view
    assert view.final_stage is not None
    assert "the profile is of a Jetson" in view.final_stage["skipped"]
    assert {trial.latency.source for trial in view.front if trial.latency} == {Source.PREDICTED}
    assert view.finished
    here = nas.search(**SETTINGS | {"out": str(tmp_path / "here")}).view
    assert here.measured
    settings = {"latency_profile": str(elsewhere), "out": str(tmp_path / "here")}
    extended = nas.search(extend=True, **SETTINGS | settings).view
    assert extended.measured == {}  # what was measured here is not of that device


def test_a_dry_run_predicts(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = check(SearchConfig.model_validate(SETTINGS | {"latency_profile": str(profile), "max_latency": "1.15x"}))
    assert found["costs"]["baseline"]["latency_ms"]["p50"] == DeviceProfile.load(profile).baseline_ms
    assert 0 < found["binding"]["counted"]["latency_ms"] < 1
    assert found["binding"]["certain"]
    print_check(Console(width=150), found)
    assert f"≈ predicted for {found['latency_of']}" in capsys.readouterr().out


def test_profiles_that_do_not_do_are_refused_before_anything_is_made(profile: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    text = profile.read_text()
    (tmp_path / "cut.json").write_text(text[: len(text) // 2])
    with pytest.raises(ProfileDamaged, match=r"cut\.json: truncated or not JSON"):
        nas.search(**SETTINGS | {"latency_profile": str(tmp_path / "cut.json"), "out": str(out)})
    with pytest.raises(ProfileError, match=r"the device profile is of space resnet8 .* given resnet8"):
        nas.search(**SETTINGS | {"latency_profile": str(profile), "operators": ["add", "se"], "out": str(out)})
    loaded = DeviceProfile.load(profile)
    fastest = in_short(fastest_predicted(prepare(SearchConfig.model_validate(SETTINGS)).space, loaded))
    closest = rf"predicted latency of at most 0\.001 ms: the closest, {re.escape(fastest)}, takes"
    with pytest.raises(NothingFeasible, match=closest):
        nas.search(**SETTINGS | {"latency_profile": str(profile), "max_latency": "1us", "out": str(out)})
    assert not out.exists()


def test_another_budget_gives_another_front_and_trains_nothing(finished: Path) -> None:
    before = RunView.load(finished)
    least = min(trial.result.macs for trial in before.complete)
    view = repricing.reprice(finished, {"max_flops": f"{least}"}).view
    assert {trial.result.macs for trial in view.front} == {least}
    assert view.results == before.results
    assert RunView.load(finished).constraints == ()


def test_a_repriced_run_is_gone_on_with(finished: Path, profile: Path, tmp_path: Path) -> None:
    out = tmp_path / "repriced"
    repriced = repricing.reprice(finished, {"latency_profile": str(profile), "max_latency": "3x"})
    assert {trial.latency.source for trial in repriced.view.complete if trial.latency} == {Source.PREDICTED}
    config = repricing.write(repriced, finished, out)
    view = RunView.load(out)
    assert [str(constraint) for constraint in view.constraints] == ["latency_ms <= 3x baseline"]
    assert not view.finished  # its front is still to be measured
    assert sorted(path.name for path in (out / "weights").iterdir()) == sorted(
        path.name for path in (finished / "weights").iterdir()
    )
    gone_on = nas.search(config)
    assert gone_on.view.results == view.results
    assert gone_on.view.finished
    more = nas.search(config, extend=True, trials=6)
    assert more.view.count(TrialState.COMPLETE) == 6


def test_measurements_from_the_device_are_taken_over(finished: Path, tmp_path: Path) -> None:
    quick = ["--passes", "30", "--attempts", "1"]
    arguments = ["latency", "--architectures", f"{finished}:front", *quick, "--json"]
    done = CliRunner().invoke(commands, arguments, catch_exceptions=False)
    (tmp_path / "measured.json").write_text(done.stdout)
    repriced = repricing.reprice(finished, {"max_latency": "100x"}, tmp_path / "measured.json")
    assert len(repriced.measurements) == len(RunView.load(finished).estimated().front)
    repricing.write(repriced, finished, tmp_path / "out")
    view = RunView.load(tmp_path / "out")
    assert set(view.measured) >= {m.number for m in repriced.measurements}
    data = json.loads(done.stdout)
    data["device"]["name"] = "a Jetson"
    (tmp_path / "elsewhere.json").write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=r"of a Jetson, .* give the --latency-profile of that device beside it"):
        repricing.reprice(finished, {}, tmp_path / "elsewhere.json")
    data["architectures"][0]["latency"]["p50_ms"] = "fast"
    (tmp_path / "edited.json").write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=r"edited\.json: not the output of nas latency --json"):
        repricing.reprice(finished, {}, tmp_path / "edited.json")


def test_the_command(finished: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    shown = runner.invoke(commands, ["reprice", str(finished), "--max-flops", "1x", "--json"], catch_exceptions=False)
    assert json.loads(shown.stdout)["run"]["constraints"] == ["macs <= 1x baseline"]
    out = tmp_path / "a b"
    made = runner.invoke(commands, ["reprice", str(finished), "--max-flops", "1x", "--out", str(out)])
    assert f"nas search '{out / 'search.toml'}'" in made.output
    assert (out / "study.db").is_file()
    for arguments, message in [
        (["--out", str(out)], "exists; give a new folder"),
        (["--max-latency", "25"], "25ms or 25x?"),
        (["--objectives", "speed"], "objectives"),
        (["--latency-profile", str(out / "search.toml")], "not JSON"),
        (["--measured", str(out / "nothing.json")], "cannot be read"),
    ]:
        failed = runner.invoke(commands, ["reprice", str(finished), *arguments])
        assert message in str(failed.exception), arguments
        assert "\n" not in str(failed.exception)


def test_the_local_bench_is_that_of_nas_latency() -> None:
    space = prepare(SearchConfig.model_validate(SETTINGS)).space
    with LocalEngine().bench(space, Target("cpu"), PROTOCOL) as bench:
        found = bench.measure(space.baseline, None)
    assert 0.8 < found.relative < 1.25


@pytest.mark.parametrize("losses", [2, 3])
def test_a_worker_that_is_lost_while_it_measures_is_replaced_a_few_times(
    losses: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, left = LatencyBench.measure, [losses]

    def lost_at_first(self: LatencyBench, architecture: Any, nominal: float | None = None) -> Any:
        if nominal is not None and left[0]:
            left[0] -= 1
            raise BenchLost("the worker that measures died: killed")
        return measure(self, architecture, nominal)

    monkeypatch.setattr(LatencyBench, "measure", lost_at_first)
    said: list[str] = []
    silence = Silence()
    silence.say = said.append  # type: ignore[method-assign]
    settings = SETTINGS | {"out": str(tmp_path / "run"), "trials": 2}
    view = run_search(SearchConfig.model_validate(settings), silence).view
    assert view.finished
    assert "the worker that measures died: killed: another goes on, 3 of 3" in said
    if losses == 2:
        assert view.to_measure == ()
        assert view.measured
    else:
        assert "the front was not measured: the worker that measures died: killed" in said
