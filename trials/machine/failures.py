"""Why a trial ended without a result: which kind of failure an error is, and the time limit that makes one."""

from __future__ import annotations

import errno
import faulthandler
import math
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from trials.machine.quiet import waited_seconds
from trials.trial import Failure

#: What torch (CPU and CUDA, its libraries included), the operating system and Ray's memory monitor say.
_OUT_OF_MEMORY = re.compile(
    r"OutOfMemory|out of memory|can't allocate memory|cannot allocate memory|bad_alloc|STATUS_ALLOC_FAILED"
    r"|running low on memory",
    re.IGNORECASE,
)
#: What a trial may take beyond its time limit until its process is ended; longer than the signal takes to come again.
GRACE_SECONDS = 10.0
#: A signal's exception can be swallowed (in a destructor, by a bare `except`): it is raised again so often.
_AGAIN_SECONDS = 2.0


class TrialTimedOut(TimeoutError):
    """A trial took longer than its time limit."""

    failure = Failure.TIMED_OUT


def failure_of(error: BaseException) -> Failure:
    """The kind of failure that an exception is: what it says itself (`failure`), memory, or the candidate's own."""
    said = getattr(error, "failure", None)
    if isinstance(said, Failure):
        return said
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return Failure.OUT_OF_MEMORY
    if isinstance(error, RuntimeError) and says_out_of_memory(f"{type(error).__name__}: {error}"):
        return Failure.OUT_OF_MEMORY
    return Failure.ERROR


def says_out_of_memory(text: str) -> bool:
    """Whether the words of an error are those of a lack of memory."""
    return _OUT_OF_MEMORY.search(text) is not None


class TimeLimit:
    """Ends a trial when it has taken `seconds` (None: never), not counting what it waited for others on the machine.

    `check`, called between batches, raises TrialTimedOut. In a process's main thread a signal (SIGALRM) does so
    too, wherever Python code runs in `watching()`, so that a module that loops for ever or sleeps is ended. Code
    that does not come back to the interpreter is ended in an `expendable` process only, by ending the process,
    `GRACE_SECONDS` later: by a thread of faulthandler's, which does not need the interpreter.
    """

    def __init__(self, seconds: float | None, expendable: bool = False) -> None:
        self.seconds = seconds
        self._expendable = expendable
        self._began = time.monotonic() - waited_seconds()

    @property
    def left(self) -> float:
        """Seconds that are left; below 0 when it is over."""
        if self.seconds is None:
            return math.inf
        return self.seconds - (time.monotonic() - waited_seconds() - self._began)

    def check(self) -> None:
        """Raises TrialTimedOut when the time is over."""
        if self.left <= 0:
            raise TrialTimedOut(f"over its time limit of {self.seconds:g} s")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Interrupt what runs inside. A timer that was set before goes on afterwards."""
        if self.seconds is None or threading.current_thread() is not threading.main_thread():
            yield
            return
        began = time.monotonic()
        handler = signal.signal(signal.SIGALRM, self._ring)
        delay, interval = signal.setitimer(signal.ITIMER_REAL, max(self.left, 1e-3), _AGAIN_SECONDS)
        self._put_off()
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, handler)
            if self._expendable:
                faulthandler.cancel_dump_traceback_later()
            if delay > 0:
                signal.setitimer(signal.ITIMER_REAL, max(delay - (time.monotonic() - began), 1e-3), interval)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        self.check()
        self._put_off()  # it has waited, and there is time left: whoever hears this does not hang

    def _put_off(self) -> None:
        if self._expendable:
            faulthandler.dump_traceback_later(max(self.left, 0.0) + GRACE_SECONDS, exit=True)
