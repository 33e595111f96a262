"""Faults of what a run lies on, each with the answer that is expected: the disk, the file, the clock."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.chaos.deaths import Events
from benchmarks.chaos.judging import Recorded, judged
from benchmarks.chaos.kills import Reference, memory
from benchmarks.chaos.searches import SEARCHES, Ended, run, search
from nas.cli.main import main as command_line

NAME = "rungs and finalists"
#: Damages of a file at the least: they take next to no time.
DAMAGES = 12
#: Holds a database, from when it says so on.
_HOLD = """
import sqlite3, sys, time
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("PRAGMA locking_mode=EXCLUSIVE")
held.execute("BEGIN EXCLUSIVE")
held.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('other', 'null')")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""
SETTINGS: Mapping[str, Any] = SEARCHES[NAME]
FULL = "no room left on the disk"
#: Sizes of a disk that is too small, in KiB, and of one that is not.
SMALL_KIB, ENOUGH_KIB = (64, 128, 192, 256, 320, 448, 640, 1024, 2048), 64 * 1024
#: Steps of a clock in mid-run, in seconds.
STEPS_S = (-10 * 365 * 86400.0, -86400.0, -3600.0, -2.0, 2.0, 3600.0, 86400.0, 10 * 365 * 86400.0)
Number = TypeVar("Number", int, float)


@dataclass
class Answers:
    """How often a fault was tried, how often it was answered as expected, and what was said otherwise."""

    expected: str
    tried: int = 0
    right: int = 0
    notes: list[str] = field(default_factory=list)
    skipped: str | None = None

    def add(self, right: bool, note: str) -> None:
        self.tried += 1
        self.right += right
        if not right:
            self.notes.append(note)


def faults(samples: int, seed: int) -> dict[str, Callable[[], Answers]]:
    """How each kind of fault is tried, at most `samples` times."""
    return {
        "disk full, at each write": lambda: full_at_each_write(_reference(), samples),
        "disk full, a small one": lambda: small_disk(_reference(), samples),
        "read-only folder": lambda: read_only(_reference()),
        "database locked": lambda: locked(samples),
        "file truncated": lambda: damaged(max(samples, DAMAGES), seed, truncated),
        "file with a bit flipped": lambda: damaged(max(samples, DAMAGES), seed, flipped),
        "newer schema": newer_schema,
        "clock steps": lambda: clock_steps(_reference(), samples),
        "clock steps, time limited": lambda: clock_steps(None, samples, "--max-hours", "1"),
    }


@cache
def _reference() -> Reference:
    return Reference.of(SETTINGS)


def full_at_each_write(reference: Reference, samples: int) -> Answers:
    """Each write of a run in turn finds no room, and all later ones."""
    found = Answers("exit code 1 in one line; what was recorded is kept; with room it goes on to the same end")
    count = len(reference.events)
    for at in _spread(range(count), samples):
        with tempfile.TemporaryDirectory(dir=memory()) as place:
            out = Path(place) / "run"
            first = run(partial(search, out, SETTINGS), Events(out, at, "full"))
            kind = f"write {at} of {count} ({reference.events[at]})"
            _then_goes_on(found, out, first, reference, kind)
    return found


def small_disk(reference: Reference, samples: int) -> Answers:
    """A real one: a file system in memory of a few KiB, made larger afterwards."""
    found = Answers("exit code 1 in one line, or complete; with room it goes on to the same end")
    for kib in _spread(SMALL_KIB, samples):
        with mounted(kib) as place:
            if place is None:
                found.skipped = "no file system can be mounted here"
                return found
            out = place / "run"
            first = run(partial(search, out, SETTINGS))
            _remount(place, f"size={ENOUGH_KIB}k")
            _then_goes_on(found, out, first, reference, f"a disk of {kib} KiB")
    return found


def _then_goes_on(found: Answers, out: Path, first: Ended, reference: Reference, what: str) -> None:
    if first.code and not first.refused(1, FULL):
        found.add(False, f"{what}: {said(first)}")
        return
    there = Recorded.of(out) if first.code else None
    last = run(partial(search, out, SETTINGS)) if first.code else first
    findings = judged(out, [first] if first.code else [], [there] if first.code else [], last, reference.recorded)
    found.add(findings.clean, f"{what}: then {'; '.join(findings.notes) or findings}")


