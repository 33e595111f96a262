"""Runs `nas` as a user does, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from warm import run_warm

from reports import RunView
from trials.trial import TrialState


def nas_program(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`nas …`, to its end."""
    return run_warm(list(map(str, arguments)), cwd or Path.cwd(), 900)


def start_nas(*arguments: object) -> subprocess.Popen[str]:
    """`nas …`, running. In a session of its own, so that a test can end all of it."""
    command = [sys.executable, "-m", "nas", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def kill_when(program: subprocess.Popen[str], folder: Path, begun: Callable[[RunView], object]) -> RunView:
    """The run of a search in another process, which is killed as soon as something is in its record."""
    deadline = time.monotonic() + 240
    while not (folder / "study.db").exists() or not begun(RunView.load(folder)):
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(program.pid, signal.SIGKILL)
    program.communicate()
    return RunView.load(folder)


def wait_for(program: subprocess.Popen[str], folder: Path, complete: int) -> RunView:
    """The run of a search in another process, as soon as so many of its trials are complete."""
    deadline = time.monotonic() + 480
    while time.monotonic() < deadline:
        assert program.poll() is None, program.communicate()
        if (folder / "study.db").exists():
            view = RunView.load(folder)
            if view.count(TrialState.COMPLETE) >= complete:
                return view
        time.sleep(0.1)
    raise AssertionError("the search did not get there in time")
