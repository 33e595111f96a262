"""The engine that runs trials in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from nas.engines.crashes import Crashes
from nas.engines.engine import Answer, DeviceBench, JobSource
from nas.engines.interruption import Interruption
from nas.settings.search import SearchConfig
from search_spaces.space import SearchSpace
from trials.errors import DeviceLost
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.latency import LatencyBench, Target
from trials.machine import device as devices
from trials.trial import LatencyProtocol, TrialState


class LocalEngine:
    """One trial after the other in this process; Ray is not imported."""

    workers = 1

    @classmethod
    def of(cls, config: SearchConfig, interruption: Interruption, say: Callable[[str], None]) -> Self:  # noqa: ARG003
        return cls(config.device)

    def __init__(self, device: str = "auto") -> None:
        self.on_this_cpu = devices.resolve(device).type == "cpu"

    def remember(self, crashes: Crashes) -> None:
        """Nothing: what ends a worker ends this process with it."""

    def ask(self, question: Callable[[Bench], Answer], plan: TrialPlan) -> Answer:
        return question(Bench(plan))

    def run(self, plan: TrialPlan, source: JobSource) -> None:
        bench = Bench(plan)
        bench.warm_up()
        while (job := source.next_job()) is not None:
            for event in bench.judge(job):
                if isinstance(event, TrialOutcome):
                    source.record(event.result, event.weights)
                    if event.result.state is TrialState.FAILED and not bench.answers():
                        raise DeviceLost(
                            f"{bench.device} does not compute any more in this process, since a trial failed "
                            f"({event.result.error}): give the same command again; what had ended is kept"
                        )
                else:
                    source.advance(job.number, event)

    @contextmanager
    def bench(self, space: SearchSpace, target: Target, protocol: LatencyProtocol) -> Iterator[DeviceBench]:
        yield LatencyBench(space, target, protocol)

    def close(self) -> None:
        """Nothing to let go of."""
