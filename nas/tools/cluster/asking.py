"""Asks every node of a running Ray cluster what it is, by one small actor that is pinned to it."""

from __future__ import annotations

import logging
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.settings.errors import ConfigError
from nas.tools.cluster import node as node_module
from nas.tools.cluster.node import Node

#: Seconds in which a head takes a connection.
KNOCK_S = 10.0
#: Seconds in which an answer that is there is fetched.
FETCH_S = 10.0
#: Round trips by which a node's clock is read; the fastest counts.
ROUND_TRIPS = 5
#: For the node's actor alone: one thread, and GPUs that are there are seen by who asks for none.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@dataclass(frozen=True)
class Asked:
    """A node and what it said.

    head: whether the cluster's head is there; here: whether the driver is. resources: what Ray was told that it has.
    about: see `Node.about`; empty where it did not answer. agreement: see `Node.agreement`; None where not in time.
    clock_offset_s: its wall clock less the driver's, wrong by at most clock_error_s; None where it did not answer.
    error: why it did not answer, in one line.
    """

    id: str
    address: str
    head: bool
    here: bool
    resources: Mapping[str, float]
    about: Mapping[str, Any] = field(default_factory=dict)
    agreement: Mapping[str, Any] | None = None
    clock_offset_s: float | None = None
    clock_error_s: float | None = None
    error: str | None = None


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A connection to the cluster at `address` (auto, HOST:PORT). Raises ConfigError where there is none."""
    warnings.filterwarnings("ignore", module="ray")
    if address.startswith("ray://"):
        raise ConfigError(f"--address {address}: give auto on a node of the cluster, or HOST:PORT of its head")
    ours = not ray.is_initialized()
    if ours:
        _knock(address)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # of whatever kind Ray likes: no cluster, another version, no token
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(f"--address {address}: no Ray cluster that this one can join: {reason}") from None
    try:
        yield
    finally:
        if ours:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raises ConfigError where nothing listens at HOST:PORT: Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S):
            pass
    except OSError as error:
        raise ConfigError(
            f"--address {address}: nothing answers there ({error.strerror or error}): give HOST:PORT of a head that "
            "runs, or auto on a node of its cluster"
        ) from None


def ask(
    settings: Mapping[str, Any],
    network_input: Mapping[str, Any],
    with_data: bool,
    within_s: float,
    say: Callable[[str], None] = lambda line: None,
) -> list[Asked]:
    """What every node that is alive says, the driver's own first; none is waited for longer than `within_s` in all.

    settings, network_input, with_data: see `Node.agreement`.
    """
    # A node without this package can say so.
    ray.cloudpickle.register_pickle_by_value(node_module)  # type: ignore[no-untyped-call]
    try:
        return _ask((dict(settings), dict(network_input), with_data), within_s, say)
    finally:
        ray.cloudpickle.unregister_pickle_by_value(node_module)  # type: ignore[no-untyped-call]


def _ask(agreement: tuple[Any, ...], within_s: float, say: Callable[[str], None]) -> list[Asked]:
    began, here = time.monotonic(), ray.get_runtime_context().get_node_id()
    listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive = sorted((n for n in listed if n["Alive"]), key=lambda n: (n["NodeID"] != here, n["NodeManagerAddress"]))
    say(f"asking {len(alive)} node{'s' if len(alive) != 1 else ''}")
    folder = _session_folder()
    actors = [_actor(one["NodeID"]) for one in alive]
    first = [actor.about.remote(folder) for actor in actors]
    in_time = set(ray.wait(first, num_returns=len(first), timeout=within_s / 2)[0])
    found = [
        _answered(_listed(one, here), actor, said if said in in_time else None)
        for one, actor, said in zip(alive, actors, first, strict=True)
    ]
    # Last, and all beside each other: to read the data takes what is left of the time.
    last = [
        actor.agreement.remote(*agreement) if asked.error is None else None
        for asked, actor in zip(found, actors, strict=True)
    ]
    pending = [one for one in last if one is not None]
    left_s = max(began + within_s - time.monotonic(), 0.1)
    in_time = set(ray.wait(pending, num_returns=len(pending), timeout=left_s)[0]) if pending else set()
    for index, answer in enumerate(last):
        if answer in in_time:
            with suppress(ray.exceptions.RayError):  # it died of it
                found[index] = replace(found[index], agreement=ray.get(answer, timeout=FETCH_S))
    for actor in actors:
        ray.kill(actor)
    return found


def _listed(one: Mapping[str, Any], here: str) -> Asked:
    resources = {key: amount for key, amount in one["Resources"].items() if ":" not in key}
    head = "node:__internal_head__" in one["Resources"]
    return Asked(one["NodeID"], one["NodeManagerAddress"], head, one["NodeID"] == here, resources)


def _actor(node_id: str) -> Any:
    """That answers for a node, however busy it is."""
    pinned = NodeAffinitySchedulingStrategy(node_id, soft=False)
    options = {"num_cpus": 0, "num_gpus": 0, "scheduling_strategy": pinned, "max_restarts": 0}
    return ray.remote(Node).options(**options, runtime_env={"env_vars": _ENVIRONMENT}).remote()


def _answered(asked: Asked, actor: Any, said: Any) -> Asked:
    """With what it says of itself and the difference of its clock, or why it says nothing. said: None for too late."""
    if said is None:
        return replace(asked, error="it did not answer in time")
    try:
        about = ray.get(said, timeout=FETCH_S)
        offset_s, error_s = min((_clock(actor) for _ in range(ROUND_TRIPS)), key=lambda read: read[1])
    except ray.exceptions.GetTimeoutError:
        return replace(asked, error="it did not answer in time")
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines()
        return replace(asked, error=lines[-1][:300] if lines else type(error).__name__)
    return replace(asked, about=about, clock_offset_s=offset_s, clock_error_s=error_s)


def _clock(actor: Any) -> tuple[float, float]:
    """The node's clock less ours and the most by which that is wrong, in seconds."""
    wall, began = time.time(), time.perf_counter()
    there = ray.get(actor.clock.remote(), timeout=FETCH_S)
    half = (time.perf_counter() - began) / 2
    return there - (wall + half), half


def _session_folder() -> str | None:
    with suppress(Exception):  # no public name of Ray's tells it
        node: Any = ray._private.worker._global_node
        return str(node.get_session_dir_path())
    return None
