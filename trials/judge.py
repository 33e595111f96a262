"""One trial, from job to result: build, cost, train, evaluate. The only entry that an engine knows.

Both engines, in-process and Ray Tune, call `Bench.judge`; there is no second path.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.agreement import Agreement
from trials.data import DataConfig, SceneConfig
from trials.data.shipped import DataSource
from trials.latency import measure_latency
from trials.machine import device as devices
from trials.machine.compiler import spare_the_compiler
from trials.machine.failures import TimeLimit, failure_of
from trials.machine.quiet import Occupancy, occupied, waited_seconds
from trials.seeds import drawing
from trials.tasks import SceneRecipe
from trials.training.resumable import Checkpoint
from trials.training.starts import FromScratch, Start
from trials.training.trainer import Trainer, load_any, make_trainer
from trials.training.watching_attention import Watch
from trials.trial import EpochPoint, Latency, LatencyProtocol, Recipe, Timing, TrialJob, TrialResult, TrialState

#: The origin of a job that trains what a search knows already: its costs were measured before.
REPEAT = "repeat"
#: The standard error of a trial's latency, as a share of it, that is small enough.
SCREENING_ERROR = 0.005


@dataclass(frozen=True)
class TrialPlan:
    """What all trials of a run have in common. Sent to a worker once.

    `max_latency_ms` is the gate, None for none; `nominal_latency_ms` the baseline's p50, to which
    measurements are tied, None where it was not taken. Without `screening` a trial's latency is not measured: a device
    profile tells it, or no budget and no objective asks for it. A trial of the recipe's epochs may take
    `timeout_seconds`, waiting for others not counted, None for any time. `start` is what their networks are before the
    first step. Images may take the share `data_memory` of a GPU's memory; more stay in the machine's and go there batch
    by batch. Where `agreement` is given a worker's data and space must be the driver's. A training of a
    plan that is for one alone is kept at its `checkpoint` while it lasts, and goes on from there.
    """

    space: SearchSpace
    data: DataConfig | SceneConfig | DataSource
    recipe: Recipe | SceneRecipe
    protocol: LatencyProtocol
    device: str
    max_latency_ms: float | None = None
    nominal_latency_ms: float | None = None
    screening: bool = True
    timeout_seconds: float | None = None
    start: Start = field(default_factory=FromScratch)
    data_memory: float = 0.5
    agreement: Agreement | None = None
    checkpoint: Checkpoint | None = None

    def time_limit(self, epochs: int) -> float | None:
        """In seconds, of a training of so many epochs: in proportion to that of a trial."""
        return None if self.timeout_seconds is None else self.timeout_seconds * epochs / self.recipe.epochs


@dataclass(frozen=True)
class TrialOutcome:
    """The end of a trial: its result and, when it is complete, its weights as safetensors bytes."""

    result: TrialResult
    weights: bytes | None


class Bench:
    """A worker's warm state: one thread, data resident on the device, the reference network built.

    An `expendable` process is ended where nothing else ends a trial that hangs.
    """

    def __init__(self, plan: TrialPlan, expendable: bool = False) -> None:
        # Several intra-op threads a process on a shared machine spin against each other.
        torch.set_num_threads(1)
        spare_the_compiler()
        self.plan = plan
        self.expendable = expendable
        self.device = devices.resolve(plan.device)
        most_bytes = plan.data_memory * devices.memory_bytes(self.device)
        self.trainer = self._trainer().on(self.device, most_bytes)
        # What cannot be asked any more of a device that fails.
        precision = "bfloat16 autocast" if devices.in_bfloat16(plan.recipe.precision, self.device) else "float32"
        self._environment = devices.environment(self.device) | {
            "training_precision": precision, "process": os.getpid(),
        }  # fmt: skip
        space = plan.space
        self.reference = self.build(space.baseline, seed=0)
        self.example = torch.zeros(plan.protocol.batch_size, *space.input_shape, device=self.device).contiguous(
            memory_format=torch.channels_last
        )

    def _trainer(self) -> Trainer:
        """Raises NodeDiffers where the data or the space here are not the driver's, as far as the plan tells them."""
        plan = self.plan
        if plan.agreement is None:
            return make_trainer(plan.data, plan.recipe)
        plan.agreement.check_space(plan.space)
        return Trainer(plan.agreement.loaded(lambda: load_any(plan.data)), plan.recipe)

    def build(self, architecture: Architecture, seed: int) -> nn.Module:
        """The network on the device, as a trial starts; what is new in it is derived from `seed`."""
        with drawing(self.device, seed, "initialisation"):
            network = self.plan.start.network(self.plan.space, architecture, seed)
            return devices.on_device(network, self.device)

    @cached_property
    def finals(self) -> Trainer:
        """What trains and judges finalists: their images are put together when the first of them is asked for.

        Raises DataError where there is no test split.
        """
        most_bytes = self.plan.data_memory * devices.memory_bytes(self.device)
        return self.trainer.final().on(self.device, most_bytes)

    def warm_up(self) -> None:
        """Two training steps that nobody counts: the first ones import and compile, for seconds."""
        few = self.trainer.briefly(self.plan.recipe.batch_size, epochs=2)
        # What fails here (out of memory, say) fails in the first trial too, where it is recorded.
        with suppress(Exception), self.occupied() as machine:
            for _ in few.train(self.build(self.plan.space.baseline, seed=0), 0, machine):
                pass

    def environment(self, curve: Sequence[EpochPoint] = ()) -> dict[str, Any]:
        """Where and how a trial of this curve was trained, for the record."""
        found = dict(self._environment)
        if curve and curve[0].cuda_graph is not None:
            found["cuda_graph"] = curve[0].cuda_graph
        return found

    def occupied(self, check: Callable[[], None] = lambda: None) -> AbstractContextManager[Occupancy]:
        """A hold on this bench's device, to train or evaluate in."""
        return occupied(devices.synchronise(self.device), check, devices.lock_name(self.device))

    def latency(self, network: nn.Module) -> Latency:
        """Measured beside the reference, on a device kept quiet meanwhile."""
        return measure_latency(network, self.reference, self.example, self.plan.protocol, self.plan.nominal_latency_ms)

    def screened(self, network: nn.Module) -> Latency:
        """The same for a trial, in one attempt and not longer than it takes to tell it apart: every other trial stands
        still meanwhile, and what matters or did not come out steady is measured when the search is over."""
        once = replace(self.plan.protocol, attempts=1)
        nominal = self.plan.nominal_latency_ms
        return measure_latency(network, self.reference, self.example, once, nominal, SCREENING_ERROR)

    def judge(self, job: TrialJob) -> Iterator[EpochPoint | TrialOutcome]:
        """Yields a point after every epoch, and last the outcome. Raises nothing: what fails is a result."""
        laps = _Laps()
        limit = TimeLimit(self.time_limit(job), self.expendable)
        curve: list[EpochPoint] = []
        watch: Watch | None = None
        latency: Latency | None = None

        def result(state: TrialState, **outcome: object) -> TrialResult:
            return TrialResult.of(
                job, state, latency=latency, curve=tuple(curve), seconds=laps.total(), timing=laps.timing(),
                environment=self.environment(curve), attention=None if watch is None else watch.told(), **outcome,
            )  # fmt: skip

        try:
            trainer = self.finals if job.final else self.trainer
            with limit.watching():
                network = self.build(job.architecture, job.seed)
                laps.end("build_s")
                latency = self.screened(network) if self.plan.screening and job.origin != REPEAT else None
                laps.end("latency_s")
            gate = self.plan.max_latency_ms
            over = latency is not None and gate is not None and latency.p50_ms > gate and latency.stable
            # The baseline was within the budget when the run was calibrated: every figure is relative to it.
            if over and job.origin != "baseline":
                yield TrialOutcome(result(TrialState.GATED), None)
                return
            with self.occupied(limit.check) as machine:
                laps.end("wait_s")
                if not job.final:  # the test split is judged on once, and not looked at before
                    watch = Watch(job.architecture, trainer, job.epochs)
                points = trainer.train(network, job.seed, machine, job.epochs, self.plan.checkpoint)
                while (point := _next(points, limit)) is not None:
                    curve.append(point)
                    if watch is not None:
                        with limit.watching():
                            watch.look(network, point.epoch)
                    with machine.away():
                        laps.end("train_s")
                        yield point
                        laps.end("away")
                with limit.watching():
                    if self.plan.start.recalibrates or self.plan.recipe.recalibrate:
                        trainer.recalibrate(network, job.seed, machine)
                        laps.end("train_s")
                    judged = trainer.evaluate(network, machine)
                    readings = trainer.readings(network, machine) if job.final else None
                laps.end("evaluate_s")
            weights = weights_of(network)
            laps.end("pack_s")
            outcome = TrialOutcome(
                result(
                    TrialState.COMPLETE, score=judged.score, loss=judged.loss, correct=judged.correct,
                    images=judged.images, figures=judged.figures, train_seconds=laps.seconds["train_s"],
                    images_per_second=sum(p.images_per_second for p in curve) / len(curve), readings=readings,
                    tempered_loss=judged.tempered_loss, temperature=judged.temperature,
                ),
                weights,
            )  # fmt: skip
        except Exception as error:  # a candidate's own code may raise anything; the search goes on
            outcome = TrialOutcome(result(TrialState.FAILED, failure=failure_of(error), error=reason(error)), None)
        # Here the error is gone, and with it the tensors of all the frames that it had come through.
        if outcome.result.state is TrialState.FAILED and self.device.type == "cuda":
            with suppress(Exception):  # a device that failed may fail here again: the result is there all the same
                torch.cuda.empty_cache()
        yield outcome

    def answers(self) -> bool:
        """Whether its device still computes, which is worth asking when a trial has failed."""
        return devices.answers(self.device)

    def time_limit(self, job: TrialJob) -> float | None:
        """In seconds, of a job; None for any time. A finalist may take longer, in proportion to its images."""
        seconds = self.plan.time_limit(job.epochs)
        if seconds is None or not job.final:
            return seconds
        return seconds * (1 + len(self.trainer.data.val) / len(self.trainer.data.train))


