"""Single GPUs that keep losing workers are set aside, for Ray gives a trial any GPU of a node.

So actors of ours take one after another of those that are free there until one has the GPU that is meant. It keeps it,
and the others let go. What it keeps is given back when this process leaves the cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.engines.retrying import Place


class Keeper:
    """Has a GPU to itself and leaves it alone."""

    def device(self) -> str:
        return ",".join(map(str, ray.get_runtime_context().get_accelerator_ids().get("GPU", [])))


class SettingAside:
    """Of every node, the GPUs that were set aside and those that are being tried."""

    def __init__(self) -> None:
        self._kept: dict[Place, Any] = {}
        self._tried: dict[
            str, list[tuple[Any, Any]]
        ] = {}  # by node: each keeper and what it is asked, the last unanswered

    def on(self, node: str) -> int:
        """How many GPUs of it are kept."""
        return sum(place.node == node for place in self._kept)

    def look(self, sick: Collection[Place], devices: Counter[str]) -> list[Place]:
        """What has come to be kept since the last look, of the `sick`; the nodes have so many `devices` each."""
        for node in {place.node for place in sick} - self._tried.keys():
            self._tried[node] = [_keeper(node)]
        return [place for node in list(self._tried) if (place := self._look_at(node, sick, devices[node])) is not None]

    def _look_at(self, node: str, sick: Collection[Place], devices: int) -> Place | None:
        keeper, asked = self._tried[node][-1]
        if not ray.wait([asked], timeout=0)[0]:
            return None
        wanted = {place.device: place for place in sick if place.node == node}
        try:
            found = wanted.get(ray.get(asked))
        except ray.exceptions.RayError:  # the node is gone, say
            found = None
        else:
            if found is None and wanted and len(self._tried[node]) < devices:
                self._tried[node].append(_keeper(node))
                return None
        for other, _ in self._tried.pop(node):
            if found is None or other is not keeper:
                ray.kill(other)
        if found is not None:
            self._kept[found] = keeper
        return found


def _keeper(node: str) -> tuple[Any, Any]:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    keeper: Any = ray.remote(Keeper).options(num_cpus=0, num_gpus=1, scheduling_strategy=there).remote()
    return keeper, keeper.device.remote()
