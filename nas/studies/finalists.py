"""`nas finalists`: the last stage of a search, asked of a run that is over: a verdict on images that it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.engines.engine import open_engine
from nas.engines.interruption import Interruption
from nas.settings.changes import elsewhere
from nas.settings.errors import ConfigError
from nas.settings.loading import load_config
from nas.stages.finalists import judge_finalists
from nas.telling import Narrator
from nas.trainings.prepared import prepare
from nas.trainings.run_record import RunRecord
from nas.trainings.trainings import complete_plan
from reports.finalists import chosen
from reports.view import RunView
from trials.training.final import judged_split


def find_finalists(
    folder: Path, settings: Mapping[str, Any], narrator: Narrator, interruption: Interruption
) -> RunView:
    """Train what is missing of a run's finalists, record each, and return the run with the verdict.

    `settings` are those of finalists and of where it runs (engine, workers, device); the run's are taken for the rest.

    Raises:
        ConfigError: the run has no trials to choose from, or its data or space have changed.
        DataError: there are no images to judge them by.
        StoreError: the run's record cannot be used.
        Interrupted: everything that was trained is recorded.
    """
    with RunRecord.open(folder) as record:
        view = record.view
        asked = {"finalists": None} if view.config.get("finalists") == "none" else {}
        config = load_config(None, elsewhere(view.config, {**asked, **settings}))
        if not config.wanted_finalists:
            raise ConfigError(f"--finalists: there are none to judge of {folder}; give a number above 0")
        trials = len(view.complete)
        if isinstance(config.finalists, int) and config.finalists > trials:
            raise ConfigError(
                f"--finalists: given {config.finalists}, but {folder} has {trials} complete trials; give at most that"
            )
        if view.baseline_trial is None or not chosen(view, 1):
            raise ConfigError(
                f"{folder} has no finalists: all-add and another network within the budgets must have been trained"
            )
        prepared = prepare(config, narrator.say)
        record.check(prepared)
        judged_split(prepared.data)  # raises where there is nothing to judge by
        with interruption.listening(), open_engine(config, interruption, narrator.say) as engine:
            plan = complete_plan(prepared.plan(), prepared, record, engine, narrator.say)
            return judge_finalists(prepared, record, engine, plan, narrator.say, interruption)
