"""Ray's engine on a cluster of several nodes: what is lost there, what is avoided, and what the driver raises."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas.engines.interruption import Interruption
from nas.engines.retrying import MOST_LOST_ON_A_NODE
from search_spaces import Architecture, InputSpec, SearchSpace
from trials.data import DataConfig
from trials.errors import DiskFull
from trials.judge import TrialPlan
from trials.training.starts import FromScratch
from trials.trial import EpochPoint, Failure, LatencyProtocol, Recipe, TrialJob, TrialResult, TrialState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.filterwarnings("ignore")]

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
CRASHING = SPACE.uniform("cbam", 4)
#: So many trials begin elsewhere while a late worker starts.
LATE_BY = 6


@dataclass(frozen=True)
class Trouble(FromScratch):
    """What a worker does when it builds a trial's network, beside that: nothing while it warms up, under seed 0."""

    folder: str
    bad_node: str = ""
    slow_node: str = ""
    one_at_a_time: bool = False
    empty_node: str = ""  # lacks what is needed to begin
    late_node: str = ""  # its workers take longer to start than trials do
    patience_s: float = 0.0  # how long the others wait at most until a node has lost enough to be avoided

    def network(self, space: SearchSpace, architecture: Architecture, seed: int) -> nn.Module:
        import ray

        here = ray.get_runtime_context().get_node_id()
        if self.late_node:
            self._come_late(here, warm=bool(seed))
        if here in (self.bad_node if seed else "", self.empty_node):
            (Path(self.folder) / f"lost-{time.monotonic_ns()}").touch()
        if seed and (here == self.bad_node or architecture.key == CRASHING.key):
            os.kill(os.getpid(), signal.SIGSEGV)
        if here == self.empty_node:
            raise FileNotFoundError(f"{self.folder}/data")
        until = time.monotonic() + self.patience_s
        while seed and len(list(Path(self.folder).glob("lost-*"))) < MOST_LOST_ON_A_NODE and time.monotonic() < until:
            time.sleep(0.1)
        slow = Path(self.folder) / "slow"
        if seed and here == self.slow_node:
            slow.touch()
            time.sleep(600)
        while seed and self.slow_node and not slow.exists():  # the others leave it something to do
            time.sleep(0.1)
        if seed and self.one_at_a_time:
            self._take(Path(self.folder) / f"{here}-{os.getpid()}", here)
        return super().network(space, architecture, seed)

    def _come_late(self, here: str, warm: bool) -> None:
        """To the late node's worker, which is warm only when several trials have ended elsewhere."""
        folder = Path(self.folder)
        if warm:
            (folder / f"ran-{here}-{time.monotonic_ns()}").touch()
        elif here == self.late_node:
            enough, until = len(list(folder.glob("ran-*"))) + LATE_BY, time.monotonic() + 120
            while len(list(folder.glob("ran-*"))) < enough and time.monotonic() < until:
                time.sleep(0.1)

    def _take(self, mine: Path, here: str) -> None:
        """The memory of a node, which is enough for one."""
        mine.touch()
        try:
            for _ in range(10):
                if len(list(mine.parent.glob(f"{here}-*"))) > 1:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
                time.sleep(0.2)
        finally:
            mine.unlink()


class Somebody:
    """Has a core that is not ours."""


class Jobs:
    """So many jobs, one crashing where asked; keeps what is told, or raises in its place."""

    def __init__(self, count: int, crashing: int | None = None, full_at: int | None = None) -> None:
        choices = [CRASHING if n == crashing else SPACE.uniform("se", 4) for n in range(count)]
        self._waiting = [TrialJob(n, "sampler", choices[n], 1, 1, 1, 1) for n in range(count)]
        self._open: set[int] = set()
        self._full_at = full_at
        self.results: dict[int, TrialResult] = {}
        self.given = 0

    @property
    def finished(self) -> bool:
        return not self._waiting and not self._open

    def next_job(self) -> TrialJob | None:
        if not self._waiting:
            return None
        job = self._waiting.pop(0)
        self._open.add(job.number)
        self.given += 1
        return job

    def advance(self, number: int, point: EpochPoint) -> None: ...

    def record(self, result: TrialResult, weights: bytes | None) -> None:
        if len(self.results) == self._full_at:
            raise DiskFull("study.db: no room left on the disk")
        self._open.remove(result.number)
        self.results[result.number] = result

    def fail(self, number: int, failure: Failure, error: str) -> None:
        raise AssertionError(f"job {number} was lost: {error}")


def patiently(start: Callable[[], Any]) -> Any:
    """A node, which Ray gives 30 s to start, however busy the machine is."""
    for left in (2, 1, 0):
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error) or not left:
                raise
    raise AssertionError


class Nodes:
    """A head of one core and two nodes, and an engine there."""

    def __init__(self) -> None:
        from ray import cloudpickle
        from ray.cluster_utils import Cluster

        from nas.engines.ray_tune import RayEngine

        cloudpickle.register_pickle_by_value(sys.modules[__name__])  # or a worker would look for this file
        self.cluster = Cluster()
        self.head = patiently(lambda: self.cluster.add_node(num_cpus=1, include_dashboard=False))
        self.two = patiently(lambda: self.cluster.add_node(num_cpus=2))
        self.said: list[str] = []
        self.engine = RayEngine(Interruption(), None, self.cluster.address, 1.0, None, "cpu", self.said.append)

    def run(self, jobs: Jobs, trouble: Trouble) -> None:
        data = DataConfig(train_images=128, val_fraction=0.05)
        recipe = Recipe(epochs=1, batch_size=64, precision="float32")
        plan = TrialPlan(SPACE, data, recipe, LatencyProtocol(), "cpu", screening=False)
        self.engine.run(replace(plan, start=trouble), jobs)

    def close(self) -> None:
        self.engine.close()
        self.cluster.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    found = Nodes()
    yield found
    found.close()


