"""What runs trials: one interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, Self, TypeVar

from nas.engines.crashes import Crashes
from nas.engines.interruption import Interruption
from nas.registry import ENGINES, load
from nas.settings.search import SearchConfig
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.judge import Bench, TrialPlan
from trials.latency import Measurement, Target
from trials.trial import EpochPoint, Failure, Latency, LatencyProtocol, TrialJob, TrialResult

Answer = TypeVar("Answer")


class DeviceBench(Protocol):
    """Measures latencies on the device of an engine's workers: a `trials.latency.LatencyBench`, here or there."""

    def device_name(self) -> str: ...
    def measure(self, architecture: Architecture, nominal_reference_p50_ms: float | None) -> Measurement: ...


class JobSource(Protocol):
    """Hands out jobs and records what they come to: the `Driver` of a search, or what repeats its trials."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to hand out or to wait for."""

    def next_job(self) -> TrialJob | None:
        """The next job; None when there is none, for now or for good."""

    def advance(self, number: int, point: EpochPoint) -> None: ...
    def record(self, result: TrialResult, weights: bytes | None) -> None: ...
    def fail(self, number: int, failure: Failure, error: str) -> None:
        """A running trial's worker is gone, however often it was begun. Where that is the machine's `failure`,
        nothing is known of its architecture."""


class Engine(Protocol):
    """Runs the jobs that a source hands out. Every engine judges them by `Bench.judge`, and guarantees that

    - each job that it was handed is told back exactly once, however often it began it: recorded, or failed where its
      workers are gone;
    - the source is called from one thread, and told of an epoch before any later end of its trial;
    - the same job comes to the same result by every engine, on the same device.
    """

    @classmethod
    def of(cls, config: SearchConfig, interruption: Interruption, say: Callable[[str], None]) -> Self:
        """The engine that a configuration asks for; what it waits for is said. Raises ConfigError where it cannot be
        had."""

    @property
    def workers(self) -> int:
        """How many trials run side by side."""

    @property
    def on_this_cpu(self) -> bool:
        """Whether trials run on the CPU of this very machine, of which this process can tell what a worker could."""

    def remember(self, crashes: Crashes) -> None:
        """The workers that died of what they trained, as they are known from earlier sessions and kept from now on."""

    def ask(self, question: Callable[[Bench], Answer], plan: TrialPlan) -> Answer:
        """What a worker's bench answers on the device that trials run on, while none does."""

    def run(self, plan: TrialPlan, source: JobSource) -> None:
        """Ask `source` for jobs and record their results until it is finished."""

    def bench(
        self, space: SearchSpace, target: Target, protocol: LatencyProtocol
    ) -> AbstractContextManager[DeviceBench]:
        """A bench on the device that trials run on, for when none of them does.

        Raises LatencyError or DeviceError, in the context too, where the target is not to be had there.
        """

    def close(self) -> None:
        """Let go of workers, also after an interruption."""


def calibrate(bench: Bench) -> Latency:
    """Measure the baseline against itself: its p50 is the nominal figure of the run."""
    return bench.latency(bench.reference)


def make_engine(config: SearchConfig, interruption: Interruption, say: Callable[[str], None]) -> Engine:
    """The engine of a configuration, see `nas.registry.ENGINES`; it is imported here or not at all."""
    engine: Engine = load(ENGINES[config.engine]).of(config, interruption, say)
    return engine


@contextmanager
def open_engine(config: SearchConfig, interruption: Interruption, say: Callable[[str], None]) -> Iterator[Engine]:
    """The engine of a configuration for as long as it is used; its workers are let go of afterwards."""
    engine = make_engine(config, interruption, say)
    try:
        yield engine
    finally:
        engine.close()
