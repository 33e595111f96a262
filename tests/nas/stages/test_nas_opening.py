"""The noise that a search measures within its first trials, and where the time of a trial goes: real small searches."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import nas
from nas.session.session import run_search
from nas.settings.changes import differences
from nas.settings.errors import ConfigError
from nas.settings.search import SearchConfig
from nas.telling import Silence
from nas.terminal.runs import print_status
from reports import RunView
from reports.noise import noise_floors
from trials.trial import TrialResult

SETTINGS: dict[str, Any] = {
    "space": "resnet8", "operators": ["add", "concat", "se"], "train_images": 128, "val_fraction": 0.05,
    "engine": "local", "export": "none", "finalists": "none", "noise_seeds": 2,
    "training": {"epochs": 1, "batch_size": 32, "precision": "float32", "regime": "scratch"},
    "latency": {"passes": 30, "warmup": 3, "attempts": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    folder = tmp_path_factory.mktemp("opening") / "run"
    return nas.search(**SETTINGS | {"trials": 4, "out": str(folder)}).view


@pytest.mark.slow
def test_the_first_two_are_repeated_and_the_search_is_the_same_without(finished: RunView, tmp_path: Path) -> None:
    first, second = (trial.result for trial in finished.trials[:2])
    keys = {first.architecture.key, second.architecture.key}
    assert {repeat.architecture.key for repeat in finished.beside} == keys
    assert [repeat.seed for repeat in finished.beside] == [1, 1]
    (floor,) = noise_floors(finished)
    assert (floor.seeds, floor.architectures) == (2, 2)
    plain = nas.search(**SETTINGS | {"trials": 4, "out": str(tmp_path / "run"), "noise_seeds": 1}).view
    assert plain.beside == ()
    found = [(r.architecture.key, r.score) for r in finished.results]
    assert found == [(r.architecture.key, r.score) for r in plain.results]
    # Going on, a search repeats nothing again, and asks for what is missing.
    nas.search(extend=True, **SETTINGS | {"trials": 5, "out": str(tmp_path / "run"), "noise_seeds": 2})
    more = nas.search(extend=True, **SETTINGS | {"trials": 6, "out": str(tmp_path / "run"), "noise_seeds": 3}).view
    assert sorted(repeat.seed for repeat in more.beside) == [1, 1, 2, 2]


def test_noise_is_measured_where_there_is_something_to_rank() -> None:
    assert SearchConfig(trials=9).seeds_for_noise == 1
    assert SearchConfig(trials=10).seeds_for_noise == 3
    assert SearchConfig(trials=9, noise_seeds=5).seeds_for_noise == 5


def test_every_trial_says_where_its_time_went(finished: RunView) -> None:
    for result in finished.results:
        timing = result.timing
        assert timing is not None
        assert timing.train_s == pytest.approx(result.train_seconds, abs=1e-5)
        assert min(timing.build_s, timing.evaluate_s, timing.pack_s) > 0
        assert min(timing.proposal_s, timing.record_s) > 0
        assert 0 < timing.worker_s <= result.seconds + 1e-3
    shown = finished.trials[0].to_json()["timing"]
    parts = ("proposal", "transit", "build", "pack", "record")
    assert shown["fixed_s"] == pytest.approx(sum(shown[f"{name}_s"] for name in parts), abs=1e-5)
    text = io.StringIO()
    print_status(Console(file=text, width=200), finished, active=False)
    assert re.search(r"a trial costs 0\.\d{3} s \(median\) beside", text.getvalue())


def test_latency_is_screened_where_it_is_asked_for() -> None:
    wishes: list[tuple[dict[str, Any], bool]] = [
        ({}, False),
        ({"max_flops": "1.2x"}, False),
        ({"max_latency": "1.2x"}, True),
        ({"objectives": ["accuracy", "latency_ms"]}, True),
        ({"latency": {"screen": True}}, True),
        ({"latency": {"screen": False}}, False),
        ({"max_latency": "1.2x", "latency_profile": "device.json"}, False),
    ]
    for wish, screened in wishes:
        assert SearchConfig.model_validate(wish).screens_latency is screened
    # A run of before there was `auto` goes on, whatever it recorded.
    recorded = SearchConfig().to_json()
    assert differences({**recorded, "latency": {**recorded["latency"], "screen": True}}, recorded) == {}


def test_no_trial_waits_for_a_quiet_machine_where_no_latency_is_asked_for(tmp_path: Path) -> None:
    """Another process trains all the while: a measurement would wait for it."""
    holding = "from trials.machine.quiet import occupied\nwith occupied():\n    print(1, flush=True)\n    input()"
    other = subprocess.Popen([sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "1\n"
    late = threading.Timer(120.0, other.kill)

    class Ends(Silence):
        freed = False

        def ended(self, result: TrialResult, view: RunView) -> None:
            super().ended(result, view)
            if result.number == 2:
                self.freed = other.poll() is None
                other.communicate("\n")  # the last stage measures

    progress, settings = Ends(), SETTINGS | {"trials": 3, "out": str(tmp_path / "run"), "noise_seeds": 1}
    late.start()
    try:
        view = run_search(SearchConfig.model_validate(settings), progress).view
    finally:
        late.cancel()
        other.kill()
    assert progress.freed
    assert all(result.latency is None for result in view.results)
    assert view.measured


def test_a_run_that_is_extended_by_a_latency_has_all_of_them_measured(finished: RunView) -> None:
    assert all(result.latency is None for result in finished.results)
    wished = {"objectives": ["accuracy", "latency_ms"]}
    view = nas.search(extend=True, **SETTINGS | wished | {"trials": 5, "out": str(finished.path)}).view
    assert all(trial.latency is not None for trial in view.complete)
    assert view.results[-1].latency is not None
    assert {result.number for result in finished.results} <= set(view.measured)


def test_without_screening_only_the_front_is_measured(tmp_path: Path) -> None:
    settings = SETTINGS | {"trials": 3, "out": str(tmp_path / "run"), "noise_seeds": 1, "latency": {"screen": False}}
    view = nas.search(**settings).view
    assert all(result.latency is None for result in view.results)
    assert all(result.timing is not None and result.timing.latency_s < 0.01 for result in view.results)
    assert set(view.measured) >= {trial.result.number for trial in view.front}
    for more in ({"max_latency": "2x"}, {"objectives": ["accuracy", "latency_ms"]}):
        with pytest.raises(ConfigError, match=r"latency\.screen is false, but .* needs a latency"):
            nas.search(**settings | more)
