"""Keeps the estimates of a search as it grows, so that a look at how far it is fits no model: see `reports.keeping`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from reports.keeping import failed_sentence, to_keep
from reports.model import FAILED, KEY, MANY
from reports.view import RunView
from trials.record.store import Store

#: Estimates are made anew when there are so many times the trainings that they were of.
GROWTH = 1.25


class Keeping:
    """Of one search under way, whose record's writer this is.

    They are made beside the trainings, by a process that reads the record (`nas.session.estimating`): of many it takes
    seconds, in which nothing would be handed out, and more memory than all else. They are recorded with the next event
    after that. What a search proposes does not ask for them, so that when they come decides nothing; where they cannot
    be made now, for want of memory say, a look makes its own until they are tried again. Why is said once, and recorded
    for `nas status`.
    """

    def __init__(self, store: Store, say: Callable[[str], None]) -> None:
        self._store, self._say, self._failed = store, say, store.get(FAILED) is not None
        self._last = int((store.get(KEY) or {}).get("trainings", 0))
        self._making: _Making | None = None

    def grown(self, view: RunView) -> None:
        """Something was trained: of that now and then."""
        if self._making is not None and not self._taken(self._making):
            return
        there = len(view.order)
        if there >= MANY and there >= GROWTH * self._last:
            self._last = there
            try:
                self._making = _begun(view.path)
            except OSError as error:
                self._tell(error.strerror or str(error))

    def _taken(self, making: _Making) -> bool:
        """Whether it has ended; what it has made is recorded."""
        if making.maker.poll() is None:
            return False
        self._making = None
        with making.maker, making.printed, making.said:
            for file in (making.printed, making.said):
                file.seek(0)
            if making.maker.returncode:
                self._tell(_why(making.maker.returncode, making.said.read().decode(errors="replace")))
            elif text := making.printed.read():
                self._store.put({KEY: json.loads(text), FAILED: None})
        return True

    def _tell(self, why: str) -> None:
        self._store.put({FAILED: why})
        if not self._failed:
            self._say(failed_sentence(why))
        self._failed = True

    def close(self) -> None:
        """What is still being made is not waited for."""
        if self._making is not None:
            making, self._making = self._making, None
            with making.maker, making.printed, making.said:
                making.maker.kill()


@dataclass(frozen=True)
class _Making:
    """A process, and the files of what it prints and what it says of it."""

    maker: subprocess.Popen[bytes]
    printed: IO[bytes]
    said: IO[bytes]


def _why(code: int, said: str) -> str:
    """In a few words, why a process ended with this code that has said this."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}" + (", as for want of memory" if code == -signal.SIGKILL else "")
    lines = said.strip().splitlines()
    return " ".join(lines[-1].split())[:200] if lines else f"exit code {code}"


def _begun(run: Path) -> _Making:
    """Raises OSError where there is no room for one now."""
    # -P: files that lie in the folder one stands in may be called as modules are.
    command = [sys.executable, "-P", "-m", "nas.session.estimating", str(run.resolve())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with ExitStack() as files:
        printed, said = (files.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        maker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=printed, stderr=said, env=environment)
        files.pop_all()  # until it has ended
        return _Making(maker, printed, said)


def keep(store: Store, view: RunView) -> None:
    """What is to be kept of the run as it is recorded now, unless that is there."""
    kept = to_keep(view)
    if kept is not None:
        store.put({KEY: kept.to_json()})
