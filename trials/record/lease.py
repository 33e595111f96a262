"""Who writes to a record, in the record itself: for file systems whose locks hold on one machine only, or not at all.

The one writer leaves who it is (machine, process) in the table `meta` and renews that every few seconds. Whoever else
wants to write waits, on its own monotonic clock, until that has not changed for so long that the holder must be gone,
and then takes it over: no two clocks are compared. On the holder's own machine a look at the process says it at once.
Every write first looks, in its own transaction, whether the lease is still held: a writer that was paused or cut off
for so long that another took over writes nothing any more.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from trials.errors import LeaseLost, RunInUse, StoreError

KEY = "lease"
#: Seconds between two signs of a writer, and of how many that are missed it has gone.
HEARTBEAT_S = 5.0
MISSED = 6
_READ = f"SELECT value FROM meta WHERE key = '{KEY}'"
_WRITE = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"

#: Gives a connection in a transaction, which ends with it.
Connecting = Callable[[], AbstractContextManager[sqlite3.Connection]]


def expires_s() -> float:
    """Seconds without a sign of life after which a lease may be taken over."""
    return HEARTBEAT_S * MISSED


@dataclass(frozen=True)
class Lease:
    """A writer: `boot` and `names` (of processes) say on which machine its `pid` means what, `started` which process
    of that number it is, `token` is of this opening alone. `beat` counts its signs of life; `at`, by its clock, is
    for people."""

    host: str
    boot: str
    names: str
    pid: int
    started: str
    token: str
    beat: int
    at: float

    @classmethod
    def mine(cls) -> Lease:
        """A new one of this process."""
        pid = os.getpid()
        return cls(os.uname().nodename, *_machine(), pid, _started(pid) or "", uuid.uuid4().hex, 0, time.time())

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> Lease | None:
        """That in a record; None where nobody holds it. Raises sqlite3.Error."""
        row = connection.execute(_READ).fetchone()
        return cls.of(None if row is None else row[0])

    @classmethod
    def of(cls, text: Any) -> Lease | None:
        """That which a record holds as `text`; None where it holds none."""
        try:
            found: Any = None if text is None else json.loads(text)
            return None if found is None else cls(**found)
        except (TypeError, ValueError):  # of a later version, say: who cannot be told cannot be seen either
            return cls("another machine", "", "", 0, "", str(text), 0, 0.0)

    def write(self, connection: sqlite3.Connection) -> None:
        """Raises sqlite3.Error."""
        connection.execute(_WRITE, (KEY, json.dumps(asdict(self))))

    @property
    def holder(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def alive(self) -> bool | None:
        """Whether its process lives; None where that cannot be seen from here."""
        if not self.boot or (self.boot, self.names) != _machine():
            return None
        return _started(self.pid) == self.started

    @property
    def active(self) -> bool:
        """Whether its holder seems to write now; that of another machine by its clock, so for people only."""
        alive = self.alive
        return abs(time.time() - self.at) < expires_s() if alive is None else alive

    def gone(self, locked: bool) -> bool:
        """Whether its holder is seen from here to be gone. `locked`: this process holds the lock of the folder, which
        holds on its machine."""
        return (locked and bool(self.boot) and self.boot == _machine()[0]) or self.alive is False


class Held:
    """A lease that this process holds and renews, in a thread, until it is let go of or lost."""

    def __init__(self, path: Path, lease: Lease, connecting: Connecting) -> None:
        self._path, self._lease, self._connecting = path, lease, connecting
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def check(self, connection: sqlite3.Connection) -> None:
        """Raises LeaseLost where another process has taken over."""
        found = Lease.read(connection)
        if found is None or found.token != self._lease.token:
            raise LeaseLost(
                f"{self._path.parent} is being searched by {'nobody' if found is None else found.holder} now, since "
                f"this process was paused or cut off for over {expires_s():.0f} s: it writes nothing more; what it "
                "recorded before is kept"
            )

    def release(self) -> None:
        """Let go of it, so that nobody has to wait; a disk that is full or gone does not let it be said."""
        self._over.set()
        self._thread.join()
        with suppress(StoreError, OSError, sqlite3.Error), self._connecting() as connection:
            self.check(connection)
            connection.execute(f"DELETE FROM meta WHERE key = '{KEY}'")

    def _run(self) -> None:
        while not self._over.wait(HEARTBEAT_S):
            try:
                with self._connecting() as connection:
                    self.check(connection)
                    self._lease = replace(self._lease, beat=self._lease.beat + 1, at=time.time())
                    self._lease.write(connection)
            except LeaseLost:
                return  # the next write says it
            except (StoreError, OSError, sqlite3.Error):
                continue  # a beat that is missed


def take(path: Path, connecting: Connecting, locked: bool, say: Callable[[str], None]) -> Lease:
    """The lease of a record, once nobody else holds it; says what it waits for.

    Raises RunInUse where the other holder is alive.
    """
    seen, since = None, time.monotonic()
    while True:
        with connecting() as connection:
            found = Lease.read(connection)
            expired = found == seen and time.monotonic() - since >= expires_s()
            if found is None or found.gone(locked) or expired:
                mine = Lease.mine()
                mine.write(connection)
                return mine
        if found.alive or seen not in (None, found):
            raise in_use(path.parent, found.holder)
        if seen is None:
            seen, since = found, time.monotonic()
            say(f"{path.parent} was last searched by {found.holder}: waiting {expires_s():.0f} s for a sign of it")
        time.sleep(expires_s() / 40)


def in_use(folder: Path, holder: str) -> RunInUse:
    return RunInUse(f"{folder} is being searched by {holder}: wait for it, or choose another --out")


@cache
def _machine() -> tuple[str, str]:
    """What is no other machine's, and no earlier start's of it; and which processes' numbers are meant."""
    try:
        names = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # no path: a name and a number
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip(), names
    except OSError:
        return f"{os.uname().nodename} {uuid.getnode():x}", ""


def _started(pid: int) -> str | None:
    """When the process began, by its machine; None where there is none (any more)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        try:  # no /proc here: whether there is such a process is all that can be seen
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except OSError:
            pass
        return ""
    after = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if after[0] in ("Z", "X") else after[19]
