"""`nas trust`: do the short trials of a run rank architectures as longer trainings do?

A random sample of its trials is trained for longer, under seeds of its own, so that what the short and the long ones
share is the architecture alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.engines.engine import open_engine
from nas.engines.interruption import Interruption
from nas.settings.changes import elsewhere
from nas.settings.errors import ConfigError
from nas.settings.loading import load_config
from nas.telling import Narrator
from nas.trainings.prepared import prepare
from nas.trainings.run_record import RunRecord
from nas.trainings.trainings import Wanted, missing, train_missing
from reports.trust import FEWEST
from reports.view import RunView
from search_spaces.architecture import Architecture
from trials.seeds import derive

#: Times the run's epochs, where the long trainings' are not given.
_LONGER = 4


@dataclass(frozen=True)
class TrustPlan:
    """What is asked: a `sample` of trials, long trainings of `epochs` (None: four times the trials') over `seeds`.

    `fidelities` are trained beside that of the trials, to be held against the long ones too.
    """

    sample: int
    epochs: int | None
    seeds: int
    fidelities: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.sample < FEWEST:
            raise ConfigError(f"--sample: given {self.sample}; a rank agreement takes at least {FEWEST} architectures")
        if self.seeds < 1:
            raise ConfigError(f"--seeds: given {self.seeds}; expected at least 1")
        if self.fidelities and min(self.fidelities) < 1:
            raise ConfigError("--fidelities: expected whole numbers of epochs above 0, such as 1,6")


def measure_trust(
    folder: Path, plan: TrustPlan, circumstances: Mapping[str, Any], narrator: Narrator, interruption: Interruption
) -> RunView:
    """Train what is not known yet, record each training in the run, and return the run with them.

    `circumstances` are settings of where it runs (engine, workers, device).

    Raises:
        ConfigError: the plan does not fit the run, or its data or space have changed.
        StoreError: the run's record cannot be used.
        Interrupted: everything that was trained is recorded.
    """
    with RunRecord.open(folder) as record:
        view = record.view
        config = load_config(None, elsewhere(view.config, circumstances))
        short = config.training.epochs
        long = _LONGER * short if plan.epochs is None else plan.epochs
        shorter = sorted({short, *plan.fidelities})
        if long <= shorter[-1]:
            raise ConfigError(f"--epochs: given {long}; the long trainings take more than {shorter[-1]} epochs")
        sample = _sample(view, plan.sample, config.seed)
        seeds = [(config.seed + 1 + k) % 2**63 for k in range(plan.seeds)]
        wanted = [Wanted(a, config.seed, epochs) for epochs in shorter for a in sample]
        wanted += [Wanted(a, seed, long) for seed in seeds for a in sample]
        todo = missing(wanted, record.known())
        asked = {
            "sample": [architecture.key for architecture in sample], "epochs": long, "seeds": seeds,
            "fidelities": shorter, "short_seed": config.seed,
        }  # fmt: skip
        if not todo:
            record.put({"trust": asked})
            return record.view.estimated()
        prepared = prepare(config, narrator.say)
        record.check(prepared)
        record.put({"trust": asked})
        with open_engine(config, interruption, narrator.say) as engine:
            train_missing(todo, prepared, record, engine, narrator, interruption)
        return record.view.estimated()


def _sample(view: RunView, size: int, seed: int) -> list[Architecture]:
    """A random sample of the complete trials. A larger one holds a smaller one, also when the run has gone on."""
    complete = [trial.result.architecture for trial in view.complete]
    if len(complete) < FEWEST:
        raise ConfigError(
            f"{view.path} has {len(complete)} complete trials; a rank agreement takes at least {FEWEST}: "
            f"go on with nas search --extend --trials {FEWEST}"
        )
    return sorted(complete, key=lambda architecture: derive(seed, "trust", architecture.key))[:size]
