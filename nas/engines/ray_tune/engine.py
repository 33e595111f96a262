"""The engine that runs trials side by side on Ray, on this machine or on a cluster."""

from __future__ import annotations

import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import ray
from ray import tune

from nas.engines.crashes import Crashes
from nas.engines.engine import Answer, DeviceBench, JobSource
from nas.engines.interruption import Interruption
from nas.engines.ray_tune.actors import PlacedBench, TrialActor, answer_of, nothing, resources_of
from nas.engines.ray_tune.cluster import Needs, away, cluster_resources, shown
from nas.engines.ray_tune.remote_bench import RemoteBench
from nas.engines.ray_tune.scheduler import WarmFirst
from nas.engines.ray_tune.searcher import DriverSearcher, Stuck, Watch
from nas.engines.ray_tune.shipping import shipped
from nas.engines.retrying import MAX_RETRIES, Retrying
from nas.engines.sockets import temporary_folder_is_short
from nas.settings.errors import ConfigError
from nas.settings.search import SearchConfig
from nas.settings.sections import NO_CLIENT
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace
from trials.cores import cores
from trials.errors import MachineFailing, WorkerLost
from trials.judge import Bench, TrialPlan
from trials.latency import LatencyBench, Target
from trials.machine.device import resolve
from trials.trial import LatencyProtocol

#: One intra-op thread a worker; OpenMP threads that spin on a shared machine slow every trial down.
WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
#: What workers of a Ray of our own import while they start, beside each other and the driver: the slow parts of what a
#: trial needs. Not our own modules: where those are is told to a worker after that.
PRELOADED = "torch,ray.tune"
#: Workers that start before they are asked for.
MAX_PRESTARTED = 8
#: Trials of one run of Ray Tune, which keeps something of each (some 75 kB) for as long as it runs.
MOST_TRIALS = 1000
#: Seconds between two lines about what is waited for.
SAID_EVERY_S = 30.0


