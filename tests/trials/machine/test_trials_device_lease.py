"""Who is suspended keeps nobody waiting, and finds out when it wakes; who waits for long goes on, and says so."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_trials_quiet import HOLD, TRAIN, enters, intervals, overlapping
from trials_results import end, line, process

from trials.latency import timing
from trials.machine import lease
from trials.machine.lease import Lock, waited_seconds
from trials.machine.quiet import occupied, quiet
from trials.trial import LatencyProtocol

SHORT = "from trials.machine import lease\nlease.BEAT_SECONDS, lease.LEASE_SECONDS = 0.1, 1.0\n"
#: Measures while told to, and says how it went.
MEASURE = """
import time
from trials.machine.quiet import quiet
with quiet() as alone:
    print("in", flush=True)
    sys.stdin.readline()
    print(alone.undisturbed, flush=True)
"""
#: Measures as a trial's latency is; each pass says a line, and the first of all does not end before it is told to.
MEASURED = """
import time
from trials.latency.timing import measure
from trials.trial import LatencyProtocol
def one_pass():
    print("pass", flush=True)
    passes.append(1)
    if len(passes) == 1:
        sys.stdin.readline()
    return 1.0
passes = []
print(measure(one_pass, one_pass, LatencyProtocol(warmup=0, passes=30)).attempts, flush=True)
print("end", flush=True)
"""


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    child = process(SHORT + code)
    try:
        yield child
    finally:
        end(child)


def stop(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.005)


def wake(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGCONT)


def test_a_measurement_goes_on_without_a_suspended_training(capfd: pytest.CaptureFixture[str]) -> None:
    """Which goes back in when it wakes, and does not end up beside the next one."""
    with running(TRAIN) as trainer:
        assert line(trainer) == "in"
        stop(trainer)
        began = time.monotonic()
        with quiet() as alone:
            assert 0.9 < time.monotonic() - began < 5
            assert alone.undisturbed
        said = capfd.readouterr().err
        assert f"process {trainer.pid}) has shown no sign of life for 1 s: passed over, it held cpu-room.0" in said
        began = time.monotonic()
        with quiet() as alone:  # nobody waits for it twice
            assert time.monotonic() - began < 0.9
            assert alone.undisturbed
        assert capfd.readouterr().err == ""
        wake(trainer)
        time.sleep(0.3)
        with quiet():
            measured = [(time.monotonic(), time.monotonic() + 0.3)]
            time.sleep(0.3)
        time.sleep(0.2)
        trainer.kill()
        steps = intervals(trainer.communicate()[0])
    assert overlapping(steps, measured) == []
    assert steps[-1][0] > measured[0][1], "training goes on"


def test_a_measurement_beside_a_training_that_wakes_is_none() -> None:
    with running(TRAIN) as trainer:
        assert line(trainer) == "in"
        stop(trainer)
        with quiet() as alone:
            assert alone.undisturbed
            wake(trainer)
            deadline = time.monotonic() + 5
            while alone.undisturbed:
                assert time.monotonic() < deadline
                time.sleep(0.02)


def test_trainings_go_on_without_a_suspended_measurement_which_does_not_count(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with running(MEASURE) as measurer, occupied() as machine:
        with machine.away():
            assert line(measurer) == "in"
            stop(measurer)
            began, waited = time.monotonic(), waited_seconds()
        assert 0.9 < time.monotonic() - began < 2.2, "the room and the turnstile are passed over at once"
        assert waited_seconds() - waited == pytest.approx(time.monotonic() - began, abs=0.2)
        machine.give_way()
        assert f"process {measurer.pid}) has shown no sign of life" in capfd.readouterr().err
        with running(HOLD.format(hold="occupied")) as other:  # they wait no more
            began = time.monotonic()
            assert line(other) == "in"
        wake(measurer)
        assert measurer.communicate("\n", timeout=10)[0] == "False\n"


def test_a_suspended_measurement_is_repeated_when_it_wakes() -> None:
    with running(MEASURED) as measurer:
        assert line(measurer) == "pass"
        stop(measurer)
        with occupied():
            pass
        wake(measurer)
        lines = measurer.communicate("\n", timeout=60)[0].splitlines()
    assert lines[-2:] == ["1", "end"], "the attempt that was disturbed is none"
    assert lines.count("pass") == 2 * 2 * 30 - 1


def test_a_measurement_that_is_disturbed_again_and_again_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MOST_DISTURBED", 3)
    monkeypatch.setattr("trials.machine.quiet.Alone.undisturbed", False)
    passes: list[int] = []

    def one_pass() -> float:
        passes.append(1)
        return 1.0

    measured = timing.measure(one_pass, one_pass, LatencyProtocol(warmup=0, passes=30, attempts=1))
    assert (measured.stable, measured.attempts, len(passes)) == (False, 1, 3 * 60)


def test_who_lives_and_does_not_make_way_has_a_limit(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LIMIT_SECONDS", 2.0)
    with running(HOLD.format(hold="occupied")) as holder:
        assert line(holder) == "in"
        began = time.monotonic()
        with quiet() as alone:
            assert 1.9 < time.monotonic() - began < 6
            time.sleep(0.3)
            assert not alone.undisturbed
        assert f"process {holder.pid}) has not made way for 2 s: passed over" in capfd.readouterr().err
        with quiet() as alone:
            time.sleep(0.3)
            assert alone.undisturbed


def test_who_lives_is_waited_for_beyond_a_lease() -> None:
    with running(HOLD.format(hold="quiet")) as holder:
        assert line(holder) == "in"
        assert not enters("occupied", within=2.0)
    assert enters("occupied", within=5.0)


def test_nobody_starves_the_measurement_that_waits_for_a_suspended_one(locks: Path) -> None:
    """Trainers overlap for ever, and one measurement hangs in its turn: the next one gets its own all the same."""
    trainers = [process(SHORT + TRAIN) for _ in range(2)]
    try:
        assert [line(trainer) for trainer in trainers] == ["in", "in"]
        with running(MEASURE) as hanging:
            assert line(hanging) == "in"
            stop(hanging)
            began = time.monotonic()
            with quiet() as alone:
                assert time.monotonic() - began < 10
                measured = [(time.monotonic(), time.monotonic() + 0.2)]
                time.sleep(0.2)
                assert alone.undisturbed
    finally:
        for trainer in trainers:
            trainer.kill()
        steps = [intervals(trainer.communicate()[0]) for trainer in trainers]
    assert [overlapping(one, measured) for one in steps] == [[], []]
    names = sorted(file.name for file in next(locks.iterdir()).iterdir())
    assert len(names) == 2, "what was passed over is removed"


def test_an_interrupted_wait_takes_nothing_later() -> None:
    class Over(Exception):
        pass

    def ring(number: int, frame: object) -> None:
        raise Over

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with running(HOLD.format(hold="quiet")) as holder:
            assert line(holder) == "in"
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(Over), occupied():
                pass
    finally:
        signal.signal(signal.SIGALRM, before)
    assert enters("quiet", within=5.0)


def test_who_waits_and_was_suspended_itself_passes_over_nobody() -> None:
    """Its own clock went on meanwhile; that the holder's file is as it was says nothing of that time."""
    with ExitStack() as both:
        holder = both.enter_context(running(HOLD.format(hold="quiet")))
        assert line(holder) == "in"
        waiting = both.enter_context(running(HOLD.format(hold="occupied")))
        time.sleep(0.7)
        for child in (waiting, holder):
            stop(child)
        time.sleep(1.5)
        for child in (waiting, holder):
            wake(child)
        reader = threading.Thread(target=line, args=(waiting,), daemon=True)
        reader.start()
        reader.join(1.5)
        assert reader.is_alive()


