"""Whether the trials of a run train in bfloat16: it pays in convolutions and not in every gate, so it is measured.

All trials of a run train in the same precision: an architecture that got more of it than another would be judged by
that too. Each choice is a measurement, so it is recorded, and a run that goes on keeps it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from search_spaces.architecture import Architecture
from trials.device import has_bf16
from trials.judge import Bench
from trials.quiet import occupied
from trials.seeds import derive

Measured = Literal["float32", "bfloat16"]
#: How many times as fast as float32 bfloat16 must be: less would not be worth its rounding.
WORTH_IT = 1.05
#: Steps of one timed epoch; rounds of all timings, or as many as begin within so many seconds, at least one.
_STEPS = 2
_ROUNDS = 3
_SECONDS = 3.0


@dataclass(frozen=True)
class PrecisionChoice:
    """The precision of all trials of a run; `images_per_second` of training in each, over the measured networks, none
    where nothing was measured."""

    precision: Measured
    images_per_second: Mapping[str, float]

    @property
    def ratio(self) -> float | None:
        """How many times as fast as float32 bfloat16 was; None where nothing was measured."""
        speeds = self.images_per_second
        return speeds["bfloat16"] / speeds["float32"] if speeds else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def choose_precision(bench: Bench) -> PrecisionChoice:
    """Time real training steps of all-add and of a mixture of operators in both, in turn; a device that has no bfloat16
    in hardware trains in float32 without."""
    if not has_bf16(bench.device):
        return PrecisionChoice("float32", {})
    space = bench.plan.space
    networks = (space.baseline, space.sample(random.Random(derive(0, "precision"))))
    seconds = {"float32": 0.0, "bfloat16": 0.0}
    timed = 0  # epochs in each precision, whose seconds an image are added up
    began = time.perf_counter()
    try:
        for _ in range(_ROUNDS):
            if timed and time.perf_counter() - began > _SECONDS:
                break
            for architecture in networks:
                for precision in seconds:
                    seconds[precision] += 1 / _speed(bench, architecture, precision)
                timed += 1
    except Exception:  # what fails here (out of memory, say) fails in the first trial too, where it is recorded
        return PrecisionChoice("bfloat16", {})
    speeds = {precision: timed / taken for precision, taken in seconds.items()}
    worth_it = speeds["bfloat16"] >= WORTH_IT * speeds["float32"]
    return PrecisionChoice("bfloat16" if worth_it else "float32", speeds)


def _speed(bench: Bench, architecture: Architecture, precision: str) -> float:
    """Images a second of the second of two short epochs; the first warms up."""
    batch_size = bench.plan.recipe.batch_size
    # Speed does not depend on the learning rate; a schedule this short might diverge at the configured one.
    trainer = bench.trainer.briefly(_STEPS * batch_size, epochs=2, peak_lr=1e-3, precision=precision)
    with occupied() as machine:
        return list(trainer.train(bench.build(architecture, seed=0), 0, machine))[-1].images_per_second
