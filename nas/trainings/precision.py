"""Whether the trials of a run train in bfloat16: it pays in convolutions and not in every gate, so it can be measured.

All trials of a run train in the same precision: an architecture that got more of it than another would be judged by
that too. A run that goes on keeps its choice. On a CPU the same seed gives the same result to the bit, which a choice
between two that are equally fast would end: there it is measured on request only.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from nas.engines.engine import Engine
from reports.precision import precision_text
from search_spaces.architecture import Architecture
from trials.errors import PrecisionError, WorkerLost
from trials.judge import Bench, TrialPlan
from trials.machine import device as devices
from trials.machine.failures import TimeLimit
from trials.seeds import derive
from trials.training.cuda_graph import LEAST_STEPS
from trials.trial import Precision, TrainingRecipe

Measured = Literal["float32", "bfloat16"]
#: How many times as fast as float32 bfloat16 must be: less would not be worth its rounding.
WORTH_IT = 1.05
#: Steps of one timed epoch; rounds of all timings, or as many as begin within so many seconds, at least one.
_STEPS = 2
_ROUNDS = 3
_SECONDS = 3.0


@dataclass(frozen=True)
class PrecisionChoice:
    """The precision of all trials of a run, and the `images_per_second` of training over the measured networks in each
    that could be trained in; none where nothing was measured."""

    precision: Measured
    images_per_second: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def unmeasured_choice(device: torch.device, wanted: Precision) -> PrecisionChoice | None:
    """What there is nothing to measure for: see `choose_precision`."""
    if not devices.has_bf16(device):
        return PrecisionChoice("float32", {})
    return PrecisionChoice("bfloat16", {}) if device.type == "cpu" and wanted == "auto" else None


def choose_precision(bench: Bench) -> PrecisionChoice:
    """Time real training steps of all-add and of a mixture of operators in both, in turn.

    A device without bfloat16 in hardware trains in float32, untimed; a CPU that has it in bfloat16, unless the plan
    asks for the fastest.

    Raises:
        PrecisionError: training fails in float32 too, or takes longer than a trial may.
    """
    known = unmeasured_choice(bench.device, bench.plan.recipe.precision)
    if known is not None:
        return known
    gpus = [bench.device] if bench.device.type == "cuda" else []
    # Dropout draws from torch's own numbers: of the trials after this, these must not depend on how often it was timed.
    with torch.random.fork_rng(gpus):
        measured = _measure(bench)
    if "bfloat16" not in measured:
        return PrecisionChoice("float32", measured)
    worth_it = measured["bfloat16"] >= WORTH_IT * measured["float32"]
    return PrecisionChoice("bfloat16" if worth_it else "float32", measured)


def _measure(bench: Bench) -> dict[str, float]:
    """Images a second over both networks in each precision; without bfloat16 where that cannot be trained in."""
    space = bench.plan.space
    networks = (space.baseline, space.sample(random.Random(derive(0, "precision"))))
    limit = TimeLimit(bench.plan.timeout_seconds, bench.expendable)
    # Of each network's epochs the fastest: others on the machine can only slow one down.
    fastest: dict[str, dict[Architecture, float]] = {"float32": {}, "bfloat16": {}}
    began = time.perf_counter()
    for _ in range(_ROUNDS):
        for precision in list(fastest):
            for network in networks:
                try:
                    speed = _speed(bench, network, precision, limit)
                except Exception as error:  # a candidate's own code may raise anything
                    if precision == "float32" or isinstance(error, TimeoutError):
                        text = " ".join(str(error).split())[:200]
                        raise PrecisionError(f"{type(error).__name__}: {text}") from None
                    del fastest["bfloat16"]
                    break
                fastest[precision][network] = max(speed, fastest[precision].get(network, 0.0))
        if time.perf_counter() - began > _SECONDS:
            break
    return {name: len(speeds) / sum(1 / speed for speed in speeds.values()) for name, speeds in fastest.items()}


def _speed(bench: Bench, architecture: Architecture, precision: str, limit: TimeLimit) -> float:
    """Images a second of the last of some short epochs; the first warms up, and captures what trials replay."""
    recipe = bench.plan.recipe
    steps, epochs = timed_steps(recipe, len(bench.trainer.data.train), bench.device)
    # Speed does not depend on the learning rate; a schedule this short might diverge at the configured one.
    trainer = bench.trainer.briefly(steps * recipe.batch_size, epochs=epochs, peak_lr=1e-3, precision=precision)
    with bench.occupied(limit.check) as machine, limit.watching():
        return list(trainer.train(bench.build(architecture, seed=0), 0, machine))[-1].images_per_second


def timed_steps(recipe: TrainingRecipe, images: int, device: torch.device) -> tuple[int, int]:
    """Steps of an epoch, and epochs, to time trials by whose training split has so many images: as many as a CUDA graph
    is captured for, where trials have one, which bfloat16 gains more from or less."""
    whole = max(1, images // recipe.batch_size)
    if not recipe.cuda_graph or device.type != "cuda" or whole * recipe.epochs < LEAST_STEPS:
        return _STEPS, 2
    steps = min(whole, LEAST_STEPS // 2)
    return steps, -(-LEAST_STEPS // steps)


def provide_precision(
    plan: TrialPlan, recorded: Mapping[str, Any] | None, begun: bool, engine: Engine, say: Callable[[str], None]
) -> Mapping[str, Any] | None:
    """The choice for the trials of `plan`, as `PrecisionChoice` in JSON; None where there is none to make: the
    configuration has made it, trials were trained before (`begun`) without one, or both fail in training, which the
    first trial will record.
    """
    if plan.recipe.precision not in ("auto", "fastest") or (recorded is None and begun):
        return None
    if recorded is not None:
        return recorded
    try:
        known = unmeasured_choice(devices.resolve(plan.device), plan.recipe.precision) if engine.on_this_cpu else None
        choice = (known or engine.ask(choose_precision, plan)).to_json()
    except (PrecisionError, WorkerLost) as error:
        say(f"bfloat16 and float32 could not be compared: {error}")
        return None
    if choice["images_per_second"]:
        say(f"trials train in {precision_text(choice)}")
    return choice


def in_precision(plan: TrialPlan, choice: Mapping[str, Any] | None) -> TrialPlan:
    """The plan with the choice made; as it is where there was none to make."""
    return plan if choice is None else replace(plan, recipe=replace(plan.recipe, precision=choice["precision"]))
