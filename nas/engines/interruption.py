"""Ctrl-C and SIGTERM: one exception, raised at once, but never in the middle of a record. A second one ends the process
where it stands: what was recorded is whole, for each event is a transaction, and workers end with their driver."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: A second signal within so many seconds of the first is the same wish.
AGAIN_SECONDS = 0.5


class Interrupted(BaseException):
    """The user or the system asked the search to stop; `signal_number` says how (2 or 15)."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.signal_number


class Interruption:
    """Turns SIGINT and SIGTERM into `Interrupted` while listening; `shielded()` defers it. With `last_words` a second
    one ends the process, which says them; without, as in a notebook, it is raised again."""

    def __init__(self, last_words: str = "") -> None:
        self._shields = 0
        self._pending: int | None = None
        self._pending_since = 0.0
        self._last_words = last_words

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._pending is not None and self._last_words:
            # A terminal or a batch system may send both of one wish, or one of them twice.
            if time.monotonic() - self._pending_since >= AGAIN_SECONDS:
                with suppress(OSError):
                    os.write(2, self._last_words.encode())
                os._exit(Interrupted(number).exit_code)
            return
        self._pending, self._pending_since = number, time.monotonic()
        if not self._shields:
            raise Interrupted(number)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle both signals inside and put back what they meant before; in a thread, do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        self.listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def listen(self) -> None:
        """Take the signals back from a library that took them (ray's start does), in the main thread only."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._handle)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """A signal that comes inside is raised when the block has ended.

        Around a record, and around code that does not bear an exception from a signal handler (ray's core
        turns it into a SystemError).
        """
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        if not self._shields:
            self.check()

    def check(self) -> None:
        """Raise what came in meanwhile: for loops that poll inside a shield."""
        if self._pending is not None:
            raise Interrupted(self._pending)
