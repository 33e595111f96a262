"""What runs trials: the interface of an engine, and the one that runs them in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

from nas.engines.interruption import Interruption
from nas.settings.search import SearchConfig
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.latency import LatencyBench, Measurement, Target
from trials.machine import device as devices
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
        """A running trial's worker is gone."""


class Engine(Protocol):
    """Runs the jobs that a source hands out. Every engine judges them by `Bench.judge`."""

    @property
    def workers(self) -> int:
        """How many trials run side by side."""

    @property
    def on_this_cpu(self) -> bool:
        """Whether trials run on the CPU of this very machine, of which this process can tell what a worker could."""

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


class LocalEngine:
    """One trial after the other in this process; Ray is not imported."""

    workers = 1

    def __init__(self, device: str = "auto") -> None:
        self.on_this_cpu = devices.resolve(device).type == "cpu"

    def ask(self, question: Callable[[Bench], Answer], plan: TrialPlan) -> Answer:
        return question(Bench(plan))

    def run(self, plan: TrialPlan, source: JobSource) -> None:
        bench = Bench(plan)
        bench.warm_up()
        while (job := source.next_job()) is not None:
            for event in bench.judge(job):
                if isinstance(event, TrialOutcome):
                    source.record(event.result, event.weights)
                else:
                    source.advance(job.number, event)

    @contextmanager
    def bench(self, space: SearchSpace, target: Target, protocol: LatencyProtocol) -> Iterator[DeviceBench]:
        yield LatencyBench(space, target, protocol)

    def close(self) -> None:
        """Nothing to let go of."""


def make_engine(config: SearchConfig, interruption: Interruption) -> Engine:
    """The engine of a configuration; ray is imported here or not at all."""
    if config.engine == "local":
        return LocalEngine(config.device)
    from nas.engines.ray_tune import RayEngine

    ray = config.ray
    return RayEngine(interruption, config.workers, ray.address, ray.cpus_per_trial, ray.gpus_per_trial, config.device)


@contextmanager
def open_engine(config: SearchConfig, interruption: Interruption) -> Iterator[Engine]:
    """The engine of a configuration for as long as it is used; its workers are let go of afterwards."""
    engine = make_engine(config, interruption)
    try:
        yield engine
    finally:
        engine.close()
