"""Whole searches through a real Ray runtime with two workers: to the end, killed, interrupted, robbed of a worker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from programs import nas_program, start_nas, wait_for

import nas
from nas.engines.interruption import Interruption
from reports import RunView
from search_spaces.networks import InputSpec
from search_spaces.space import SearchSpace
from trials.data import DataConfig
from trials.errors import DeviceError, WorkerLost
from trials.judge import TrialPlan
from trials.trial import LatencyProtocol, Recipe, TrialState

pytestmark = pytest.mark.timeout(1200)  # on machines that do much else

CHROMIUM = Path("/usr/bin/chromium")


def arguments(folder: Path, trials: int = 5, images: int = 1000, epochs: int = 1) -> list[object]:
    return [
        "search", "--space", "resnet8", "--train-images", images, "--epochs", epochs, "--trials", trials,
        "--max-flops", "1.05x", "--max-latency", "6x", "--workers", 2, "--out", folder,
        "--finalists", "none", "--export", "best",
        "--regime", "scratch",
    ]  # fmt: skip


def ray_processes(program: subprocess.Popen[str], kinds: str = "") -> set[int]:
    """The numbers of a search's ray processes of a kind: `ResourceTrainable|TrialActor` are the trial actors.

    Those that it started, and that these started: other tests may run ray beside this one.
    """
    columns = ["ps", "-ww", "-eo", "pid,ppid,args"]
    listed = subprocess.run(columns, capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()[1:]]
    parents = {int(pid): int(parent) for pid, parent, _ in rows}

    def descends(pid: int) -> bool:
        while pid in parents and pid != program.pid:
            pid = parents[pid]
        return pid == program.pid

    return {int(pid) for pid, _, command in rows if re.match(rf"ray::({kinds})", command) and descends(int(pid))}


TRIALS = "ResourceTrainable|TrialActor"


def wait_until_gone(processes: set[int], seconds: float) -> None:
    """Ray's processes end with the search that started them."""
    deadline = time.monotonic() + seconds
    while left := {pid for pid in processes if is_alive(pid)}:
        assert time.monotonic() < deadline, left
        time.sleep(0.5)


