"""A GPU that loses every worker, on a node whose others are sound. What Ray counts as GPUs here need not be any."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import nn

from nas.engines.interruption import Interruption
from nas.engines.retrying import MOST_LOST_ON_A_NODE
from search_spaces import Architecture, InputSpec, SearchSpace
from trials.data import DataConfig
from trials.judge import TrialPlan
from trials.training.starts import FromScratch
from trials.trial import EpochPoint, Failure, LatencyProtocol, Recipe, TrialJob, TrialResult, TrialState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
SICK = "1"


@dataclass(frozen=True)
class Sick(FromScratch):
    """Starts nothing on that GPU: its worker dies at a trial, or says that it cannot begin at all. On the others trials
    take their time, so that there are some left for it."""

    folder: str
    dies: bool

    def network(self, space: SearchSpace, architecture: Architecture, seed: int) -> nn.Module:
        if os.environ.get("CUDA_VISIBLE_DEVICES") == SICK:
            if seed or not self.dies:
                (Path(self.folder) / f"lost-{time.monotonic_ns()}").touch()
            if not self.dies:
                raise RuntimeError("CUDA error: unknown error")
            if seed:
                os.kill(os.getpid(), signal.SIGSEGV)
        until = time.monotonic() + 200
        while seed and len(list(Path(self.folder).glob("lost-*"))) < MOST_LOST_ON_A_NODE and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(2.0 if seed else 0.0)
        return super().network(space, architecture, seed)


class Jobs:
    def __init__(self, count: int) -> None:
        self._waiting = [TrialJob(n, "sampler", SPACE.uniform("se", 4), n + 1, 1, 1, 1) for n in range(count)]
        self._open: set[int] = set()
        self.results: dict[int, TrialResult] = {}
        self.lost: list[str] = []

    @property
    def finished(self) -> bool:
        return not self._waiting and not self._open

    def next_job(self) -> TrialJob | None:
        if not self._waiting:
            return None
        self._open.add(self._waiting[0].number)
        return self._waiting.pop(0)

    def advance(self, number: int, point: EpochPoint) -> None: ...

    def record(self, result: TrialResult, weights: bytes | None) -> None:
        self._open.remove(result.number)
        self.results[result.number] = result

    def fail(self, number: int, failure: Failure, error: str) -> None:
        self._open.remove(number)
        self.lost.append(error)


@pytest.mark.parametrize("dies", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_sick_gpu_is_set_aside_and_the_others_of_its_node_go_on(tmp_path: Path, dies: bool) -> None:
    import ray
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    from nas.engines.ray_tune import RayEngine

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # or a worker would look for this file
    cluster, said, jobs = Cluster(), list[str](), Jobs(24)
    cluster.add_node(num_cpus=3, num_gpus=3, include_dashboard=False)
    engine = RayEngine(Interruption(), None, cluster.address, 1.0, 1.0, "cpu", said.append)
    try:
        recipe = Recipe(epochs=1, batch_size=64, precision="float32")
        data = DataConfig(train_images=128, val_fraction=0.05)
        plan = TrialPlan(
            SPACE, data, recipe, LatencyProtocol(), "cpu", screening=False, start=Sick(str(tmp_path), dies)
        )
        engine.run(plan, jobs)
        until = time.monotonic() + 60  # workers of ended trials give theirs back a while later; none free is no entry
        while (free := ray.available_resources().get("GPU", 0)) < 2 and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        engine.close()
        cluster.shutdown()
    assert [r.error for r in jobs.results.values() if r.state is not TrialState.COMPLETE] == []
    assert len(jobs.results) + len(jobs.lost) == 24
    assert len(jobs.lost) <= 1
    (line,) = (line for line in said if "is set aside" in line)
    assert f", GPU {SICK} keeps losing workers" in line
    assert free == 2, "the one set aside stays held"