def states(jobs: Jobs) -> set[TrialState]:
    return {result.state for result in jobs.results.values()}


def test_what_the_driver_raises_at_a_trials_end_ends_the_search_and_no_job_begins_after(
    nodes: Nodes, tmp_path: Path
) -> None:
    jobs = Jobs(40, full_at=1)
    with pytest.raises(DiskFull, match=r"study.db: no room left on the disk"):
        nodes.run(jobs, Trouble(str(tmp_path)))
    assert len(jobs.results) == 1
    assert jobs.given < 10


@pytest.mark.long
def test_more_trials_than_ray_tune_is_to_keep_run_all_the_same(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.engines.ray_tune.engine.MOST_TRIALS", 4)
    jobs = Jobs(7)
    nodes.run(jobs, Trouble(str(tmp_path)))
    assert states(jobs) == {TrialState.COMPLETE}
    assert len(jobs.results) == 7


@pytest.mark.long
def test_a_node_that_loses_its_workers_is_avoided_and_named_and_an_architecture_that_crashes_has_failed(
    nodes: Nodes, tmp_path: Path
) -> None:
    jobs = Jobs(8, crashing=1)
    nodes.run(jobs, Trouble(str(tmp_path), bad_node=nodes.head.node_id, patience_s=300))
    failed = jobs.results.pop(1)
    assert (failed.failure, failed.attempts >= 2) == (Failure.CRASHED, True)
    assert "its worker died 2 times: the worker died: " in (failed.error or "")
    assert states(jobs) == {TrialState.COMPLETE}
    (named,) = (line for line in nodes.said if "keeps losing workers" in line)
    assert nodes.head.node_id[:8] in named
    assert sum(r.attempts - 1 for r in jobs.results.values()) >= 2


@pytest.mark.long
def test_a_node_on_which_no_worker_can_begin_is_avoided_and_takes_no_trial(nodes: Nodes, tmp_path: Path) -> None:
    nodes.said.clear()
    jobs = Jobs(10)
    nodes.run(jobs, Trouble(str(tmp_path), empty_node=nodes.head.node_id, patience_s=20))
    assert states(jobs) == {TrialState.COMPLETE}
    assert len(jobs.results) == 10
    (named,) = (line for line in nodes.said if "keeps losing workers" in line)
    assert "no worker can be had: FileNotFoundError: " in named


def test_a_trial_out_of_memory_beside_another_runs_again_alone_on_its_node(nodes: Nodes, tmp_path: Path) -> None:
    jobs = Jobs(6)
    nodes.run(jobs, Trouble(str(tmp_path), one_at_a_time=True))
    assert states(jobs) == {TrialState.COMPLETE}
    again = [r for r in jobs.results.values() if r.attempts == 2]
    assert again
    assert all(r.environment["earlier_attempts"] == ["out of memory beside other trials, then alone"] for r in again)


@pytest.mark.long
def test_one_whose_node_is_crowded_by_others_is_not_waited_for_for_ever(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's actor takes the first core that is freed of the two that it is to have alone."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    monkeypatch.setattr("nas.engines.retrying.ALONE_WITHIN_S", 2.0)
    there = NodeAffinitySchedulingStrategy(nodes.two.node_id, soft=False)
    others: list[Any] = []

    def crowd() -> None:
        while not list(tmp_path.glob(f"{nodes.two.node_id}-*")):
            time.sleep(0.02)
        others.append(ray.remote(Somebody).options(num_cpus=1, scheduling_strategy=there).remote())

    crowding = threading.Thread(target=crowd, daemon=True)
    crowding.start()
    jobs = Jobs(6)
    try:
        nodes.run(jobs, Trouble(str(tmp_path), one_at_a_time=True))
    finally:
        crowding.join(10)
        for other in others:
            ray.kill(other)
    assert states(jobs) == {TrialState.COMPLETE}
    reasons = [reason for r in jobs.results.values() for reason in r.environment.get("earlier_attempts", ())]
    assert "no device was free for it alone within 2 s, then beside others" in reasons


@pytest.mark.long
def test_a_node_whose_workers_start_slower_than_trials_end_takes_its_share(nodes: Nodes, tmp_path: Path) -> None:
    jobs = Jobs(24)
    nodes.run(jobs, Trouble(str(tmp_path), late_node=nodes.head.node_id))
    assert states(jobs) == {TrialState.COMPLETE}
    assert list(tmp_path.glob(f"ran-{nodes.head.node_id}-*"))


@pytest.mark.long
def test_the_trials_of_a_node_that_dies_run_elsewhere_and_a_node_that_joins_takes_some(
    nodes: Nodes, tmp_path: Path
) -> None:
    dying = patiently(lambda: nodes.cluster.add_node(num_cpus=1))
    jobs, trouble = Jobs(12), Trouble(str(tmp_path), slow_node=dying.node_id)
    search = threading.Thread(target=nodes.run, args=(jobs, trouble), daemon=True)
    search.start()
    deadline = time.monotonic() + 240
    while not (tmp_path / "slow").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    nodes.cluster.remove_node(dying, allow_graceful=False)
    patiently(lambda: nodes.cluster.add_node(num_cpus=1))
    search.join(480)
    assert states(jobs) == {TrialState.COMPLETE}
    assert len(jobs.results) == 12
    (lost,) = (r for r in jobs.results.values() if r.attempts > 1)
    (reason,) = lost.environment["earlier_attempts"]
    assert dying.node_id[:8] in reason
