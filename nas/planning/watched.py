"""The jobs of a stage as an engine takes them, told to whoever keeps the time."""

from __future__ import annotations

import time
from typing import Protocol

from nas.engines.engine import JobSource
from trials.trial import EpochPoint, Failure, TrialJob, TrialResult


class Timekeeper(Protocol):
    """Is told when a training begins and ends."""

    def begun(self, job: TrialJob) -> None: ...
    def over(self, number: int, result: TrialResult | None) -> None:
        """`result` is None where its worker is gone."""

    def beside(self, seconds: float) -> None:
        """So long the driver has taken, proposing or recording, while no worker was given anything."""


class Watched:
    """A source of jobs that tells a timekeeper of each."""

    def __init__(self, source: JobSource, timekeeper: Timekeeper) -> None:
        self._source, self._timekeeper = source, timekeeper

    @property
    def finished(self) -> bool:
        return self._source.finished

    def next_job(self) -> TrialJob | None:
        began = time.monotonic()
        job = self._source.next_job()
        if job is not None:
            self._timekeeper.begun(job)
        self._timekeeper.beside(time.monotonic() - began)
        return job

    def advance(self, number: int, point: EpochPoint) -> None:
        self._source.advance(number, point)

    def record(self, result: TrialResult, weights: bytes | None) -> None:
        began = time.monotonic()
        self._source.record(result, weights)
        self._timekeeper.beside(time.monotonic() - began)
        self._timekeeper.over(result.number, result)

    def fail(self, number: int, failure: Failure, error: str) -> None:
        self._source.fail(number, failure, error)
        self._timekeeper.over(number, None)
