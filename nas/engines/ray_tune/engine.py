"""The engine that runs trials side by side on Ray, on this machine or on a cluster."""

from __future__ import annotations

import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import ray
from ray import tune

from nas.engines.engine import Answer, DeviceBench, JobSource
from nas.engines.interruption import Interruption
from nas.engines.ray_tune.actors import PlacedBench, TrialActor, answer_of
from nas.engines.ray_tune.cluster import away, cluster_resources, shown
from nas.engines.ray_tune.remote_bench import RemoteBench
from nas.engines.ray_tune.searcher import DriverSearcher, Watch
from nas.engines.sockets import temporary_folder_is_short
from nas.settings.errors import ConfigError
from nas.settings.search import SearchConfig
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace
from trials.errors import WorkerLost
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
        if address is not None and address.startswith("ray://"):
            raise ConfigError(
                f"--address {address}: a search's driver runs on the cluster: submit it there (ray job submit -- nas "
                "search … --address auto), or start it on the head node"
            )
        self._interruption = interruption
        self._say = say
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
                cores = max(workers or 0, os.cpu_count() or 1)
                options |= {"address": "local", "num_cpus": cores, "include_dashboard": False}
                if not temporary_folder_is_short():
                    # Ray's processes may still write there when they end.
                    self._sockets = tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True)
                    options["_temp_dir"] = self._sockets.name
                os.environ.setdefault("RAY_preload_python_modules", PRELOADED)
                os.environ.setdefault("RAY_num_prestart_python_workers", str(min(workers or cores, MAX_PRESTARTED)))
            else:
                options |= {"address": address, "runtime_env": {"env_vars": WORKER_ENVIRONMENT}}
            with interruption.shielded(), away():
                try:
                    ray.init(**options)
                except ConnectionError as error:
                    reason = " ".join(str(error).split())
                    raise ConfigError(f"--address {address}: no Ray cluster answers there ({reason[:200]})") from None
                interruption.listen()
        if gpus_per_trial is None:
            gpus_per_trial = 1.0 if device != "cpu" and cluster_resources().get("GPU", 0) >= 1 else 0.0
        self._resources = {"cpu": cpus_per_trial, "gpu": gpus_per_trial}
        slots = self._slots()
        if slots < 1:
            found = shown(cluster_resources())
            self.close()
            need = ", ".join(f"{name.upper()} {amount:g}" for name, amount in self._resources.items() if amount)
            raise ConfigError(f"[ray] a trial needs {need}, but there is only {found}")
        self.workers = workers or slots

    def _slots(self) -> int:
        total = cluster_resources()
        slots = [int(total.get(name.upper(), 0) / need) for name, need in self._resources.items() if need > 0]
        return min(slots)

    def _await_room(self) -> None:
        """Until a worker can be had: a cluster may be busy with other people's work, which is said."""
        need, began, said = self._resources, time.monotonic(), 0.0
        while self._shared:
            free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
            if all(free.get(name.upper(), 0) >= amount for name, amount in need.items()):
                return
            self._interruption.check()
            waited = time.monotonic() - began
            if waited >= said:
                wanted = ", ".join(f"{name.upper()} {amount:g}" for name, amount in need.items() if amount)
                self._say(
                    f"waiting for the cluster since {waited:.0f} s: a trial needs {wanted}, free are {shown(free)} of "
                    f"{shown(cluster_resources())}"
                )
                said = waited + SAID_EVERY_S
            time.sleep(0.2)

    def ask(self, question: Callable[[Bench], Answer], plan: TrialPlan) -> Answer:
        self._await_room()
        cpus, gpus = self._resources["cpu"], self._resources["gpu"]
        task: Any = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(answer_of)
        with self._interruption.shielded():
            pending = task.remote(question, plan, str(Path.cwd()))
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
        searcher = DriverSearcher(source, plan.timeout_seconds)
        self._await_room()
        with self._interruption.shielded(), tempfile.TemporaryDirectory(prefix="fusion-nas-") as scratch:
            actor = tune.with_parameters(TrialActor, plan=plan, folder=str(Path.cwd()))
            tune.Tuner(
                tune.with_resources(actor, self._resources),
                tune_config=tune.TuneConfig(
                    search_alg=searcher, num_samples=-1, max_concurrent_trials=self.workers,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name="trials", storage_path=scratch, verbose=0, callbacks=[Watch(searcher, self._interruption)],
                    failure_config=tune.FailureConfig(max_failures=0),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            ).fit()  # fmt: skip

    @contextmanager
    def bench(self, space: SearchSpace, target: Target, protocol: LatencyProtocol) -> Iterator[DeviceBench]:
        if self.on_this_cpu and target.runtime == "eager":  # what was trained runs here too, without one process more
            yield LatencyBench(space, target, protocol)
            return
        on_device = ray.remote(num_cpus=self._resources["cpu"], num_gpus=self._resources["gpu"])
        actor: Any = on_device(PlacedBench).remote(str(Path.cwd()), space, target, protocol)
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
