"""How fast results are recorded."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import optuna

from benchmarks.timing import in_turn, show
from nas.settings.search import SearchConfig
from search_spaces import InputSpec, SearchSpace
from trials.record.store import Store
from trials.trial import EpochPoint, Latency, TrialResult, TrialState

SPACE = SearchSpace.named("resnet20", InputSpec(3, 32, 10))


def results(count: int) -> list[TrialResult]:
    """Made-up results of different architectures: what is timed is the writing."""
    rng = random.Random(0)
    made = []
    for number in range(count):
        p50 = rng.uniform(1, 2)
        made.append(
            TrialResult(
                number, TrialState.COMPLETE, "sampler", SPACE.sample(rng), 0, 3, rng.randrange(40_000_000, 50_000_000),
                300_000, score=rng.random(), loss=rng.random(), correct=1, images=2, seconds=20.0, train_seconds=18,
                latency=Latency(p50, 1.2 * p50, p50, 1.2 * p50, 1, 1, 0.01, 0.01, True, 200), images_per_second=1000.0,
                curve=tuple(EpochPoint(epoch, 1.0 / epoch, 1000.0) for epoch in (1, 2, 3)),
            )
        )  # fmt: skip
    return made


def fill(folder: Path, count: int) -> None:
    """A run with so many trials in `folder`."""
    folder.mkdir(parents=True)
    description = {
        "objectives": ["accuracy", "macs"], "size": SPACE.size,
        "space": SPACE.to_json() | {"fingerprint": SPACE.fingerprint},
        "points": [point.to_json() for point in SPACE.points], "data": {"name": "made up"},
    }  # fmt: skip
    meta = {
        "config": SearchConfig(trials=count).to_json(),
        "constraints": [],
        "description": description,
        "baseline": {"macs": 41_000_000, "params": 270_000, "latency_ms": 1.0},
    }
    with Store.create(folder / "study.db", meta) as store:
        for result in results(count):
            store.append(result)


def main() -> None:
    """100 trials recorded, one transaction each: our store beside Optuna's RDBStorage, both SQLite on this disk."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    hundred = results(100)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder) / "run", 100)

    choices = {point.name: [str(choice) for choice in point.choices] for point in SPACE.points}

    def optunas() -> None:
        sampler = optuna.samplers.RandomSampler(seed=0)
        with tempfile.TemporaryDirectory() as folder:
            storage = f"sqlite:///{folder}/study.db"
            study = optuna.create_study(storage=storage, sampler=sampler, directions=["maximize", "minimize"])
            for result in hundred:
                trial = study.ask()
                for point, offered in choices.items():
                    trial.suggest_categorical(point, offered)
                study.tell(trial, [result.score or 0.0, result.macs])

    show(in_turn({"trials.record.store": ours, "optuna RDBStorage (random proposals)": optunas}, rounds=3), each=100)
