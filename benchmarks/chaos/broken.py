"""Trainings that go wrong in every way, among others that do not: by the engine named, in its real workers."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.faults import Answers

#: Seconds that a trial may take, and that a whole search may until it has hung.
LIMIT_S, HUNG_S = 20, 600.0
#: How often a driver is given again that ended with what it trained: three trainings may end it, each of them twice.
_MOST_DEATHS = 6
#: An operator that goes wrong wherever it is trained. Any but the first trial of a search may have it.
SOURCE = """
import ctypes, os, signal, time
import torch
from torch import nn
from search_spaces import register
from search_spaces.networks import ResNetDesign

SPACE = ResNetDesign("resnet8", "basic", (1, 1, 1), (16, 32, 64), "cifar")


def raised():
    raise ValueError("as told to")


def hang():
    while True:
        time.sleep(0.1)


HOW = {
    "exception": raised,
    "out of memory": lambda: torch.empty(1 << 50),
    "segfault": lambda: ctypes.string_at(0),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSTOP": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "hang": hang,
}


@register("broken")
class Broken(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x, y):
        how = os.environ["FUSION_NAS_BROKEN"]
        if self.training and len(x) == 64:
            if how in HOW:
                HOW[how]()
            else:
                return (x + y) * float(how.lower())
        return x + y
"""


@dataclass(frozen=True)
class Kind:
    """How a training goes wrong, what its row says then (its `failure`; None where it has none), by which engines."""

    failure: str | None
    engines: tuple[str, ...] = ("local", "ray")


KINDS: Mapping[str, Kind] = {
    "NaN": Kind("diverged"),
    "inf": Kind("diverged"),
    "exception": Kind("error"),
    "out of memory": Kind("out_of_memory"),
    "hang": Kind("timed_out"),
    "segfault": Kind("crashed"),  # it ends its worker, twice; in one process that is the driver, which is given again
    "SIGKILL": Kind("crashed", ("ray",)),
    "SIGSTOP": Kind("timed_out", ("ray",)),
}


def broken(kind: str, engine: str) -> Answers:
    """One search in which an operator goes wrong so."""
    found = Answers(f"the trial is recorded as failed ({KINDS[kind].failure}), the others are trained, exit code 0")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "net.py").write_text(SOURCE)
        (folder / "search.toml").write_text(
            'operators = ["add", "se", "broken"]\ntrials = 4\ntrain_images = 128\nval_fraction = 0.02\n'
            f"{'workers = 2' if engine == 'ray' else ''}\n"
            f'export = "none"\nfinalists = "none"\nnoise_seeds = 1\nengine = "{engine}"\nsampler = "tpe"\n'
            f'[training]\nepochs = 1\nbatch_size = 64\ntrial_timeout = "{LIMIT_S}s"\nregime = "scratch"\n'
            'precision = "float32"\n[latency]\npasses = 30\nwarmup = 1\nattempts = 1\n'
        )
        code, text = _search(folder, kind)
        for _ in range(_MOST_DEATHS if engine == "local" else 0):
            if code != -signal.SIGSEGV:
                break
            code, text = _search(folder, kind)
        rows = _rows(folder / "run" / "study.db")
    own = [row for row in rows if "broken" in row[0]]
    right = (
        code == 0
        and "Traceback" not in text
        and any(failure == KINDS[kind].failure for _, _, failure in own)
        and all(state == "failed" for _, state, _ in own)
        and all(state == "complete" for choices, state, _ in rows if "broken" not in choices)
        and len(rows) == 4
    )
    told = [(state, failure) for _, state, failure in own]
    lines = text.strip().splitlines()
    found.add(right, f"{kind}, {engine}: exit code {code}, {told}, {lines[-1][:200] if lines else ''}")
    return found


def _search(folder: Path, kind: str) -> tuple[int | str, str]:
    environment = {**os.environ, "FUSION_NAS_BROKEN": kind, "OMP_NUM_THREADS": "1", "FUSION_NAS_LOCKS": str(folder)}
    command: list[str | Path] = [
        sys.executable, "-m", "nas", "search", folder / "search.toml", "--space", f"{folder}/net.py:SPACE",
        "--out", folder / "run",
    ]  # fmt: skip
    with tempfile.TemporaryFile("w+") as printed:
        program = subprocess.Popen(command, env=environment, stdout=printed, stderr=printed, start_new_session=True)
        deadline = time.monotonic() + HUNG_S
        while program.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        code: int | str = "none, it hung" if program.poll() is None else program.returncode
        for process in (*_stopped(program.pid), program.pid):
            if isinstance(code, str):
                os.kill(process, signal.SIGKILL)
        program.wait(60)
        printed.seek(0)
        return code, printed.read()


def _stopped(driver: int) -> list[int]:
    """The stopped processes that a driver has started, or these: they would stay for ever."""
    there: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
        except OSError:
            continue
        if fields:
            there[int(entry.name)] = int(fields[1]), fields[0]

    def descends(process: int) -> bool:
        while process in there and process != driver:
            process = there[process][0]
        return process == driver

    return [process for process, (_, state) in there.items() if state == "T" and descends(process)]


def _rows(path: Path) -> list[tuple[str, str, str | None]]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as record:
        joined = "SELECT t.choices, t.state, r.failure FROM trials t LEFT JOIN trainings r ON t.training = r.id"
        return record.execute(joined).fetchall()
