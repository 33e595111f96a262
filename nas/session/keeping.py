"""Keeps the estimates of a search as it grows, so that a look at how far it is fits no model: see `reports.keeping`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from reports.keeping import to_keep
from reports.model import KEY, MANY
from reports.view import RunView
from trials.record.store import Store

#: Estimates are made anew when there are so many times the trainings that they were of.
GROWTH = 1.25


class Keeping:
    """Of one search under way, whose record's writer this is.

    They are made beside the trainings, by a process that reads the record (`nas.session.estimating`): of many it takes
    seconds, in which nothing would be handed out, and more memory than all else. They are recorded with the next event
    after that. What a search proposes does not ask for them, so that when they come decides nothing; where they cannot
    be made now, for want of memory say, a look makes its own until they are tried again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last = int((store.get(KEY) or {}).get("trainings", 0))
        self._making: tuple[subprocess.Popen[bytes], IO[bytes]] | None = None

    def grown(self, view: RunView) -> None:
        """Something was trained: of that now and then."""
        if self._making is not None and not self._taken(*self._making):
            return
        there = len(view.order)
        if there >= MANY and there >= GROWTH * self._last:
            self._last = there
            self._making = _begun(view.path)

    def _taken(self, maker: subprocess.Popen[bytes], printed: IO[bytes]) -> bool:
        """Whether it has ended; what it has made is recorded."""
        if maker.poll() is None:
            return False
        self._making = None
        with maker, printed:
            printed.seek(0)
            if maker.returncode == 0 and (text := printed.read()):
                self._store.put({KEY: json.loads(text)})
        return True

    def close(self) -> None:
        """What is still being made is not waited for."""
        if self._making is not None:
            maker, printed = self._making
            self._making = None
            with maker, printed:
                maker.kill()


def _begun(run: Path) -> tuple[subprocess.Popen[bytes], IO[bytes]] | None:
    """A process and what it prints; None where there is no room for one now."""
    # -P: files that lie in the folder one stands in may be called as modules are.
    command = [sys.executable, "-P", "-m", "nas.session.estimating", str(run.resolve())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with suppress(OSError):
        printed = tempfile.TemporaryFile()  # noqa: SIM115  # until it has ended
        try:
            maker = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=printed, stderr=subprocess.DEVNULL, env=environment
            )
        except OSError:
            printed.close()
            raise
        return maker, printed
    return None


def keep(store: Store, view: RunView) -> None:
    """What is to be kept of the run as it is recorded now, unless that is there."""
    kept = to_keep(view)
    if kept is not None:
        store.put({KEY: kept.to_json()})
