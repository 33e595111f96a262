"""Why a worker is gone, and what becomes of a trial that had too little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nas
from nas.cli.main import main
from nas.engines.crashes import Crashes
from nas.engines.engine import JobSource
from nas.engines.local import LocalEngine
from nas.engines.lost_workers import kernel_kills, node_died, why_lost
from nas.engines.retrying import Place, Retrying
from nas.session.session import run_search
from nas.settings.loading import load_config
from nas.telling import Silence
from reports import RunView
from search_spaces import register
from search_spaces.fusions import unregister
from trials.errors import DeviceLost
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.trial import Failure, TrialJob, TrialState

MONITOR = "Task was killed due to the node running low on memory."
DIED = "The actor died unexpectedly; perhaps killed by SIGKILL by OOM killer due to high memory usage."


@pytest.mark.parametrize(
    ("reason", "seconds", "limit", "killed", "failure"),
    [
        (MONITOR, 1.0, None, False, Failure.OUT_OF_MEMORY),
        (DIED, 1.0, None, True, Failure.OUT_OF_MEMORY),
        (DIED, 1.0, None, False, Failure.WORKER_LOST),
        (DIED, 9.0, 10.0, False, Failure.WORKER_LOST),
        (DIED, 11.0, 10.0, False, Failure.WORKER_LOST),  # it would have said itself that its time was over
        (DIED, 20.0, 10.0, False, Failure.TIMED_OUT),
        ("The actor died because its node has died. Node Id: 51627d28", 20.0, 10.0, False, Failure.WORKER_LOST),
    ],
)
def test_why_a_worker_is_gone(reason: str, seconds: float, limit: float | None, killed: bool, failure: Failure) -> None:
    assert why_lost(reason, seconds, limit, killed) is failure


def test_a_dead_node_is_told_from_a_dead_worker() -> None:
    assert node_died("The actor died because its node has died. Node Id: 51627d28")
    assert not node_died("The actor 2a11 is unavailable: The actor is temporarily unavailable: RpcError: Socket closed")
    assert not node_died(DIED)


def test_the_kernels_count_is_read_where_there_is_one(tmp_path: Path) -> None:
    container, machine = tmp_path / "memory.events", tmp_path / "vmstat"
    assert kernel_kills((container, machine)) == 0
    machine.write_text("pgfault 9\noom_kill 3\n")
    assert kernel_kills((container, machine)) == 3
    container.write_text("oom 5\noom_kill 2\noom_group_kill 7\n")
    assert kernel_kills((container, machine)) == 2
    assert kernel_kills() >= 0


class Greedy(nn.Module):
    """Has too little memory beside another trial, and always where it is told so."""

    shared, always = False, False

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self.training and len(x) == 64 and (Greedy.shared or Greedy.always):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return x + y


class TwoAtOnce(LocalEngine):
    """Hands out two jobs before either is judged, as two workers on one card have them."""

    workers = 2

    def run(self, plan: TrialPlan, source: JobSource) -> None:
        bench, retrying, room = Bench(plan), Retrying(source, print, 2), {"here": (2,)}
        self.side_by_side: list[int] = []
        while not source.finished:
            attempts = [a for a in (retrying.next_attempt(room), retrying.next_attempt(room)) if a is not None]
            self.side_by_side.append(len(attempts))
            for attempt in attempts:
                retrying.begun(attempt.job.number, Place("here", "127.0.0.1", "cpu"))
            for attempt in attempts:
                Greedy.shared = len(attempts) > 1
                *_, outcome = bench.judge(attempt.job)
                assert isinstance(outcome, TrialOutcome)
                retrying.record(outcome.result, outcome.weights)


@pytest.fixture
def greedy(monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoAtOnce]:
    register("greedy")(Greedy)
    engine = TwoAtOnce()
    monkeypatch.setattr("nas.engines.engine.make_engine", lambda config, interruption, say: engine)
    yield engine
    unregister("greedy")
    Greedy.always = Greedy.shared = False


@pytest.mark.parametrize("always", [False, True])
def test_a_trial_out_of_memory_beside_another_is_run_again_alone(
    tiny: dict[str, Any], greedy: TwoAtOnce, always: bool
) -> None:
    Greedy.always = always
    nas.search(**tiny | {"operators": ["add", "greedy"], "trials": 3, "train_images": 128})
    view = RunView.load(tiny["out"])
    found = {r.origin: r for r in view.results}
    assert greedy.side_by_side[:2] == [2, 1]  # the baseline and the greedy one; then it alone
    assert (found["baseline"].state, found["baseline"].attempts) == (TrialState.COMPLETE, 1)
    assert found["uniform"].attempts == 2
    assert found["uniform"].failure is (Failure.OUT_OF_MEMORY if always else None)
    assert len({r.number for r in view.results}) == len(view.results) == 3
    assert view.count(TrialState.COMPLETE) + view.count(TrialState.FAILED) == 3


class Heard(Silence):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


class Unlucky(LocalEngine):
    """Loses the workers of some jobs, as often as they are tried."""

    unlucky: Callable[[TrialJob], bool] = staticmethod(lambda job: job.origin == "baseline")
    lucky = False
    lost = 0

    def run(self, plan: TrialPlan, source: JobSource) -> None:
        bench = Bench(plan)
        while (job := source.next_job()) is not None:
            if self.unlucky(job) and not self.lucky:
                self.lost += 1
                source.fail(job.number, Failure.WORKER_LOST, "lost with its worker 3 times: gone")
                continue
            *_, outcome = bench.judge(job)
            assert isinstance(outcome, TrialOutcome)
            source.record(outcome.result, outcome.weights)


def test_what_is_lost_with_its_worker_is_no_trial_and_is_tried_again_by_the_next_session(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Unlucky()
    monkeypatch.setattr("nas.engines.engine.make_engine", lambda config, interruption, say: engine)
    options = tiny | {"trials": 3, "train_images": 128}
    nas.search(**options)
    view = RunView.load(tiny["out"])
    (lost,) = (r for r in view.results if r.state is TrialState.STOPPED)
    assert (lost.origin, lost.error) == ("baseline", "lost with its worker 3 times: gone")
    assert view.count(TrialState.COMPLETE) == 2
    engine.lucky = True
    nas.search(**options)
    after = RunView.load(tiny["out"])
    assert {r.state for r in after.results} == {TrialState.COMPLETE}
    assert len(after.results) == 3
    assert after.baseline_trial is not None


@pytest.mark.parametrize("what_is_lost", ["baseline", "all"])
def test_nas_search_whose_trainings_were_lost_exits_with_1_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what_is_lost: str
) -> None:
    engine = Unlucky()
    if what_is_lost == "all":
        engine.unlucky = lambda job: True
    monkeypatch.setattr("nas.engines.engine.make_engine", lambda config, interruption, say: engine)
    asked = [
        "search", "--space", "resnet8", "--train-images", "256", "--epochs", "1", "--trials", "2", "--set",
        "latency.passes=30", "--set", "latency.warmup=3", "--set", "latency.attempts=1", "--set", "val_fraction=0.05",
        "--set", "training.batch_size=64", "--set", "training.precision=float32", "--finalists", "none", "--export",
        "none", "--engine", "local", "--out", str(tmp_path / "run"), "--regime", "scratch",
    ]  # fmt: skip

    def ended() -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["nas", *asked])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), capsys.readouterr().err

    code, said = ended()
    assert code == 1
    if what_is_lost == "all":
        assert (
            f"nas: {tmp_path}/run: every training was lost with its worker; the same command tries them again" in said
        )
    else:
        assert "nas: trainings were lost with their workers, so the search is not complete; everything else" in said
        assert f"\n  nas search --resume {tmp_path}/run\n" in said
    engine.lucky = True
    assert ended()[0] == 0
    assert RunView.load(tmp_path / "run").finished


@pytest.mark.slow
@pytest.mark.parametrize("final", [False, True])
def test_a_search_that_lost_a_repeat_or_a_finalist_is_not_complete_and_trains_it_in_the_next_session(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch, final: bool
) -> None:
    engine, said = Unlucky(), Heard()
    engine.unlucky = lambda job: job.number < 0 and job.final is final and not engine.lost
    monkeypatch.setattr("nas.engines.engine.make_engine", lambda config, interruption, say: engine)
    options = tiny | {"trials": 2, "train_images": 128, "noise_seeds": 2, "finalists": 1}
    options |= {"finalist_seeds": 2, "finalist_max_seeds": 2}
    config = load_config(None, options)
    run_search(config, said)
    view = RunView.load(tiny["out"])
    assert (view.final_stage is not None) is final, "of a field that is not whole no front is measured"
    assert view.count(TrialState.COMPLETE) == 2
    assert (view.sessions[-1].outcome, view.finished) == ("lost", False)
    assert "1 training lost with its worker, again and again: the same command tries again" in said.lines
    before = len(view.trainings)
    assert len(view.finals) == (3 if final else 0)
    run_search(config, said)
    after = RunView.load(tiny["out"])
    assert (len(after.trainings), len(after.finals)) == (before + (not final), 4)
    assert (after.sessions[-1].outcome, after.finished) == ("complete", True)


def test_a_search_whose_device_computes_no_more_ends_and_goes_on_in_another_process(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    register("greedy")(Greedy)
    Greedy.always = True
    options = tiny | {"operators": ["add", "greedy"], "trials": 3, "train_images": 128}
    try:
        with monkeypatch.context() as broken:
            broken.setattr("trials.machine.device.answers", lambda device: False)
            with pytest.raises(DeviceLost, match="cpu does not compute any more in this process, since a"):
                nas.search(**options)
        assert RunView.load(tiny["out"]).count(TrialState.FAILED) == 1  # not all that came after it
        nas.search(**options)
    finally:
        unregister("greedy")
        Greedy.always = False
    assert RunView.load(tiny["out"]).finished


class Dying(LocalEngine):
    """Sees a worker die of its first job, and dies of it where it is told to: a driver without last words."""

    dies = True

    def remember(self, crashes: Crashes) -> None:
        self.crashes = crashes

    def run(self, plan: TrialPlan, source: JobSource) -> None:
        if not self.dies:
            super().run(plan, source)
            return
        retrying, room = Retrying(source, print, 1, crashes=self.crashes), {"here": (1,)}
        attempt = retrying.next_attempt(room)
        assert attempt is not None
        retrying.begun(attempt.job.number, Place("here", "127.0.0.1", "cpu"))
        retrying.lost(attempt.job.number, Failure.WORKER_LOST, "SIGSEGV")
        raise RuntimeError("the driver dies")


def test_that_a_worker_died_of_a_training_is_known_to_the_next_session(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Dying()
    monkeypatch.setattr("nas.engines.engine.make_engine", lambda config, interruption, say: engine)
    options = tiny | {"trials": 2, "train_images": 128}
    with pytest.raises(RuntimeError, match="the driver dies"):
        nas.search(**options)
    engine.dies = False
    nas.search(**options)
    baseline = RunView.load(tiny["out"]).baseline_trial
    assert baseline is not None
    result = baseline.result
    job = TrialJob(0, "", result.architecture, result.seed, result.epochs, 1, 1, start=result.start)
    assert engine.crashes.of(job) == ("SIGSEGV [node 127.0.0.1 (here)]",)


def test_alone_already_it_is_not_run_again(tiny: dict[str, Any]) -> None:
    register("greedy")(Greedy)
    Greedy.always = True
    try:
        nas.search(**tiny | {"operators": ["add", "greedy"], "trials": 2, "train_images": 128})
    finally:
        unregister("greedy")
        Greedy.always = False
    (failed,) = (r for r in RunView.load(tiny["out"]).results if r.state is TrialState.FAILED)
    assert (failed.failure, failed.attempts) == (Failure.OUT_OF_MEMORY, 1)