def is_alive(pid: int) -> bool:
    """Whether it runs, and nobody's but ray's: what has ended may wait for a parent that does not ask."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
    except OSError:
        return False


@pytest.mark.slow
def test_ray_and_the_local_engine_find_the_same(tmp_path: Path) -> None:
    """One path: both engines judge by the same function, so the controls come out to the last bit."""
    done = nas_program(*arguments(tmp_path / "ray", trials=4))
    assert done.returncode == 0, done.stderr
    assert f"report:   {tmp_path / 'ray' / 'report.html'}" in done.stdout
    assert f"exported: {tmp_path / 'ray' / 'exported'}/" in done.stdout
    assert "Traceback" not in done.stderr
    assert "4/4 trained" in done.stderr
    ray = RunView.load(tmp_path / "ray")
    assert ray.precision is not None  # a worker has measured, or found nothing to measure
    local = nas.search(
        space="resnet8", train_images=1000, trials=4, max_flops="1.05x", max_latency="6x", engine="local",
        training={"epochs": 1, "precision": ray.precision["precision"], "regime": "scratch"},
        export="none", finalists="none",
        out=str(tmp_path / "local"),
    )  # fmt: skip

    def controls(view: RunView) -> dict[str, tuple[float | None, float | None]]:
        judged = (r for r in view.complete if r.result.origin in ("baseline", "uniform"))
        return {t.result.architecture.key: (t.result.score, t.result.loss) for t in judged}

    assert controls(ray) == controls(local.view)
    assert len(controls(ray)) == 2
    parity = json.loads((tmp_path / "ray" / "exported" / "parity.json").read_text())
    assert parity["passed"]


@pytest.mark.slow
def test_killed_with_everything_it_goes_on_and_nothing_is_lost_or_trained_twice(tmp_path: Path) -> None:
    program = start_nas(*arguments(tmp_path / "run", trials=6, images=2000))
    wait_for(program, tmp_path / "run", complete=2)
    ours = ray_processes(program)
    assert ours
    os.killpg(program.pid, signal.SIGKILL)
    program.communicate(timeout=30)
    wait_until_gone(ours, 60)
    before = RunView.load(tmp_path / "run")
    assert before.sessions[-1].outcome is None
    done = nas_program(*arguments(tmp_path / "run", trials=6, images=2000))
    assert done.returncode == 0, done.stderr
    after = RunView.load(tmp_path / "run")
    assert after.count(TrialState.COMPLETE) == 6
    recorded = {r.number: r for r in after.results}
    assert all(recorded[r.number] == r for r in before.results)
    keys = [t.result.architecture.key for t in after.complete]
    assert len(keys) == len(set(keys))
    assert after.sessions[-1].outcome == "complete"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)]
)
def test_interrupted_it_stops_cleanly_and_leaves_no_process(tmp_path: Path, number: int, code: int) -> None:
    program = start_nas(*arguments(tmp_path / "run", trials=6, images=4000))
    wait_for(program, tmp_path / "run", complete=1)
    ours = ray_processes(program)
    assert ours
    started = time.monotonic()
    program.send_signal(number)
    _, narration = program.communicate(timeout=60)
    assert time.monotonic() - started < 30
    assert program.returncode == code
    assert f"everything is saved. Go on with:\n  nas search --resume {tmp_path / 'run'}" in narration
    assert "Traceback" not in narration
    view = RunView.load(tmp_path / "run")
    assert 1 <= view.count(TrialState.STOPPED) <= 2
    assert view.sessions[-1].outcome == "interrupted"
    wait_until_gone(ours, 20)


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing_but_time(tmp_path: Path) -> None:
    program = start_nas(*arguments(tmp_path / "run", trials=5, images=4000))
    wait_for(program, tmp_path / "run", complete=1)
    victims = ray_processes(program, TRIALS)
    assert len(victims) == 2
    os.kill(victims.pop(), signal.SIGKILL)
    program.communicate(timeout=480)
    assert program.returncode == 0
    view = RunView.load(tmp_path / "run")
    assert view.count(TrialState.COMPLETE) == len(view.results) == 5
    (again,) = (r for r in view.results if r.attempts > 1)
    assert again.attempts == 2
    (reason,) = again.environment["earlier_attempts"]
    assert reason.startswith("the worker died")
    shown = nas_program("show", tmp_path / "run", again.number).stdout
    assert "2: the worker died" in shown


@pytest.mark.long
@pytest.mark.slow
def test_a_second_ctrl_c_ends_it_at_once_and_leaves_no_process(tmp_path: Path) -> None:
    program = start_nas(*arguments(tmp_path / "run", trials=6, images=4000))
    before = wait_for(program, tmp_path / "run", complete=1)
    ours = ray_processes(program)
    assert ours
    program.send_signal(signal.SIGINT)
    time.sleep(0.6)
    program.send_signal(signal.SIGINT)
    _, narration = program.communicate(timeout=60)
    assert program.returncode == 130
    assert "Traceback" not in narration
    after = {r.number: r for r in RunView.load(tmp_path / "run").results}
    assert all(after[r.number] == r for r in before.results)
    wait_until_gone(ours, 30)


#: Operators that never come back: one that a signal ends, one that only the end of its process does, and one that
#: another process has to end.
HANGING = """
import os, signal, time
import torch
from torch import nn
from search_spaces import register
from search_spaces.networks import ResNetDesign

SPACE = ResNetDesign("resnet8", "basic", (1, 1, 1), (16, 32, 64), "cifar")


class Sum(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x, y):
        if self.training and len(x) == 64:
            self.hang()
        return x + y


@register("loops")
class Loops(Sum):
    def hang(self):
        while True:
            pass


@register("deaf")
class Deaf(Sum):
    def hang(self):
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        while True:
            time.sleep(1)


@register("stopped")
class Stopped(Sum):
    def hang(self):
        os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.slow
def test_a_worker_that_dies_while_it_is_asked_is_said() -> None:
    from ray import cloudpickle

    from nas.engines.ray_tune import RayEngine

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # or a worker would look for this file
    space = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
    data = DataConfig(train_images=128, val_fraction=0.05)
    plan = TrialPlan(space, data, Recipe(), LatencyProtocol(), "cpu", screening=False)
    engine = RayEngine(Interruption(), 1, None, 1.0, None, "cpu")
    try:
        with pytest.raises(WorkerLost, match="the worker that measured died: "):
            engine.ask(lambda bench: os._exit(1), plan)
        with pytest.raises(DeviceError, match="cuda:99"):
            engine.ask(lambda bench: bench.validation_images, replace(plan, device="cuda:99"))
        assert engine.ask(lambda bench: bench.trainer.validation_images, plan) == 500
    finally:
        engine.close()


#: A space whose workers die where they begin to work, as those of a broken machine do.
BROKEN = """
import os, sys
from pathlib import Path
from search_spaces.networks import ResNetDesign

SPACE = ResNetDesign("resnet8", "basic", (1, 1, 1), (16, 32, 64), "cifar")
ray = sys.modules.get("ray")
if ray and ray._private.worker.global_worker.mode == ray.WORKER_MODE and Path(__file__).with_name("broken").exists():
    os._exit(1)
"""