def read_only(reference: Reference) -> Answers:
    """From the beginning, and of a run that was killed: a disk that was mounted so, since root may write anywhere."""
    found = Answers("exit code 2 in one line that says what cannot be written; nothing is changed")
    for at in (0, len(reference.events) // 2):
        with mounted(ENOUGH_KIB) as place:
            if place is None:
                found.skipped = "no file system can be mounted here"
                return found
            out = place / "run"
            killed = run(partial(search, out, SETTINGS), Events(out, at))
            before = Recorded.of(out)
            _remount(place, "ro")
            refused = run(partial(search, out, SETTINGS))
            readable = before is None or run(partial(_nas, "status", str(out), "--json")).code == 0
            _remount(place, "rw")
            last = run(partial(search, out, SETTINGS))
            findings = judged(out, [killed], [before], last, reference.recorded)
            right = refused.code == 2 and refused.refused(2, "") and readable and findings.clean
            found.add(right, f"after event {at}: {said(refused)}; readable {readable}; {findings.notes}")
    return found


def locked(samples: int) -> Answers:
    """Another process holds the database: for a moment, for longer than a patient reader waits, and for ever."""
    found = Answers("waited for, or one line that says that it is locked; never called damaged")
    for seconds, waits in ((1.0, True), (7.0, True), (60.0, False))[:samples]:
        with tempfile.TemporaryDirectory(dir=memory()) as place:
            out = Path(place) / "run"
            run(partial(search, out, SETTINGS), Events(out, 250))
            with _holding(out / "study.db", seconds):
                ended = run(partial(search, out, SETTINGS))
            right = ended.code == 0 if waits else ended.code in (1, 2) and "locked" in ended.printed.splitlines()[-1]
            found.add(right, f"locked for {seconds:g} s: {said(ended)}")
    return found


@contextmanager
def _holding(database: Path, seconds: float) -> Iterator[None]:
    """Locked by a process of its own: a fork of this one would believe that it held the lock itself."""
    command = [sys.executable, "-S", "-c", _HOLD, str(database), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline()
        try:
            yield
        finally:
            holder.kill()


def truncated(content: bytearray, rng: random.Random) -> str:
    length = rng.randrange(len(content))
    del content[length:]
    return f"truncated to {length}"


def flipped(content: bytearray, rng: random.Random) -> str:
    at, bit = rng.randrange(len(content)), rng.randrange(8)
    content[at] ^= 1 << bit
    return f"bit {bit} of byte {at}"


def damaged(samples: int, seed: int, damage: Callable[[bytearray, random.Random], str]) -> Answers:
    """A finished run's file is damaged anywhere: every sixteenth of it is met equally often."""
    found = Answers("refused with exit code 5 in one line, or every figure as it was")
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=memory()) as place:
        whole, out = Path(place) / "whole", Path(place) / "run"
        assert run(lambda: search(whole, SETTINGS)).code == 0
        content = (whole / "study.db").read_bytes()
        out.mkdir()
        (out / "study.db").write_bytes(content)
        intact = run(partial(_nas, "show", str(out), "--json"))
        for _ in range(samples):
            changed = bytearray(content)
            what = damage(changed, rng)
            shutil.rmtree(out)
            out.mkdir()
            (out / "study.db").write_bytes(changed)
            read = run(partial(_nas, "show", str(out), "--json"))
            if read.code == 0:
                found.add(read.printed == intact.printed, f"{what}: {_first_other(read.printed, intact.printed)}")
            else:
                found.add(read.refused(5, "is damaged"), f"{what}: {said(read)}")
    return found


def newer_schema() -> Answers:
    """A record of a later version, with a table that this one does not know, and without one that it does."""
    found = Answers("exit code 2 in one line that says to update; nothing is changed")
    for change in ("CREATE TABLE of_tomorrow (x)", "ALTER TABLE trainings RENAME TO of_tomorrow"):
        for command in ("status", "search"):
            with tempfile.TemporaryDirectory(dir=memory()) as place:
                out = Path(place) / "run"
                run(partial(search, out, SETTINGS))
                with closing(sqlite3.connect(out / "study.db")) as record, record:
                    record.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
                    record.execute(change)
                before = (out / "study.db").read_bytes()
                work = (partial(search, out, SETTINGS)) if command == "search" else (partial(_nas, "status", str(out)))
                ended = run(work)
                right = ended.refused(2, "newer fusion-nas") and (out / "study.db").read_bytes() == before
                found.add(right, f"nas {command}, {change}: {said(ended)}")
    return found


def clock_steps(reference: Reference | None, samples: int, *more: str) -> Answers:
    """The wall clock is put forward or back in mid-run."""
    found = Answers("no difference, and no time below zero")
    for step_s in _spread(STEPS_S, samples):
        with tempfile.TemporaryDirectory(dir=memory()) as place:
            out = Path(place) / "run"
            ended = run(partial(search, out, SETTINGS, *more), before=partial(_step, 0.25, step_s))
            findings = judged(out, [], [], ended, reference.recorded if reference else None)
            shown = run(partial(_nas, "status", str(out), "--json"))
            right = findings.clean and shown.code == 0
            if right:
                told = json.loads(shown.printed)
                taken = told["session_seconds"], told["budget"]["seconds"]
                right = min(taken) >= 0
            note = f"sessions of {taken} s" if findings.clean and shown.code == 0 else f"{findings.notes}"
            found.add(right, f"{step_s:+g} s: {said(ended) if ended.code else note}")
    return found


def _spread(values: Sequence[Number], samples: int) -> Sequence[Number]:
    """At most so many of them, from the first to the last."""
    apart = (len(values) - 1) / max(1, samples - 1)
    return values if len(values) <= samples else [values[round(k * apart)] for k in range(samples)]


def _step(after_s: float, step_s: float) -> None:
    plain, at = time.time, time.monotonic() + after_s
    time.time = lambda: plain() + (step_s if time.monotonic() >= at else 0.0)


def _nas(*arguments: str) -> None:
    sys.argv = ["nas", *arguments]
    command_line()


def said(ended: Ended) -> str:
    lines = ended.printed.strip().splitlines()
    return f"exit code {ended.code}{', hung' if ended.hung else ''}: {lines[-1][:300] if lines else ''}"


def _first_other(own: str, theirs: str) -> str:
    pairs = zip(own.splitlines(), theirs.splitlines(), strict=False)
    return next((f"{a.strip()[:80]!r} instead of {b.strip()[:80]!r}" for a, b in pairs if a != b), "other lines")


@contextmanager
def mounted(kib: int) -> Iterator[Path | None]:
    """A file system in memory of so many KiB; None where none may be mounted."""
    with tempfile.TemporaryDirectory() as place:
        command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", place]
        if (
            os.geteuid() != 0
            or shutil.which("mount") is None
            or subprocess.run(command, capture_output=True).returncode
        ):
            yield None
            return
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", "--lazy", place], check=True, capture_output=True)


def _remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True, capture_output=True)
