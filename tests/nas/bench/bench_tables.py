"""Tables of invented figures, whose effects are known."""

from __future__ import annotations

import random
from itertools import product

import numpy as np

from nas.bench.table_file import Contents
from search_spaces.architecture import Architecture
from search_spaces.networks import InputSpec
from search_spaces.space import SearchSpace
from trials.readings import Images
from trials.record.training import Training
from trials.trial import EpochPoint

SPACE = SearchSpace.named("resnet8", InputSpec(3, 32, 10), ("add", "concat", "se", "cbam"), (4,))
#: Points of accuracy that an operator is worth wherever it is, at the truth; its loss follows.
WORTH = {"add": 0.0, "concat": 0.2, "se": 0.4, "cbam": 0.8}
FIDELITIES = {("inherit", 1): 0.1, ("inherit", 3): 0.2, ("inherit", 9): 0.5, ("scratch", 18): 1.0}
VAL = 2_000


def worth(architecture: Architecture) -> float:
    """In points of accuracy."""
    return sum(WORTH[choice.op] for choice in architecture.choices.values())


def invented(noise: float = 0.1, seeds: int = 3, leave_out: int = 0) -> Contents:
    """All 64 architectures, but for the last `leave_out`, at four fidelities; `noise` is a standard deviation in points
    of accuracy."""
    rng = random.Random(0)
    trainings, images = [], {}
    architectures = list(SPACE.enumerate())
    for (start, epochs), scale in FIDELITIES.items():
        for architecture, seed in product(architectures[: len(architectures) - leave_out], range(seeds)):
            points = 65.0 + scale * worth(architecture) + rng.gauss(0, noise) + 0.1 * seed
            training = Training(
                architecture, seed, epochs, start if start == "scratch" else "inherit:0123456789abcdef",
                score=round(points * VAL / 100) / VAL,
                loss=1.0 - 0.02 * scale * worth(architecture) + rng.gauss(0, noise / 100),
                correct=round(points * VAL / 100), images=VAL,
                seconds=float(epochs), train_seconds=float(epochs), images_per_second=1000.0,
                curve=tuple(EpochPoint(e + 1, 2.0 / (e + 1), 1000.0) for e in range(epochs)),
                environment={"device": "invented", "host": "nobody's"},
            )  # fmt: skip
            trainings.append(training)
            if start == "scratch":
                right = np.arange(VAL) < (training.correct or 0)
                images[training.identity] = Images(right, np.full(50, 0.5, np.float16))
    header = {
        "edition": "invented",
        "space": SPACE.to_json() | {"fingerprint": SPACE.fingerprint},
        "points": [point.to_json() for point in SPACE.points],
        "fidelities": {
            "looks": ["inherit-1", "inherit-3"], "tuned": "inherit-9", "truth": "scratch-18", "doubled": "scratch-36",
        },
        "data": {"train": 1000, "val": VAL, "fingerprint": "0" * 16},
        "parent": None, "precision": None, "latencies": {}, "datasheet": {},
        "architectures": [
            {"choices": a.labels(), "macs": 10_000_000 + 1000 * number, "params": 70_000}
            for number, a in enumerate(architectures)
        ],
    }  # fmt: skip
    return Contents(header, tuple(trainings), images, b"")
