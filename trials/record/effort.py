"""What a run has taken so far: time of its sessions and of the devices that they held, killed ones included.

A session that ends records when. One that was killed cannot: while its time is limited it leaves a file beside the
record, once a second, that says until when it was alive and what its running trainings held by then (`Beat`). The next
session takes that over into the record (`take_over`). Without such a file a killed session has ended with the last
training that it recorded.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.errors import UserError
from trials.whole_files import write_whole

if TYPE_CHECKING:
    from trials.record.store import Session, Store

BEAT_NAME = ".beat"
#: Seconds between two signs of life.
_EVERY_S = 1.0


@dataclass(frozen=True)
class Effort:
    """Seconds on the clock of all sessions of a run, and seconds of all devices that its trainings held."""

    seconds: float = 0.0
    device_seconds: float = 0.0

    @classmethod
    def of(cls, path: Path, store: Store) -> Effort:
        """Of the run in the folder `path`, one that is searched now until its last sign of life."""
        sessions = store.sessions()
        if not sessions:
            return cls()
        ends = {number: (at, lost) for number, at, lost in store.get("unended") or ()}
        if (beat := _read(path)) is not None:
            ends[beat[0]] = beat[1:]
        occupied = store.occupied()
        parent = store.get("parent") or {}
        seconds, held = 0.0, float(parent.get("seconds") or 0.0) * _devices(sessions[0])
        for place, session in enumerate(sessions):
            following = sessions[place + 1].started_at if place + 1 < len(sessions) else float("inf")
            mine = [(at, s) for at, s in occupied if session.started_at <= at < following]
            alive, lost = ends.get(session.id, (None, 0.0))
            if session.ended_at is not None:
                end = session.ended_at
            elif alive is not None:  # what was recorded later is of a study: no session of the search
                end = max([alive, *(at for at, _ in mine if at <= alive + 2 * _EVERY_S)])
            else:
                end = max([session.started_at, *(at for at, _ in mine)])
            inside = [s for at, s in mine if at <= end]
            # A clock that was put back takes nothing from what was taken before.
            seconds += max(0.0, end - session.started_at) + float(session.details.get("prepared_s") or 0.0)
            held += _devices(session) * sum(inside) + lost
        return cls(seconds, held)


def take_over(path: Path, store: Store) -> None:
    """Record when the last session ended that was killed, and what was lost with it."""
    beat = _read(path)
    if beat is not None:
        before = [one for one in store.get("unended") or () if one[0] != beat[0]]
        store.put({"unended": [*before, list(beat)]})
    (path / BEAT_NAME).unlink(missing_ok=True)


class Beat:
    """Leaves a session's signs of life while it is used as a context manager. `held` says how many device seconds the
    trainings that run have held by now; they are lost where the session does not end in peace. `check_held` raises
    where another process writes to the record now, see `Store`: no sign is left then."""

    def __init__(self, path: Path, session: int, held: Callable[[], float], check_held: Callable[[], None]) -> None:
        self._file = path / BEAT_NAME
        self._session, self._held, self._check_held = session, held, check_held
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)

    def __enter__(self) -> Beat:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *of: object) -> None:
        """What is there is the session's end: what still ran then is lost."""
        self._over.set()
        self._thread.join()
        with suppress(OSError, UserError):
            self._write()

    def _run(self) -> None:
        while not self._over.wait(_EVERY_S):
            with suppress(OSError, UserError):  # a disk that is full is told by whoever must write
                self._write()

    def _write(self) -> None:
        self._check_held()
        write_whole(self._file, json.dumps([self._session, time.time(), self._held()]))


def _devices(session: Session) -> float:
    details: Mapping[str, Any] = session.details or {}
    return float(details.get("devices") or 1.0)


def _read(path: Path) -> tuple[int, float, float] | None:
    try:
        found: Sequence[Any] = json.loads((path / BEAT_NAME).read_text())
        return int(found[0]), float(found[1]), float(found[2])
    except (OSError, ValueError, IndexError, TypeError):
        return None
