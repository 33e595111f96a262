"""Ray Tune runs the trials: a searcher that holds our driver, and warm actors that are reused.

The only module that imports ray.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

# Before ray is imported: our own progress is what people see, and our own record what is kept.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
os.environ.setdefault("TUNE_WARN_THRESHOLD_S", "60")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # `--space net.py:MODEL` is relative to where the search began

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from nas.engines.engine import Answer, DeviceBench, JobSource
from nas.engines.interruption import Interruption
from nas.engines.lost_workers import kernel_kills, why_lost
from nas.engines.sockets import temporary_folder_is_short
from nas.settings.errors import ConfigError
from nas.settings.search import SearchConfig
from search_spaces.architecture import Architecture
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace
from trials.errors import BenchLost, WorkerLost
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.latency import LatencyBench, Measurement, Target
from trials.machine.device import resolve
from trials.trial import EpochPoint, Failure, LatencyProtocol, TrialJob

#: One intra-op thread a worker; OpenMP threads that spin on a shared machine slow every trial down.
WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
#: What workers of a Ray of our own import while they start, beside each other and the driver: the slow parts of what a
#: trial needs. Not our own modules: where those are is told to a worker after that.
PRELOADED = "torch,ray.tune"
#: Workers that start before they are asked for.
MAX_PRESTARTED = 8
#: Seconds between two lines about what is waited for.
SAID_EVERY_S = 30.0


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


class DriverSearcher(Searcher):
    """Lets Ray Tune ask our driver, or another source of jobs, for trials, and tells it how they ended."""

    def __init__(self, driver: JobSource, timeout_seconds: float | None) -> None:
        super().__init__(metric="score", mode="max")
        self._driver = driver
        self._timeout_seconds = timeout_seconds
        self._numbers: dict[str, int] = {}
        self._began: dict[str, float] = {}
        self._kernel_kills = kernel_kills()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher at the start, for a restoration that study.db makes needless."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        job: TrialJob | None = self._driver.next_job()
        if job is not None:
            self._numbers[trial_id] = job.number
            self._began[trial_id] = time.monotonic()
            return {"job": job}
        return str(Searcher.FINISHED) if self._driver.finished else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if "point" in result:
            self._driver.advance(self._numbers[trial_id], result["point"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if error or result is None:
            return  # `Watch` is told next, and knows why
        self._numbers.pop(trial_id)
        self._driver.record(result["result"], _fetch(result["weights"]))

    def lost(self, trial_id: str, reason: str) -> None:
        """The worker of a trial is gone."""
        if trial_id in self._numbers:
            before, self._kernel_kills = self._kernel_kills, kernel_kills()
            seconds = time.monotonic() - self._began[trial_id]
            failure = why_lost(reason, seconds, self._timeout_seconds, self._kernel_kills > before)
            error = f"the worker died: {reason}"
            if failure is Failure.TIMED_OUT:
                error = f"over its time limit of {self._timeout_seconds:g} s, and hung: its worker was ended"
            self._driver.fail(self._numbers.pop(trial_id), failure, error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the record of a run is study.db."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the record of a run is study.db."""


class Watch(tune.Callback):
    """Between Tune's steps: raises an interruption, and records trials whose worker died or did not start."""

    def __init__(self, searcher: DriverSearcher, interruption: Interruption) -> None:
        self._searcher = searcher
        self._interruption = interruption

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._interruption.check()

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        # Tune's own `get_error` looks where nothing is written to yet.
        path = trial.error_file
        lines = Path(path).read_text().strip().splitlines() if path and Path(path).is_file() else []
        self._searcher.lost(trial.trial_id, lines[-1].strip()[:300] if lines else "no reason given")


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
            with interruption.shielded(), _away():
                try:
                    ray.init(**options)
                except ConnectionError as error:
                    reason = " ".join(str(error).split())
                    raise ConfigError(f"--address {address}: no Ray cluster answers there ({reason[:200]})") from None
                interruption.listen()
        if gpus_per_trial is None:
            gpus_per_trial = 1.0 if device != "cpu" and _cluster_resources().get("GPU", 0) >= 1 else 0.0
        self._resources = {"cpu": cpus_per_trial, "gpu": gpus_per_trial}
        slots = self._slots()
        if slots < 1:
            found = _shown(_cluster_resources())
            self.close()
            need = ", ".join(f"{name.upper()} {amount:g}" for name, amount in self._resources.items() if amount)
            raise ConfigError(f"[ray] a trial needs {need}, but there is only {found}")
        self.workers = workers or slots

    def _slots(self) -> int:
        total = _cluster_resources()
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
                    f"waiting for the cluster since {waited:.0f} s: a trial needs {wanted}, free are {_shown(free)} of "
                    f"{_shown(_cluster_resources())}"
                )
                said = waited + SAID_EVERY_S
            time.sleep(0.2)

    def ask(self, question: Callable[[Bench], Answer], plan: TrialPlan) -> Answer:
        self._await_room()
        cpus, gpus = self._resources["cpu"], self._resources["gpu"]
        task: Any = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_answer)
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


class PlacedBench(LatencyBench):
    """One in a worker, which stands in the folder of the driver."""

    def __init__(self, folder: str, space: SearchSpace, target: Target, protocol: LatencyProtocol) -> None:
        _stand_in(folder)
        super().__init__(space, target, protocol)


class RemoteBench:
    """A `LatencyBench` in a worker; what it raises is raised here."""

    def __init__(self, actor: Any, interruption: Interruption) -> None:
        self._actor = actor
        self._interruption = interruption

    def device_name(self) -> str:
        return str(self._answer(self._actor.device_name.remote()))

    def measure(self, architecture: Architecture, nominal_reference_p50_ms: float | None) -> Measurement:
        measured: Measurement = self._answer(self._actor.measure.remote(architecture, nominal_reference_p50_ms))
        return measured

    def _answer(self, pending: Any) -> Any:
        with self._interruption.shielded():
            while not ray.wait([pending], timeout=0.2)[0]:
                self._interruption.check()
            try:
                return ray.get(pending)
            except ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, UserError) else error from None
            except ray.exceptions.ActorDiedError as error:
                reason = str(error).strip().splitlines()[-1]
                raise BenchLost(f"the worker that measures died: {reason[:200]}") from None


def _answer(question: Callable[[Bench], Answer], plan: TrialPlan, folder: str) -> Answer:
    _stand_in(folder)
    return question(Bench(plan, expendable=True))


def _fetch(weights: ray.ObjectRef[bytes] | None) -> bytes | None:
    """The weights a worker has put into the object store; None when it died with them (the result stands)."""
    try:
        return None if weights is None else ray.get(weights)
    except ray.exceptions.RayError:
        return None


@contextmanager
def _away() -> Iterator[None]:
    """Ray makes the folder where it starts the first that workers import from, in which a file may be called as one of
    our packages. Meanwhile we stand where those are; where they are installed, workers find them by themselves."""
    before, home = Path.cwd(), Path(__file__).resolve().parents[2]
    installed = home.name in ("site-packages", "dist-packages")
    os.chdir(sys.prefix if installed else home)
    try:
        yield
    finally:
        os.chdir(before)


def _stand_in(folder: str) -> None:
    """Where the search began, as far as this machine has it: a user's own code may read files from there."""
    with suppress(OSError):
        os.chdir(folder)


def _shown(resources: dict[str, float]) -> str:
    return ", ".join(f"{name} {resources.get(name, 0):g}" for name in ("CPU", "GPU"))


def _cluster_resources() -> dict[str, float]:
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found