class RayEngine:
    """Trials side by side on Ray, on this machine or (with an address) on a cluster."""

    @classmethod
    def of(cls, config: SearchConfig, interruption: Interruption, say: Callable[[str], None]) -> Self:
        ray, device = config.ray, config.device
        return cls(interruption, config.workers, ray.address, ray.cpus_per_trial, ray.gpus_per_trial, device, say)

    def __init__(
        self,
        interruption: Interruption,
        workers: int | None = None,
        address: str | None = None,
        cpus_per_trial: float = 1.0,
        gpus_per_trial: float | None = None,
        device: str = "auto",
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        found = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
        if found is not None and found.startswith("ray://"):
            raise ConfigError(f"--address {found}: {NO_CLIENT}")
        self._interruption = interruption
        self._say = say
        self._crashes = Crashes()
        self._shared = address is not None
        self._sockets: tempfile.TemporaryDirectory[str] | None = None
        os.environ.update(WORKER_ENVIRONMENT)
        warnings.filterwarnings("ignore", module="ray")
        for name in ("ray", "ray.tune", "ray.tune.execution.tune_controller", "ray.tune.tune"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._started = not ray.is_initialized()
        self.on_this_cpu = self._started and address is None and resolve(device).type == "cpu"
        if self._started:
            options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
            if address is None:
                most = max(workers or 0, cores())
                options |= {"address": "local", "num_cpus": most, "include_dashboard": False}
                if not temporary_folder_is_short():
                    # Ray's processes may still write there when they end.
                    self._sockets = tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True)
                    options["_temp_dir"] = self._sockets.name
                os.environ.setdefault("RAY_preload_python_modules", PRELOADED)
                os.environ.setdefault("RAY_num_prestart_python_workers", str(min(workers or most, MAX_PRESTARTED)))
            else:
                options |= {"address": address, "runtime_env": {"env_vars": WORKER_ENVIRONMENT}}
            with interruption.shielded(), away():
                try:
                    ray.init(**options)
                except ConnectionError as error:
                    reason = " ".join(str(error).split())
                    raise ConfigError(f"--address {address}: no Ray cluster answers there ({reason[:200]})") from None
                except Exception as error:  # Ray raises no other where its processes are not up within half a minute
                    if "timed out during startup" not in str(error):
                        raise
                    raise MachineFailing(
                        "Ray's processes did not start here in time: this machine may be too busy; give the same "
                        "command again, or --engine local, which needs none"
                    ) from None
                interruption.listen()
        self._needs = Needs(cpus_per_trial, self._gpus(device, gpus_per_trial))
        if not self._needs.slots:
            self._check_needs()
        self._most = workers if self._shared else workers or max(1, self._needs.slots)
        self.workers = workers or max(1, self._needs.slots)

    def _gpus(self, device: str, asked: float | None) -> float:
        """GPUs of a trial. A cluster that has none yet is waited for where one is asked for."""
        there = cluster_resources().get("GPU", 0)
        if asked is None:
            if device == "auto" and self._shared and not there:
                self._say("the cluster has no GPU: trials run on its CPUs (--device cuda waits for GPUs)")
            wanted = device != "cpu" and (there >= 1 or (self._shared and device != "auto"))
            return 1.0 if wanted else 0.0
        if not asked and (device.startswith("cuda") or (device == "auto" and there >= 1)):
            self.close()
            raise ConfigError(
                f"[ray] gpus_per_trial = 0, on {device}: Ray would not know who uses which GPU, and all would use the "
                "first; give a share of one, such as 0.25, or --device cpu"
            )
        return asked

    def _check_needs(self) -> None:
        """Raises ConfigError where no trial has room, and none will have: a cluster may have nodes yet to come."""
        total = cluster_resources()
        if not self._shared or all(total.get(name, 0) for name in self._needs.bundle(None)):
            self.close()
            raise ConfigError(f"[ray] a trial needs {self._needs}, but there is only {shown(total)}")

    def _await_room(self) -> None:
        """Until a worker can be had: a cluster may be busy with other people's work, or have its nodes yet to start,
        which it does when something is asked of it. What is waited for is said."""
        if not self._shared:
            return
        began, said = time.monotonic(), 1.0
        with self._interruption.shielded():
            asked = self._placed(nothing).remote()
            while not ray.wait([asked], timeout=0.2)[0]:
                self._interruption.check()
                waited = time.monotonic() - began
                if waited >= said:
                    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
                    self._say(
                        f"waiting for the cluster since {waited:.0f} s: a trial needs {self._needs}, free are "
                        f"{shown(free)} of {shown(cluster_resources())}"
                    )
                    said = waited + SAID_EVERY_S

    def _placed(self, what: Any) -> Any:
        """A task or an actor that takes what a trial does."""
        return ray.remote(num_cpus=self._needs.cpus, num_gpus=self._needs.gpus)(what)

    def _shared_out(self, plan: TrialPlan) -> TrialPlan:
        """As it goes to workers: data that are shipped by reference; trials that share a GPU share what images may take
        of its memory."""
        return replace(shipped(plan), data_memory=plan.data_memory * min(1.0, self._needs.gpus or 1.0))

    def remember(self, crashes: Crashes) -> None:
        self._crashes = crashes

    def ask(self, question: Callable[[Bench], Answer], plan: TrialPlan) -> Answer:
        self._await_room()
        task: Any = self._placed(answer_of).options(max_retries=MAX_RETRIES)
        with self._interruption.shielded():
            pending = task.remote(question, self._shared_out(plan), str(Path.cwd()))
            while not ray.wait([pending], timeout=0.2)[0]:
                self._interruption.check()
            try:
                answer: Answer = ray.get(pending)
            except ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, UserError) else error from None
            except ray.exceptions.RayError as error:
                reason = " ".join(str(error).split())
                raise WorkerLost(f"the worker that measured died: {reason[:200]}") from None
        return answer

    def run(self, plan: TrialPlan, source: JobSource) -> None:
        # A trial more than there is room for waits on a cluster, so that it is seen to want more nodes.
        retrying = Retrying(source, self._say, self._most, spare=int(self._shared), crashes=self._crashes)
        self._await_room()
        while True:
            try:
                self._run_some(plan, DriverSearcher(retrying, self._needs, MOST_TRIALS))
            except Stuck:
                retrying.take_back()
            if retrying.finished:
                return

    def _run_some(self, plan: TrialPlan, searcher: DriverSearcher) -> None:
        """Until the source is finished, or as many trials have run as Ray Tune is to keep in its memory."""
        with self._interruption.shielded(), tempfile.TemporaryDirectory(prefix="fusion-nas-") as scratch:
            actor = tune.with_parameters(TrialActor, plan=self._shared_out(plan), folder=str(Path.cwd()))
            tuner = tune.Tuner(
                tune.with_resources(actor, resources_of),
                tune_config=tune.TuneConfig(
                    search_alg=searcher, scheduler=WarmFirst(searcher), num_samples=-1, reuse_actors=True
                ),
                run_config=tune.RunConfig(
                    name="trials", storage_path=scratch, verbose=0, callbacks=[Watch(searcher, self._interruption)],
                    failure_config=tune.FailureConfig(max_failures=0),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            )  # fmt: skip
            try:
                tuner.fit()
            finally:
                if searcher.failure is not None:  # not Tune's words for it
                    raise searcher.failure

    @contextmanager
    def bench(self, space: SearchSpace, target: Target, protocol: LatencyProtocol) -> Iterator[DeviceBench]:
        if self.on_this_cpu and target.runtime == "eager":  # what was trained runs here too, without one process more
            yield LatencyBench(space, target, protocol)
            return
        actor: Any = self._placed(PlacedBench).remote(str(Path.cwd()), space, target, protocol)
        try:
            yield RemoteBench(actor, self._interruption)
        finally:
            with self._interruption.shielded():
                ray.kill(actor)

    def close(self) -> None:
        if self._started:
            with self._interruption.shielded():
                ray.shutdown()
        if self._sockets is not None:
            self._sockets.cleanup()
