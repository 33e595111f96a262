"""Runs `nas` in processes that have imported already what most of its commands import.

That takes two seconds, and the tests run hundreds of commands. Each is a process of its own all the same, forked off
one that has done nothing else.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import reduction
from pathlib import Path

_WARM = multiprocessing.get_context("forkserver")
_WARM.set_forkserver_preload(
    [
        *("torch", "torchvision", "optuna", "onnx"),
        *("nas.cli.main", "nas.session.session", "nas.export.exporting", "trials.latency.conditions"),
    ]
)


def run_warm(arguments: Sequence[str], cwd: Path, limit_s: float) -> subprocess.CompletedProcess[str]:
    """`nas ARGUMENTS` in a folder, to its end, with this process's environment."""
    command = ["nas", *arguments]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        handed = command, dict(os.environ), str(cwd), _Opened(out.fileno()), _Opened(err.fileno())
        process = _WARM.Process(target=_become, args=handed)
        process.start()
        process.join(limit_s)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, limit_s)
        out.seek(0)
        err.seek(0)
        told = (file.read().decode("utf-8") for file in (out, err))
        return subprocess.CompletedProcess(command, process.exitcode, *told)


def look_briefly() -> None:
    """A search waits before each of its measurements to see others' work: a minute of all tests."""
    if conditions := sys.modules.get("trials.latency.conditions"):
        conditions.LOOK_SECONDS = 0.02  # type: ignore[attr-defined]


class _Opened:
    """A file of this process that the other one gets too, under a number of its own."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[object, ...]:
        return _opened, (reduction.DupFd(self.number),)


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
    tests = str(Path(__file__).parent)
    sys.path[:] = [*(entry for entry in sys.path if not entry.startswith(tests)), cwd]
    from nas.cli.main import main

    look_briefly()
    try:
        main()
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends its processes without