@pytest.mark.long
@pytest.mark.slow
def test_where_all_workers_are_lost_the_search_stops_and_the_next_one_tries_everything_again(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(BROKEN)
    (tmp_path / "small.toml").write_text(
        'trials = 2\nworkers = 2\ntrain_images = 128\nval_fraction = 0.02\nexport = "none"\nfinalists = "none"\n'
        '[training]\nepochs = 1\nbatch_size = 64\nregime = "scratch"\n'
        "[latency]\nscreen = false\npasses = 30\nwarmup = 1\nattempts = 1\n"
    )
    search = ("search", tmp_path / "small.toml", "--space", f"{tmp_path}/net.py:SPACE", "--out", tmp_path / "run")
    (tmp_path / "broken").touch()
    done = nas_program(*search)
    assert done.returncode == 1, done.stderr
    assert "6 workers were lost in a row, and no trial has ended meanwhile" in done.stderr
    assert "Traceback" not in done.stderr
    assert {r.state for r in RunView.load(tmp_path / "run").results} == {TrialState.STOPPED}
    (tmp_path / "broken").unlink()
    done = nas_program(*search)
    assert done.returncode == 0, done.stderr
    view = RunView.load(tmp_path / "run")
    assert view.count(TrialState.COMPLETE) == len(view.results) == 2
    assert view.baseline_trial is not None


@pytest.mark.long
@pytest.mark.slow
def test_trials_that_hang_are_ended_and_the_search_goes_on(tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    (tmp_path / "small.toml").write_text(
        'operators = ["add", "se", "loops", "deaf", "stopped"]\ntrials = 5\nworkers = 2\ntrain_images = 128\n'
        'val_fraction = 0.02\nexport = "none"\nfinalists = "none"\n'
        '[training]\nepochs = 1\nbatch_size = 64\ntrial_timeout = "15s"\nregime = "scratch"\n'
        "[latency]\npasses = 30\nwarmup = 1\nattempts = 1\n"
    )
    done = nas_program(
        "search", tmp_path / "small.toml", "--space", f"{tmp_path}/hanging.py:SPACE", "--out", tmp_path / "run"
    )
    assert done.returncode == 0, done.stderr
    view = RunView.load(tmp_path / "run")
    ended = {next(iter(r.architecture.labels().values())).split("/")[0]: r for r in view.results}
    assert view.failures == {"timed_out": 3}
    assert ended["loops"].error == "TrialTimedOut: over its time limit of 15 s"
    for name in ("deaf", "stopped"):
        said = str(ended[name].error)
        assert said.startswith("over its time limit of 15 s, and hung: its worker was ended [node ")
    assert ended["add"].state is ended["se"].state is TrialState.COMPLETE
    assert "failed: 3 timed_out" in nas_program("status", tmp_path / "run").stdout


@pytest.mark.slow
def test_diverging_trials_fail_in_their_workers_and_the_search_ends(tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    training = '[training]\nepochs = 1\npeak_lr = 1e12\nregime = "scratch"\n'
    config.write_text(f"train_images = 256\ntrials = 2\nworkers = 2\n{training}")
    done = nas_program("search", config, "--out", tmp_path / "run")
    assert done.returncode == 1
    assert "all trained trials of" in done.stderr
    assert "failed (2" in done.stderr
    assert "Traceback" not in done.stderr
    assert {r.state for r in RunView.load(tmp_path / "run").results} == {TrialState.FAILED}


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM}")
def test_from_search_to_deployed_model_and_report_in_a_browser(tmp_path: Path) -> None:
    """The user's whole way: search, report in Chromium, export in ONNX Runtime and in plain torch."""
    assert nas_program(*arguments(tmp_path / "run", trials=4, images=2000, epochs=2)).returncode == 0
    report = tmp_path / "run" / "report.html"
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    dump = subprocess.run(
        [
            CHROMIUM, *flags, *quiet, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000",
            "--dump-dom", report.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert 'data-drawn="1"' in dump.stdout  # every chart is drawn
    assert dump.stdout.count("<svg") >= 3
    import numpy as np
    import onnxruntime
    import torch

    from trials.data import DataConfig, load_data

    data = load_data(DataConfig(train_images=2000))
    best = nas.open_run(tmp_path / "run").select("best").result
    images = data.val.images
    inputs = (images.float() / 255 - torch.tensor(data.mean).view(1, -1, 1, 1)) / torch.tensor(data.std).view(
        1, -1, 1, 1
    )
    session = onnxruntime.InferenceSession(tmp_path / "run" / "exported" / "model.onnx")
    logits = np.concatenate([session.run(None, {"images": part.numpy()})[0] for part in inputs.split(256)])
    assert int((logits.argmax(1) == data.val.labels.numpy()).sum()) == best.correct
    assert best.score > 0.3  # ten classes, 2,000 images, two epochs
    alone = subprocess.run(
        [sys.executable, "-I", tmp_path / "run" / "exported" / "model.py"], capture_output=True, text=True, check=True
    )
    assert "parameters" in alone.stdout
