"""What the cluster has, and Ray's start on this machine."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from nas.engines.ray_tune.setting_aside import SettingAside
from nas.engines.retrying import Attempt, Place, Room

#: How long what the cluster has is taken for what it still has.
_KNOWN_S = 1.0


class Needs:
    """What a trial takes of a node, and how many have room there."""

    def __init__(self, cpus: float, gpus: float) -> None:
        self.cpus, self.gpus = cpus, gpus
        self._aside = SettingAside()
        self._room: Room = {}
        self._looked = -_KNOWN_S

    def __str__(self) -> str:
        return ", ".join(f"{name} {amount:g}" for name, amount in self.bundle(None).items())

    def bundle(self, attempt: Attempt | None) -> dict[str, float]:
        """What Ray sets aside for a trial: for one that is to be alone a whole GPU, or all cores of the node where it
        had too little memory."""
        found = {"CPU": self.cpus, "GPU": self.gpus}
        if attempt is not None and attempt.alone:
            if self.gpus:
                found["GPU"] = max(1.0, self.gpus)
            else:
                cores = {node["NodeID"]: node["Resources"].get("CPU", 0.0) for node in _nodes()}
                found["CPU"] = cores.get(attempt.where, 0.0) or max(cores.values(), default=self.cpus)
        return {name: amount for name, amount in found.items() if amount}

    def room(self) -> Room:
        """How many trials each node takes that is there now, device by device; nodes that take none are left out."""
        if time.monotonic() - self._looked >= _KNOWN_S:
            found = {node["NodeID"]: self._of(self._left(node)) for node in _nodes()}
            self._room = {node: devices for node, devices in found.items() if devices}
            self._looked = time.monotonic()
        return self._room

    def fits(self, attempt: Attempt) -> bool:
        """Whether a node that is there, and not to be avoided, has what it takes, were it free."""
        need = self.bundle(attempt)
        return any(
            all(self._left(node).get(name, 0.0) >= amount for name, amount in need.items())
            for node in _nodes()
            if node["NodeID"] not in attempt.avoided
        )

    def place_at(self, address: str) -> Place | None:
        """The node at an address, where there is one alone."""
        there = [node["NodeID"] for node in _nodes() if node["NodeManagerAddress"] == address]
        return Place(there[0], address, "unknown") if len(there) == 1 else None

    def is_here(self, place: Place) -> bool:
        """Whether it is of the node that this process has joined."""
        return bool(place.node == ray.get_runtime_context().get_node_id())

    @property
    def slots(self) -> int:
        """How many trials have room side by side now."""
        return sum(map(sum, self.room().values()))

    def set_aside(self, sick: Collection[Place]) -> list[Place]:
        """Of these GPUs, those that no trial will get any more from now on."""
        return self._aside.look(sick, Counter({node: len(devices) for node, devices in self.room().items()}))

    def _left(self, node: Mapping[str, Any]) -> dict[str, float]:
        """What a node has but for what is set aside."""
        resources: dict[str, float] = node["Resources"]
        return {**resources, "GPU": resources.get("GPU", 0.0) - self._aside.on(node["NodeID"])}

    def _of(self, total: Mapping[str, float]) -> tuple[int, ...]:
        most = _times(total.get("CPU", 0.0), self.cpus)
        if not self.gpus:
            return (most,) if most else ()
        each = 1 if self.gpus > 1 else _times(1.0, self.gpus)
        devices = []
        for _ in range(_times(total.get("GPU", 0.0), max(1.0, self.gpus))):
            devices.append(min(each, most))
            most -= devices[-1]
        return tuple(device for device in devices if device)


def _times(there: float, need: float) -> int:
    return int(there / need + 1e-9)


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


@contextmanager
def away() -> Iterator[None]:
    """Ray makes the folder where it starts the first that workers import from, in which a file may be called as one of
    our packages. Meanwhile we stand where those are; where they are installed, workers find them by themselves."""
    before, home = Path.cwd(), Path(__file__).resolve().parents[3]
    installed = home.name in ("site-packages", "dist-packages")
    os.chdir(sys.prefix if installed else home)
    try:
        yield
    finally:
        os.chdir(before)


def shown(resources: dict[str, float]) -> str:
    return ", ".join(f"{name} {resources.get(name, 0):g}" for name in ("CPU", "GPU"))


def cluster_resources() -> dict[str, float]:
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found
