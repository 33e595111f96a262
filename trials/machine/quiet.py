"""A quiet device for latency: while one process measures, every other trial on that device stands still.

A readers-writer lock of two files for each device, across processes: training holds the room shared, a measurement
holds it alone. A writer first takes the turnstile, which readers pass on their way in, so that it
cannot be starved by trials that overlap for ever. The kernel lets go of both when a process dies.

Devices are told apart by what `trials.machine.device.lock_name` calls them. Not covered: trials on one GPU disturb a
measurement on another by what they do on the CPU; the reference network measured beside it feels the same.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

#: After so long a wait, the user is told whom a measurement or a trial waits for.
NOTICE_SECONDS = 10.0


def _open(device: str, name: str) -> IO[bytes]:
    folder = Path(os.environ.get("FUSION_NAS_LOCKS", tempfile.gettempdir()))
    return (folder / f"fusion-nas-{os.getuid()}-{device}-{name}.lock").open("ab")


class _Waiting(threading.local):
    """How long this thread has waited for others: in waits that are over, and since when in one that is not."""

    seconds = 0.0
    since: float | None = None


_waiting = _Waiting()


def waited_seconds() -> float:
    """How long this thread has waited for the machine so far: no time of its own."""
    now = 0.0 if _waiting.since is None else time.monotonic() - _waiting.since
    return _waiting.seconds + now


def _wait(lock: IO[bytes], kind: int) -> None:
    """Take a lock; say so when another process (a suspended one, say) keeps it for long."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        line = f"waiting for another fusion-nas process on this machine, which holds {lock.name}\n"
        notice = threading.Timer(NOTICE_SECONDS, sys.stderr.write, [line])
        notice.start()
        _waiting.since = time.monotonic()
        try:
            fcntl.flock(lock, kind)
        finally:
            _waiting.seconds, _waiting.since = waited_seconds(), None
            notice.cancel()


class Occupancy:
    """One trial's shared hold on a device; `give_way()` between batches lets a measurement in."""

    def __init__(self, synchronise: Callable[[], None], check: Callable[[], None], device: str) -> None:
        """`synchronise` ends work under way on the device (a CUDA synchronisation) before the hold is let go.

        `check` is called between batches; what it raises ends the trial.
        """
        self._turnstile = _open(device, "turnstile")
        self._room = _open(device, "room")
        self._synchronise = synchronise
        self._check = check

    def enter(self) -> None:
        _wait(self._turnstile, fcntl.LOCK_SH)
        _wait(self._room, fcntl.LOCK_SH)
        fcntl.flock(self._turnstile, fcntl.LOCK_UN)

    def give_way(self) -> None:
        """Step aside while a measurement waits or runs; costs microseconds when none does. Raises what `check` does."""
        self._check()
        try:
            fcntl.flock(self._turnstile, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            self._synchronise()
            fcntl.flock(self._room, fcntl.LOCK_UN)
            self.enter()
        else:
            fcntl.flock(self._turnstile, fcntl.LOCK_UN)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Let go while this trial waits for somebody else (the engine, between epochs)."""
        self._synchronise()
        fcntl.flock(self._room, fcntl.LOCK_UN)
        yield
        self.enter()

    def leave(self) -> None:
        try:
            self._synchronise()
        finally:
            self._turnstile.close()
            self._room.close()


@contextmanager
def occupied(
    synchronise: Callable[[], None] = lambda: None, check: Callable[[], None] = lambda: None, device: str = "cpu"
) -> Iterator[Occupancy]:
    """Train inside, on that device: `with occupied() as machine: … machine.give_way()`."""
    hold = Occupancy(synchronise, check, device)
    hold.enter()
    try:
        yield hold
    finally:
        hold.leave()


@contextmanager
def quiet(device: str = "cpu") -> Iterator[None]:
    """Measure inside: no other trial of this user on that device of this machine computes meanwhile."""
    with _open(device, "turnstile") as turnstile, _open(device, "room") as room:
        _wait(turnstile, fcntl.LOCK_EX)
        _wait(room, fcntl.LOCK_EX)
        yield
