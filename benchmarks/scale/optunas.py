"""Optuna's RDBStorage on SQLite doing the same: asked for architectures of the same space, told the same figures."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import optuna

from benchmarks.scale.driving import EVERY, rss
from benchmarks.scale.training import SPACE, figures
from search_spaces import InputSpec, SearchSpace
from search_spaces.architecture import FusionChoice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("readings", type=Path)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--launched", type=float, required=True)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = SearchSpace.named(SPACE, InputSpec(1, 28, 10))
    offered = {variable.name: list(map(str, variable.choices)) for variable in space.variables}
    study = optuna.create_study(
        study_name="scale", storage=f"sqlite:///{given.file}", load_if_exists=True,
        directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0),
    )  # fmt: skip
    with given.readings.open("a") as readings:
        for number in range(given.trials):
            trial = study.ask()
            asked = {name: trial.suggest_categorical(name, ones) for name, ones in offered.items()}
            choices = {name: FusionChoice.parse(label) for name, label in asked.items()}
            if number == 0:
                readings.write(
                    json.dumps({"first_dispatch_s": time.time() - given.launched, "cpu": time.process_time()}) + "\n"
                )
            accuracy, loss = figures(space.assign(choices), 0)
            study.tell(trial, [accuracy, loss])
            if (number + 1) % EVERY == 0:
                found = {"ended": number + 1, "rss": rss(), "cpu": time.process_time()}
                readings.write(json.dumps(found) + "\n")
                readings.flush()


if __name__ == "__main__":
    main()
