"""Runs `nas` as a user does, in a process of its own."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reports import RunView
from trials.trial import TrialState

#: Processes are forked off one that has imported what most commands import: that takes two seconds, and there are
#: hundreds of commands.
_WARM = multiprocessing.get_context("forkserver")
_WARM.set_forkserver_preload(
    ["torch", "torchvision", "optuna", "onnx", "nas.cli.main", "nas.session.session", "nas.export.exporting"]
)
_LIMIT_S = 900


def nas_program(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`nas …`, to its end."""
    command = ["nas", *map(str, arguments)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = _WARM.Process(
            target=_become,
            args=(command, dict(os.environ), str(cwd or Path.cwd()), _Opened(out.fileno()), _Opened(err.fileno())),
        )
        process.start()
        process.join(_LIMIT_S)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, _LIMIT_S)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(
            command, process.exitcode, out.read().decode("utf-8"), err.read().decode("utf-8")
        )


class _Opened:
    """A file of this process that one forked off the warm one gets too."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[object, ...]:
        return _opened, (multiprocessing.reduction.DupFd(self.number),)


def _opened(handed: object) -> int:
    return int(handed.detach())  # type: ignore[attr-defined]


def _become(command: Sequence[str], environment: Mapping[str, str], cwd: str, out: int, err: int) -> None:
    """The process becomes the program, as `python -m nas` starts it."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv[:] = command
    from nas.cli.main import main

    try:
        main()
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends its processes without


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