def test_a_fork_holds_nothing() -> None:
    """The kernel would keep a lock for as long as any copy of the file is open."""
    code = (
        "import os, time\nfrom trials.machine.quiet import occupied\n"
        "with occupied() as machine:\n"
        "    if os.fork() == 0:\n        machine.give_way()\n        os._exit(0 if machine._room.mine() else 1)\n"
        "    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)\n"
        "    if os.fork() == 0:\n        time.sleep(60)\n        os._exit(0)\n"
        "    print(os.getpid(), flush=True)\n    time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", SHORT + code], stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert (line(parent), line(parent)) == ("0", str(parent.pid))
        parent.kill()
        parent.wait()
        began = time.monotonic()
        with quiet():
            assert time.monotonic() - began < 0.9, "at once, not after a lease"
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        assert parent.stdout is not None
        parent.stdout.close()


def test_a_lock_that_is_swept_away_is_found_again(locks: Path) -> None:
    """As what cleans /tmp does."""
    with occupied() as machine:
        (own,) = locks.iterdir()
        for file in own.iterdir():
            file.unlink()
        machine.give_way()
        assert not enters("quiet", within=0.7)


def test_an_old_generation_is_nobodys(locks: Path) -> None:
    with quiet():
        pass
    (own,) = locks.iterdir()
    (own / "cpu-room.3.lock").touch()  # 0 to 2 were passed over, and whoever did so died before removing the last one
    with quiet():
        pass
    assert sorted(file.name for file in own.iterdir()) == ["cpu-room.3.lock", "cpu-turnstile.0.lock"]


@pytest.mark.parametrize("trouble", ["nowhere", "a file", "somebody else's", "no flock", "no names"])
def test_where_there_are_no_locks_it_is_said_once_and_all_goes_on(
    trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / trouble
    if trouble == "a file":
        folder.touch()
    elif trouble != "nowhere":
        folder.mkdir()
    monkeypatch.setenv("FUSION_NAS_LOCKS", str(folder))
    if trouble == "somebody else's":
        (folder / f"fusion-nas-{os.getuid()}").symlink_to(tmp_path)
    if trouble == "no flock":

        def refuse(file: int, kind: int) -> None:
            raise OSError(37, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)
    if trouble == "no names":  # as of some file systems in user space
        nameless = SimpleNamespace(**vars(os) | {"fstat": lambda file: SimpleNamespace(st_nlink=0)})
        monkeypatch.setattr(lease, "os", nameless)
    for _ in range(2):
        with occupied() as machine:
            machine.give_way()
            with machine.away():
                pass
        with quiet() as alone:
            assert alone.undisturbed
    (said,) = capfd.readouterr().err.splitlines()
    assert said.startswith(f"no locks in {folder} (")
    assert said.endswith("set FUSION_NAS_LOCKS to a folder of yours on a local disk")


def test_a_generation_that_is_passed_over_by_two_is_passed_over_once() -> None:
    with running(HOLD.format(hold="quiet")) as holder:
        assert line(holder) == "in"
        stop(holder)
        entered: list[float] = []

        def enter() -> None:
            lock = Lock("cpu-turnstile")
            lock.take(alone=True)
            entered.append(time.monotonic())
            time.sleep(0.3)
            entered.append(time.monotonic())
            lock.close()

        threads = [threading.Thread(target=enter) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(15)
    assert len(entered) == 6
    assert entered == sorted(entered)
