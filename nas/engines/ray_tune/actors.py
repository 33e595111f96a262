"""What runs in Ray's workers: a bench that judges trials, and ones that answer or measure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import ray
from ray import tune

from nas.engines.engine import Answer
from search_spaces.space import SearchSpace
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.latency import LatencyBench, Target
from trials.trial import EpochPoint, LatencyProtocol


class TrialActor(tune.Trainable):
    """A warm worker: torch imported, data resident. A step is one epoch; the last one holds the outcome."""

    def setup(self, config: dict[str, Any], plan: TrialPlan | None = None, folder: str = "") -> None:
        assert plan is not None
        _stand_in(folder)
        self._bench = Bench(plan, expendable=True)
        self._bench.warm_up()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._events: Iterator[EpochPoint | TrialOutcome] = self._bench.judge(new_config["job"])
        return True

    def step(self) -> dict[str, Any]:
        event = next(self._events)
        if isinstance(event, TrialOutcome):
            # Weights go through the object store: Tune would write them into its own state again and again.
            weights = None if event.weights is None else ray.put(event.weights)
            return {"result": event.result, "weights": weights, "done": True}
        return {"point": event, "done": False}


class PlacedBench(LatencyBench):
    """One in a worker, which stands in the folder of the driver."""

    def __init__(self, folder: str, space: SearchSpace, target: Target, protocol: LatencyProtocol) -> None:
        _stand_in(folder)
        super().__init__(space, target, protocol)


def answer_of(question: Callable[[Bench], Answer], plan: TrialPlan, folder: str) -> Answer:
    _stand_in(folder)
    return question(Bench(plan, expendable=True))


def _stand_in(folder: str) -> None:
    """Where the search began, as far as this machine has it: a user's own code may read files from there."""
    with suppress(OSError):
        os.chdir(folder)
