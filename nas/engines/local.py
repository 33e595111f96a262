"""The engine that runs trials in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from nas.engines.crashes import MOST_CRASHES, Crashes
from nas.engines.engine import Answer, DeviceBench, JobSource
from nas.engines.interruption import Interruption
from nas.settings.search import SearchConfig
from search_spaces.space import SearchSpace
from trials.errors import DeviceLost
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.latency import LatencyBench, Target
from trials.machine import device as devices
from trials.trial import EpochPoint, Failure, LatencyProtocol, TrialJob, TrialResult, TrialState


class LocalEngine:
    """One trial after the other in this process; Ray is not imported."""

    workers = 1

    @classmethod
    def of(cls, config: SearchConfig, interruption: Interruption, say: Callable[[str], None]) -> Self:  # noqa: ARG003
        return cls(config.device)

    def __init__(self, device: str = "auto") -> None:
        self.on_this_cpu = devices.resolve(device).type == "cpu"
        self._crashes = Crashes()

    def remember(self, crashes: Crashes) -> None:
        """What ends a worker ends this process with it: it is the next session that sees it."""
        self._crashes = crashes

    def ask(self, question: Callable[[Bench], Answer], plan: TrialPlan) -> Answer:
        return question(Bench(plan))

    def run(self, plan: TrialPlan, source: JobSource) -> None:
        bench = Bench(plan)
        bench.warm_up()
        while (job := source.next_job()) is not None:
            crashed = self._crashes.of(job)
            if len(crashed) >= MOST_CRASHES:
                source.record(_crashed(job, crashed), None)
                self._crashes.put(job, ())
                continue
            for event in self._judged(bench, job):
                if isinstance(event, TrialOutcome):
                    source.record(event.result, event.weights)
                    self._crashes.put(job, ())
                    if event.result.state is TrialState.FAILED and not bench.answers():
                        raise DeviceLost(
                            f"{bench.device} does not compute any more in this process, since a trial failed "
                            f"({event.result.error}): give the same command again; what had ended is kept"
                        )
                else:
                    source.advance(job.number, event)

    def _judged(self, bench: Bench, job: TrialJob) -> Iterator[EpochPoint | TrialOutcome]:
        with self._crashes.watching(job):
            yield from bench.judge(job)

    @contextmanager
    def bench(self, space: SearchSpace, target: Target, protocol: LatencyProtocol) -> Iterator[DeviceBench]:
        yield LatencyBench(space, target, protocol)

    def close(self) -> None:
        """Nothing to let go of."""


def _crashed(job: TrialJob, texts: Sequence[str]) -> TrialResult:
    """A job that is not tried again: it has ended this many processes."""
    said = f"it ended {len(texts)} processes: {texts[-1]}"
    environment = {"earlier_attempts": list(texts)}
    return TrialResult.of(
        job, TrialState.FAILED, failure=Failure.CRASHED, error=said, attempts=len(texts), environment=environment
    )
