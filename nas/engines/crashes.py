"""Which workers died of what they trained: known beyond the death of the driver that saw it, or that was the worker.

Where trainings run in the driver's own process, what ends them ends it. A file in the run's folder says meanwhile what
is being trained, and Python's fault handler adds to it what ended the process: a segmentation fault and its like, but
not a kill from outside, which leaves nothing. The next session reads it.
"""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from trials.trial import TrialJob

#: By training, what was said of each worker that died of it.
Texts = Mapping[str, Sequence[str]]
#: How many of its workers an architecture may end.
MOST_CRASHES = 2
#: In a run's folder, while something is trained in the driver's own process.
TRACE_NAME = ".training"
_FATAL = "Fatal Python error: "


def _unkept(texts: Texts) -> None:
    """Where nothing outlives the engine."""


class Crashes:
    """Of the trainings that have not ended, the workers that may have died of each."""

    def __init__(
        self, known: Texts | None = None, keep: Callable[[Texts], None] = _unkept, folder: Path | None = None
    ) -> None:
        """`known` of earlier sessions; `keep` makes what is told durable; `folder` is the run's, where the death of
        this process is to be known by the next one."""
        self._texts = {name: tuple(texts) for name, texts in (known or {}).items()}
        self._keep = keep
        self._trace = None if folder is None else folder / TRACE_NAME

    def of(self, job: TrialJob) -> tuple[str, ...]:
        return self._texts.get(_name(job), ())

    def put(self, job: TrialJob, texts: Sequence[str]) -> None:
        """These are all that are known of, none where it has ended."""
        if tuple(texts) != self.of(job):
            self._put(_name(job), texts)

    def _put(self, name: str, texts: Sequence[str]) -> None:
        self._texts[name] = tuple(texts)
        if not texts:
            del self._texts[name]
        self._keep({name: list(texts) for name, texts in self._texts.items()})

    def take_over(self) -> str | None:
        """What ended the process of the session before in the midst of a training; None where nothing did, or a kill
        from outside."""
        if self._trace is None or not self._trace.exists():
            return None
        name, _, said = self._trace.read_text(errors="replace").partition("\n")
        text = None
        if _FATAL in said:
            text = _ended_by(said)
            known = self._texts.get(name, ())
            if text not in known:  # this one was killed here, the last time
                self._put(name, (*known, text))
        self._trace.unlink(missing_ok=True)
        return text

    @contextmanager
    def watching(self, job: TrialJob) -> Iterator[None]:
        """While the job is trained in this process: what ends that is known to the next session."""
        with ExitStack() as after:
            with suppress(OSError):  # a disk that is full is told by whoever must write
                if self._trace is not None:
                    # When: processes of a container have the same number from one start to the next.
                    began = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
                    _leave(self._trace, f"{_name(job)}\nin process {os.getpid()} of {began}\n", after)
            yield


def _leave(file: Path, said: str, after: ExitStack) -> None:
    """A file that says so, until `after`, and what ended this process where that is before. Raises OSError."""
    after.callback(file.unlink, missing_ok=True)
    trace = after.enter_context(file.open("wb", buffering=0))
    trace.write(said.encode())
    if faulthandler.is_enabled():
        after.callback(faulthandler.enable, 2)
    else:
        after.callback(faulthandler.disable)
    faulthandler.enable(trace, all_threads=False)


def _ended_by(said: str) -> str:
    """`Segmentation fault in process 77 of 2026-11-30 09:14:05, File "net.py", line 33 in forward`"""
    process, _, trace = said.partition("\n")
    lines = [line.strip() for line in trace[trace.index(_FATAL) + len(_FATAL) :].splitlines()]
    frame = next((line for line in lines if line.startswith("File ")), "")
    return f"{lines[0]} {process}{', ' if frame else ''}{frame}"


def _name(job: TrialJob) -> str:
    """The training that it is, whichever its number."""
    return " ".join(
        map(str, (job.architecture.key, job.seed, job.epochs, job.start, *(["final"] if job.final else [])))
    )
