"""Ctrl-C once, which is borne until a record is whole, and twice, which is not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import pytest

import nas
from nas.engines.engine import JobSource
from nas.engines.local import LocalEngine
from reports import RunView
from trials.judge import TrialPlan
from trials.trial import TrialState

STUCK = """
import time
from nas.engines.interruption import Interrupted, Interruption
interruption = Interruption({words!r})
try:
    with interruption.listening(), interruption.shielded():
        print("in", flush=True)
        began = time.monotonic()
        while time.monotonic() - began < {seconds}:
            time.sleep(0.05)
except Interrupted as interrupted:
    print(interrupted, interrupted.exit_code)
"""


def stuck(words: str, seconds: float) -> subprocess.Popen[str]:
    program = subprocess.Popen(
        [sys.executable, "-c", STUCK.format(words=words, seconds=seconds)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout is not None
    assert program.stdout.readline() == "in\n"
    return program


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_the_process_at_once_and_says_so(number: signal.Signals, code: int) -> None:
    program = stuck("ended at once\n", 60)
    program.send_signal(number)
    time.sleep(1)
    assert program.poll() is None  # the first one waits for what must not be interrupted
    program.send_signal(number)
    out, said = program.communicate(timeout=5)
    assert (program.returncode, out, said) == (code, "", "ended at once\n")


def test_one_wish_may_come_twice() -> None:
    program = stuck("ended at once\n", 2)
    program.send_signal(signal.SIGINT)
    time.sleep(0.1)
    program.send_signal(signal.SIGTERM)
    out, said = program.communicate(timeout=30)
    assert (program.returncode, out, said) == (0, "SIGINT 130\n", "")


def test_a_notebook_is_not_ended() -> None:
    program = stuck("", 3)
    for _ in range(2):
        program.send_signal(signal.SIGINT)
        time.sleep(0.8)
    out, _ = program.communicate(timeout=30)
    assert (program.returncode, out) == (0, "SIGINT 130\n")


def test_whatever_ends_a_search_what_ran_is_recorded_as_stopped(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(engine: LocalEngine, plan: TrialPlan, source: JobSource) -> None:
        source.next_job()
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as patched:
        patched.setattr(LocalEngine, "run", broken)
        with pytest.raises(RuntimeError, match="a bug of ours"):
            nas.search(**tiny | {"trials": 2, "train_images": 128})
    (stopped,) = RunView.load(tiny["out"]).results
    assert (stopped.state, stopped.origin) == (TrialState.STOPPED, "baseline")
    nas.search(**tiny | {"trials": 2, "train_images": 128})
    assert RunView.load(tiny["out"]).count(TrialState.COMPLETE) == 2
