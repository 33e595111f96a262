"""What kind of failure an error is, and time limits that end what does not end by itself."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trials.machine.failures import TimeLimit, TrialTimedOut, failure_of, says_out_of_memory
from trials.machine.quiet import occupied, quiet
from trials.tasks.evaluation import NonFiniteLoss
from trials.training.step import ExplodingGradients
from trials.trial import Failure


def refused_by_the_allocator() -> RuntimeError:
    """What torch raises on this machine where there is not so much memory: 2^60 bytes."""
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    return error.value


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (NonFiniteLoss("loss is nan"), Failure.DIVERGED),
        (ExplodingGradients("norm is inf"), Failure.EXPLODING_GRADIENTS),
        (TrialTimedOut("over"), Failure.TIMED_OUT),
        (MemoryError(), Failure.OUT_OF_MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), Failure.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), Failure.OUT_OF_MEMORY),
        (refused_by_the_allocator(), Failure.OUT_OF_MEMORY),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), Failure.OUT_OF_MEMORY),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), Failure.ERROR),
        (ValueError("CUDA out of memory, says the text of another error"), Failure.ERROR),
        (OSError(errno.ENOENT, "no such file"), Failure.ERROR),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_each_error_has_a_kind(error: Exception, failure: Failure) -> None:
    assert failure_of(error) is failure


def test_an_attribute_of_that_name_is_not_believed_where_it_is_no_failure() -> None:
    error = ValueError("x")
    error.failure = "diverged"  # type: ignore[attr-defined]
    assert failure_of(error) is Failure.ERROR


def test_ray_names_a_possible_cause_in_words_that_are_none() -> None:
    assert says_out_of_memory("Task was killed due to the node running low on memory.")
    assert not says_out_of_memory("(1) The process is killed by SIGKILL by OOM killer due to high memory usage.")


def spin() -> None:
    while True:
        pass


def swallow() -> None:
    """As a bare `except` in somebody's module does."""
    try:
        spin()
    except TrialTimedOut:
        spin()


def wait_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@pytest.mark.parametrize("hang", [spin, wait_for_a_lock, lambda: time.sleep(60)], ids=["loop", "lock", "sleep"])
def test_what_hangs_in_python_is_interrupted(hang: Callable[[], None]) -> None:
    began = time.monotonic()
    with pytest.raises(TrialTimedOut, match=r"over its time limit of 0\.2 s"), TimeLimit(0.2).watching():
        hang()
    assert 0.15 < time.monotonic() - began < 5


def test_what_swallows_the_interruption_is_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trials.machine.failures._AGAIN_SECONDS", 0.1)
    with pytest.raises(TrialTimedOut), TimeLimit(0.1).watching():
        swallow()


def test_outside_nothing_is_interrupted_and_an_earlier_timer_goes_on() -> None:
    rang: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rang.append(number))
    earlier = signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        limit = TimeLimit(0.1)
        with limit.watching():
            pass
        time.sleep(0.2)  # over the limit, and nobody is watched
        assert rang == []
        with pytest.raises(TrialTimedOut):
            limit.check()
        deadline = time.monotonic() + 5
        while not rang and time.monotonic() < deadline:
            time.sleep(0.01)
        assert rang == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *earlier)


def test_no_limit_and_no_main_thread_are_left_alone() -> None:
    TimeLimit(None).check()
    before = signal.getsignal(signal.SIGALRM)
    with TimeLimit(None).watching():
        assert signal.getsignal(signal.SIGALRM) is before
    found: list[BaseException] = []

    def elsewhere() -> None:
        try:
            with TimeLimit(60).watching():
                pass
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == []


def test_waiting_for_others_is_not_its_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or one trial that hangs would take along those that wait for a quiet machine."""
    monkeypatch.setenv("FUSION_NAS_LOCKS", str(tmp_path))
    monkeypatch.setattr("trials.machine.failures._AGAIN_SECONDS", 0.05)
    entered = threading.Event()

    def measure() -> None:
        with quiet():
            entered.set()
            time.sleep(0.6)

    other = threading.Thread(target=measure)
    limit = TimeLimit(0.3)
    with limit.watching():
        other.start()
        assert entered.wait(5)
        with occupied(check=limit.check) as machine:
            machine.give_way()
            assert limit.left > 0.05
            with pytest.raises(TrialTimedOut):
                time.sleep(60)
    other.join()


DEAF = """
import faulthandler, signal, sys, time
from trials.machine import failures
failures.GRACE_SECONDS = 0.3
with failures.TimeLimit(0.2, expendable=True).watching():
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    print("hangs", flush=True)
    time.sleep(60)
"""


def test_an_expendable_process_is_ended_where_no_signal_is_heard() -> None:
    done = subprocess.run([sys.executable, "-c", DEAF], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, "hangs\n")
    assert "Timeout" in done.stderr  # faulthandler says where it hung
