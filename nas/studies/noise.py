"""`nas noise`: how much a score depends on the seed, before a ranking is believed.

The baseline and a few random architectures are trained under the same seeds at each fidelity: its own scatter is what a
single score is uncertain by, the scatter of their differences what a comparison is.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.engines.engine import open_engine
from nas.engines.interruption import Interruption
from nas.engines.slots import expected_workers
from nas.settings.changes import elsewhere
from nas.settings.effort import TRIALS
from nas.settings.errors import ConfigError
from nas.settings.loading import load_config
from nas.settings.search import SearchConfig
from nas.telling import Narrator
from nas.trainings.noise_file import NoiseFile, unlike
from nas.trainings.prepared import Prepared, prepare
from nas.trainings.run_record import RunRecord
from nas.trainings.trainings import Wanted, missing, train_missing
from reports.noise import Advice, NoiseFloor, floors_of, recommend
from reports.view import RunView
from search_spaces.architecture import Architecture
from trials.record.file import FILE_NAME
from trials.seeds import derive


@dataclass(frozen=True)
class NoisePlan:
    """What is measured: so many `seeds`, at `fidelities` in epochs, of the baseline and `rivals` others."""

    seeds: int
    fidelities: tuple[int, ...]
    rivals: int
    budget_seconds: float | None

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise ConfigError(f"--seeds: given {self.seeds}; a standard deviation takes at least 2")
        if not self.fidelities or min(self.fidelities) < 1:
            raise ConfigError("--fidelities: expected whole numbers of epochs above 0, such as 1,3")
        if self.rivals < 0:
            raise ConfigError(f"--rivals: given {self.rivals}; expected 0 or more")


@dataclass(frozen=True)
class MeasuredNoise:
    """What was found, and where it was written."""

    floors: tuple[NoiseFloor, ...]
    advice: Advice | None
    out: Path

    def to_json(self) -> dict[str, Any]:
        return {
            "noise": [floor.to_json() for floor in self.floors],
            "advice": None if self.advice is None else self.advice.to_json(),
            "out": str(self.out),
        }


def configuration(path: Path | None, settings: Mapping[str, Any], out: str | None) -> tuple[SearchConfig, Path]:
    """The configuration that is given, and where to write. Without a file, options change that of a run there.

    Raises:
        ConfigError: the run there is of other settings, or what is there is neither a run nor a .json file.
    """
    given = load_config(path, settings)
    place = Path(given.out if out is None else out)
    if place.suffix == ".json":
        if not place.absolute().parent.is_dir():
            raise ConfigError(f"--out: {place.parent} is no folder; give a file in one that exists, such as noise.json")
        return given, place
    if not (place / FILE_NAME).exists():
        raise ConfigError(
            f"--out: {place} holds no run to write to; give the folder of one, or a file such as noise.json"
        )
    recorded = RunView.load(place).config
    if path is None:
        given = load_config(None, elsewhere(recorded, settings))
    changed = unlike(recorded, given.to_json())
    if changed:
        shown = "; ".join(f"{key}: recorded {old!r}, given {new!r}" for key, (old, new) in changed.items())
        raise ConfigError(f"{place} holds a run of another configuration ({shown}); give its own, or none")
    return given, place


def measure_noise(
    config: SearchConfig, plan: NoisePlan, out: Path, narrator: Narrator, interruption: Interruption
) -> MeasuredNoise:
    """Train what is not known yet, record each training in `out`, and judge.

    Raises:
        ConfigError: `out` is of other settings, data or space.
        StoreError: the run's record cannot be used.
        Interrupted: everything that was trained is recorded.
    """
    prepared = prepare(config, narrator.say)
    architectures = _architectures(prepared, plan.rivals)
    seeds = [(config.seed + k) % 2**63 for k in range(plan.seeds)]
    wanted = [Wanted(a, seed, e) for e in sorted(set(plan.fidelities)) for seed in seeds for a in architectures]
    with NoiseFile(out, prepared) if out.suffix == ".json" else RunRecord.open(out) as record:
        record.check(prepared)
        todo = missing(wanted, record.known())
        workers = None
        if todo:
            with open_engine(config, interruption, narrator.say) as engine:
                train_missing(todo, prepared, record, engine, narrator, interruption)
                workers = engine.workers
        floors = floors_of(record.known(), prepared.space.baseline)
        budget, advice = plan.budget_seconds, None
        if budget is not None:
            workers = workers or expected_workers(config, narrator.say)
            advice = recommend(floors, budget, _trials(config), workers)
        if advice is not None:
            record.put({"noise_advice": advice.to_json()})
        return MeasuredNoise(floors, advice, out)


def _trials(config: SearchConfig) -> int:
    """So many are asked for; as by default where hours end the search."""
    return min(config.wanted_trials, config.trials or config.max_trials or TRIALS)


def _architectures(prepared: Prepared, rivals: int) -> list[Architecture]:
    """The baseline, and random ones within the budgets: fewer where there are no more."""
    found = [prepared.space.baseline]
    for number in range(rivals):
        rng = random.Random(derive(prepared.config.seed, "noise", number))
        architecture = prepared.feasibility.sample(rng, lambda a: a not in found)
        if architecture is None:
            break
        found.append(architecture)
    return found
