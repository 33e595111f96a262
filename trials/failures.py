"""Why a trial ended without a result: which kind of failure an error is, and the time limit that makes one."""

from __future__ import annotations

import errno
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from trials.trial import Failure

#: What torch (CPU and CUDA, its libraries included), the operating system and Ray's memory monitor say.
_OUT_OF_MEMORY = re.compile(
    r"OutOfMemory|out of memory|can't allocate memory|cannot allocate memory|bad_alloc|STATUS_ALLOC_FAILED"
    r"|running low on memory",
    re.IGNORECASE,
)
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
    """Ends what runs in `watching()` when `seconds` of wall time are over (None: never), waiting included.

    `check`, called between batches, raises TrialTimedOut. In a process's main thread a signal (SIGALRM) does so
    too, wherever Python code runs, so that a module that loops for ever or sleeps is ended. Code that does not
    come back to the interpreter is not: only the end of its process helps, see `nas.ray_engine`.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._ends = None if seconds is None else time.monotonic() + seconds

    def check(self) -> None:
        """Raises TrialTimedOut when the time is over."""
        if self._ends is not None and time.monotonic() >= self._ends:
            raise TrialTimedOut(f"over its time limit of {self.seconds:g} s")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Interrupt what runs inside. A timer that was set before goes on afterwards."""
        if self._ends is None or threading.current_thread() is not threading.main_thread():
            yield
            return
        began = time.monotonic()
        handler = signal.signal(signal.SIGALRM, self._raise)
        delay, interval = signal.setitimer(signal.ITIMER_REAL, max(self._ends - began, 1e-3), _AGAIN_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, handler)
            if delay > 0:
                signal.setitimer(signal.ITIMER_REAL, max(delay - (time.monotonic() - began), 1e-3), interval)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self.check()