def _next(points: Iterator[EpochPoint], limit: TimeLimit) -> EpochPoint | None:
    """The next epoch, within the limit: which must not interrupt the engine that the epoch is then handed to."""
    with limit.watching():
        return next(points, None)


class _Laps:
    """A stopwatch: what has passed since the last lap ended goes to the lap that ends now, but for what was waiting for
    others on the machine, whenever that was."""

    def __init__(self) -> None:
        self._began = self._last = time.perf_counter()
        self._waited = waited_seconds()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def end(self, lap: str) -> None:
        now, waited = time.perf_counter(), waited_seconds()
        waiting = max(waited - self._waited, 0.0)
        self.seconds["wait_s"] += waiting
        self.seconds[lap] += max(now - self._last - waiting, 0.0)
        self._last, self._waited = now, waited

    def total(self) -> float:
        return time.perf_counter() - self._began

    def timing(self) -> Timing:
        """The laps so far, but for the time away: it is the engine's."""
        return Timing(**{lap: seconds for lap, seconds in self.seconds.items() if lap != "away"})


def weights_of(network: nn.Module) -> bytes:
    """The state dict as safetensors bytes, a weight that has two names under both."""
    return save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()})


def reason(error: Exception) -> str:
    """One line that says why a trial failed: the error's kind and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
