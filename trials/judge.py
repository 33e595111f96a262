"""One trial, from job to result: build, cost, train, evaluate. The only entry that an engine knows.

Both engines, in-process and Ray Tune, call `Bench.judge`; there is no second path.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

import torch
from safetensors.torch import save
from torch import nn

from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials import device as devices
from trials.data import DataConfig, load_data
from trials.latency import measure_latency
from trials.quiet import occupied
from trials.regimes.recalibration import recalibrate
from trials.regimes.starts import FromScratch, Start
from trials.seeds import derive
from trials.training import evaluate, train
from trials.trial import EpochPoint, Latency, LatencyProtocol, Recipe, TrialJob, TrialResult, TrialState


@dataclass(frozen=True)
class TrialPlan:
    """What all trials of a run have in common. Sent to a worker once.

    `max_latency_ms` is the gate, None for none; `nominal_latency_ms` the baseline's p50, to which
    measurements are tied, None before it was taken. Without `screening` a trial's latency is not measured: a device
    profile tells it. `start` is what their networks are before the first step.
    """

    space: SearchSpace
    data: DataConfig
    recipe: Recipe
    protocol: LatencyProtocol
    device: str
    max_latency_ms: float | None = None
    nominal_latency_ms: float | None = None
    screening: bool = True
    start: Start = field(default_factory=FromScratch)


@dataclass(frozen=True)
class TrialOutcome:
    """The end of a trial: its result and, when it is complete, its weights as safetensors bytes."""

    result: TrialResult
    weights: bytes | None


class Bench:
    """A worker's warm state: one thread, data resident on the device, the reference network built."""

    def __init__(self, plan: TrialPlan) -> None:
        # Several intra-op threads a process on a shared machine spin against each other.
        torch.set_num_threads(1)
        self.plan = plan
        self.device = devices.resolve(plan.device)
        data = load_data(plan.data)
        self.data = replace(data, train=data.train.to(self.device), val=data.val.to(self.device))
        space = plan.space
        self.reference = self.build(space.baseline, seed=0)
        self.example = torch.zeros(
            plan.protocol.batch_size, space.input.channels, space.input.size, space.input.size, device=self.device
        ).contiguous(memory_format=torch.channels_last)

    def build(self, architecture: Architecture, seed: int) -> nn.Module:
        """The network on the device, as a trial starts; what is new in it is derived from `seed`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "initialisation"))
            network = self.plan.start.network(self.plan.space, architecture, seed)
            return devices.on_device(network, self.device)

    def warm_up(self) -> None:
        """Two training steps that nobody counts: the first ones import and compile, for seconds."""
        recipe = replace(self.plan.recipe, epochs=2)
        few = replace(self.data, train=self.data.train.first(recipe.batch_size))
        # What fails here (out of memory, say) fails in the first trial too, where it is recorded.
        with suppress(Exception), occupied(devices.settle(self.device)) as machine:
            for _ in train(self.build(self.plan.space.baseline, seed=0), few, recipe, 0, machine):
                pass

    def latency(self, network: nn.Module) -> Latency:
        """Measured beside the reference, on a machine kept quiet meanwhile."""
        return measure_latency(network, self.reference, self.example, self.plan.protocol, self.plan.nominal_latency_ms)

    def judge(self, job: TrialJob) -> Iterator[EpochPoint | TrialOutcome]:
        """Yields a point after every epoch, and last the outcome. Raises nothing: what fails is a result."""
        began = time.perf_counter()
        curve: list[EpochPoint] = []
        latency: Latency | None = None

        def result(state: TrialState, **outcome: object) -> TrialResult:
            return TrialResult.of(
                job, state, latency=latency, curve=tuple(curve), seconds=time.perf_counter() - began,
                environment=devices.environment(self.device), **outcome,
            )  # fmt: skip

        try:
            network = self.build(job.architecture, job.seed)
            latency = self.latency(network) if self.plan.screening else None
            gate = self.plan.max_latency_ms
            over = latency is not None and gate is not None and latency.p50_ms > gate and latency.stable
            # The baseline was within the budget when the run was calibrated: every figure is relative to it.
            if over and job.origin != "baseline":
                yield TrialOutcome(result(TrialState.GATED), None)
                return
            training = time.perf_counter()
            with occupied(devices.settle(self.device)) as machine:
                for point in train(network, self.data, self.plan.recipe, job.seed, machine):
                    curve.append(point)
                    with machine.away():
                        yield point
                if self.plan.start.recalibrates:
                    recalibrate(network, self.data, self.plan.recipe.batch_size, job.seed, machine)
                train_seconds = time.perf_counter() - training
                judged = evaluate(network, self.data.val, self.data, machine)
            outcome = result(
                TrialState.COMPLETE, accuracy=judged.accuracy, loss=judged.loss, correct=judged.correct,
                images=judged.images, train_seconds=train_seconds,
                images_per_second=sum(p.images_per_second for p in curve) / len(curve),
            )  # fmt: skip
            yield TrialOutcome(outcome, weights_of(network))
        except Exception as error:  # a candidate's own code may raise anything; the search goes on
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            yield TrialOutcome(result(TrialState.FAILED, error=reason(error)), None)


def weights_of(network: nn.Module) -> bytes:
    """The state dict as safetensors bytes."""
    return save({name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()})


def reason(error: Exception) -> str:
    """One line that says why a trial failed: the error's kind and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
