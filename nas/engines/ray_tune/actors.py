"""What runs in Ray's workers: a bench that judges trials, and ones that answer or measure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune

from nas.engines.engine import Answer
from nas.engines.retrying import Place
from search_spaces.space import SearchSpace
from trials.errors import DeviceLost
from trials.judge import Bench, TrialOutcome, TrialPlan, reason
from trials.latency import LatencyBench, Target
from trials.trial import EpochPoint, LatencyProtocol, TrialState


@dataclass(frozen=True)
class Begun:
    """A worker has begun a job, and may take so many seconds for it; None: any time. `worker` is its actor's
    handle, None where nobody else may end it."""

    place: Place
    limit_seconds: float | None
    worker: Any = None


@dataclass(frozen=True)
class Broken:
    """A worker cannot begin anything there: its data are missing, say."""

    place: Place
    reason: str


class TrialActor(tune.Trainable):
    """A warm worker: torch imported, data resident. The first step says that it has begun, the following ones
    are an epoch each, and the last one holds the outcome. It raises, and ends, where its device computes no more, and
    once it has said that it cannot begin."""

    def setup(self, config: dict[str, Any], plan: TrialPlan | None = None, folder: str = "") -> None:
        assert plan is not None
        self._plan, self._folder = plan, folder
        self._bench: Bench | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._job = new_config["job"]
        self._events: Iterator[EpochPoint | TrialOutcome] | None = None
        self._told = False
        self._broken = None if self._bench is not None else self._settle()
        return True

    def _settle(self) -> str | None:
        """Make ready for trials; why that cannot be done here, which is told with the place, and no trial's fault."""
        _stand_in(self._folder)
        try:
            bench = Bench(self._plan, expendable=True)
        except Exception as error:  # whatever a machine lacks
            return reason(error)
        bench.warm_up()
        self._bench = bench
        return None

    def step(self) -> dict[str, Any]:
        if self._bench is None and self._told:
            raise DeviceLost(f"no worker can be had: {self._broken}")  # which gives what it holds back
        if self._bench is None:
            self._told = True
            return {"broken": Broken(_place(), str(self._broken)), "done": False}
        if self._events is None:
            self._events = self._bench.judge(self._job)
            worker = ray.get_runtime_context().current_actor
            return {"begun": Begun(_place(), self._bench.time_limit(self._job), worker), "done": False}
        event = next(self._events)
        if isinstance(event, TrialOutcome):
            if event.result.state is TrialState.FAILED and not self._bench.answers():
                raise DeviceLost(f"its device does not compute any more, since {event.result.error}")
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


def resources_of(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """What Ray sets aside for a trial, on none of the nodes that it is to avoid."""
    bundles = [config["bundle"]]
    if not config["avoided"]:
        return tune.PlacementGroupFactory(bundles)
    elsewhere = {"ray.io/node-id": f"!in({','.join(config['avoided'])})"}
    return tune.PlacementGroupFactory(bundles, bundle_label_selector=[elsewhere])


def nothing() -> None:
    """What is asked of a worker to see that one can be had."""


def _place() -> Place:
    context = ray.get_runtime_context()
    device = ",".join(map(str, context.get_accelerator_ids().get("GPU", []))) or "cpu"
    address = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
    return Place(context.get_node_id(), address, device)


def _stand_in(folder: str) -> None:
    """Where the search began, as far as this machine has it: a user's own code may read files from there."""
    with suppress(OSError):
        os.chdir(folder)
