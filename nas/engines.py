"""What runs trials: the interface of an engine, and the one that runs them in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from nas.driver import Driver
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.latency import LatencyBench, Measurement, Target
from trials.trial import Latency, LatencyProtocol


class DeviceBench(Protocol):
    """Measures latencies on the device of an engine's workers: a `trials.latency.LatencyBench`, here or there."""

    def device_name(self) -> str: ...
    def measure(self, architecture: Architecture, nominal_reference_p50_ms: float | None) -> Measurement: ...


class Engine(Protocol):
    """Runs the trials that a driver hands out. Every engine judges them by `Bench.judge`."""

    @property
    def workers(self) -> int:
        """How many trials run side by side."""

    def calibrate(self, plan: TrialPlan) -> Latency:
        """The latency of the all-add baseline on the device that trials run on."""

    def run(self, plan: TrialPlan, driver: Driver) -> None:
        """Ask `driver` for jobs and record their results until it is finished."""

    def bench(
        self, space: SearchSpace, target: Target, protocol: LatencyProtocol
    ) -> AbstractContextManager[DeviceBench]:
        """A bench on the device that trials run on, for when none of them does.

        Raises LatencyError or DeviceError, in the context too, where the target is not to be had there.
        """

    def close(self) -> None:
        """Let go of workers, also after an interruption."""


def calibrate(plan: TrialPlan) -> Latency:
    """Measure the baseline against itself: its p50 is the nominal figure of the run."""
    bench = Bench(plan)
    return bench.latency(bench.reference)


class LocalEngine:
    """One trial after the other in this process; Ray is not imported."""

    workers = 1

    def calibrate(self, plan: TrialPlan) -> Latency:
        return calibrate(plan)

    def run(self, plan: TrialPlan, driver: Driver) -> None:
        bench = Bench(plan)
        bench.warm_up()
        while (job := driver.next_job()) is not None:
            for event in bench.judge(job):
                if isinstance(event, TrialOutcome):
                    driver.record(event.result, event.weights)
                else:
                    driver.advance(job.number, event)

    @contextmanager
    def bench(self, space: SearchSpace, target: Target, protocol: LatencyProtocol) -> Iterator[DeviceBench]:
        yield LatencyBench(space, target, protocol)

    def close(self) -> None:
        """Nothing to let go of."""
