"""One session of a search: from a configuration to `trials` trained candidates, new or gone on with."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.engines.engine import Engine, calibrate, make_engine
from nas.engines.interruption import Interrupted, Interruption
from nas.proposing.study import Study
from nas.run import Run
from nas.session.driver import Driver, Look
from nas.settings.changes import differences, may_extend
from nas.settings.errors import ConfigError
from nas.settings.search import SearchConfig
from nas.stages.front_latency import FinalPlan, measure_front
from nas.stages.opening_noise import with_noise
from nas.telling import Progress
from nas.trainings.parent import check_parent
from nas.trainings.prepared import Prepared, describe, describe_data, prepare
from nas.trainings.run_record import RunRecord
from nas.trainings.trainings import complete_plan
from reports.view import NothingFeasible, RunView, recorded_config
from trials.budgets.constraints import Constraint, Costs
from trials.budgets.feasibility import in_short
from trials.data.findings import sentences
from trials.errors import RunInUse
from trials.profile import DeviceProfile, fastest_predicted
from trials.record.file import FILE_NAME, LOCK_NAME, PARENT_NAME, is_active, network_file_system
from trials.record.store import Store
from trials.trial import TrialState


def run_search(
    config: SearchConfig,
    progress: Progress,
    extend: bool = False,
    fresh: bool = False,
    interruption: Interruption | None = None,
) -> Run:
    """Search, or go on where an interrupted search stopped; returns when `config.trials` were trained.

    `extend` lets a run's budgets, objectives, sampler and number of trials change; `fresh` puts an earlier
    run of the same name aside (renamed, not deleted).

    Raises:
        ConfigError: `out` holds a run of another configuration.
        StoreError: its record cannot be used.
        NothingFeasible: no architecture, or none that was trained, meets the budgets.
        Interrupted: by Ctrl-C or SIGTERM, everything saved.
    """
    folder = Path(config.out)
    _check_writable(folder)
    recorded = _recorded(folder, fresh)
    if recorded is not None:
        _check_same(folder, recorded, config, extend)
        if _is_complete(recorded, config):
            trained = recorded.count(TrialState.COMPLETE) + recorded.count(TrialState.FAILED)
            more = "--extend adds more" if trained >= config.trials else "no unseen architecture was left to try"
            progress.say(f"{folder} is complete: {trained} trials were trained before; {more}")
            return Run(folder)
    prepared = prepare(config, progress.say)
    for sentence in sentences(describe_data(prepared.data).get("findings", {})):
        progress.say(f"data: {sentence}")
    if recorded is not None and recorded.description["data"]["fingerprint"] != prepared.data.fingerprint:
        raise ConfigError(
            f"{folder}: the data of {config.data} have changed since its first trials; --fresh starts over"
        )
    if recorded is not None:
        before = recorded.description["space"].get("fingerprint")
        if before not in (None, prepared.space.fingerprint):
            raise ConfigError(
                f"{folder}: the space {config.space} is another one now (fingerprint {prepared.space.fingerprint}, "
                f"recorded {before}): its network or operators have changed; --fresh starts over"
            )
    if recorded is not None and not extend and _other_profile(recorded, prepared.profile):
        raise ConfigError(
            f"{folder}: the device profile {config.latency_profile} is not the one that the run began with; --extend "
            "goes on with this one, --fresh starts over"
        )
    check_parent(prepared, None if fresh else folder / PARENT_NAME)
    interruption = interruption or Interruption()
    with interruption.listening():
        progress.say(f"starting the {config.engine} engine")
        engine = make_engine(config, interruption)
        try:
            interruption.check()
            _search(folder, recorded, fresh, prepared, engine, progress, interruption)
        finally:
            engine.close()
    run = Run(folder)
    if not run.view.complete:
        raise NothingFeasible(f"no trial of {folder} was completed: see nas show {folder}")
    return run


def _other_profile(recorded: RunView, profile: DeviceProfile | None) -> bool:
    known = None if recorded.profile is None else recorded.profile.to_json()
    return known != (None if profile is None else profile.to_json())


def _search(
    folder: Path,
    recorded: RunView | None,
    fresh: bool,
    prepared: Prepared,
    engine: Engine,
    progress: Progress,
    interruption: Interruption,
) -> None:
    config, profile = prepared.config, prepared.profile
    plan = prepared.plan()
    known = None if recorded is None or recorded.profile is not None else recorded.baseline
    if profile is not None:
        baseline = replace(prepared.baseline, latency_ms=profile.baseline_ms)
    elif known is not None and known.latency_ms is not None:
        baseline = known
    elif plan.screening:
        progress.say("measuring the latency of the all-add baseline")
        baseline = replace(prepared.baseline, latency_ms=engine.ask(calibrate, plan).p50_ms)
    else:
        baseline = prepared.baseline  # no trial waits for its latency: the last stage measures it
    constraints = config.constraints()
    _check_latency_budget(prepared, constraints, baseline)
    limit = next((c.limit(baseline) for c in constraints if c.metric == "latency_ms"), None)
    plan = replace(plan, max_latency_ms=limit if profile is None else None, nominal_latency_ms=baseline.latency_ms)
    if fresh:
        _put_aside(folder, progress.say)
    before = None if recorded is None else recorded.config
    with _open_store(folder, prepared, baseline, before, progress.say) as store:
        session = store.begin_session(_circumstances(config, engine))
        outcome = "failed"
        view = RunView.of(folder, store)
        study = Study(
            prepared.space, prepared.feasibility, view.pricing, tuple(config.objectives), config.sampler, config.seed
        )
        try:
            plan = complete_plan(plan, prepared, RunRecord(folder, store), engine, progress.say)
            look = Look(config.seed, config.training.epochs, plan.start.name)
            driver = Driver(
                folder, store, prepared.space, prepared.costs, prepared.feasibility, study, config.trials, look,
                progress, interruption,
            )  # fmt: skip
            progress.begin(view, config.trials, config.training.epochs, engine.workers)
            source = with_noise(driver, prepared, store, view, look.start, progress.say, interruption)
            try:
                engine.run(plan, source)
                final = FinalPlan.of(config, prepared.space, profile)
                measure_front(store, RunView.of(folder, store), final, engine, progress.say, interruption)
            except Interrupted:
                driver.stop()
                raise
            outcome = "complete"
            if driver.exhausted:
                progress.say("the search ended early: no unseen architecture within the budgets was found")
        except Interrupted:
            outcome = "interrupted"
            raise
        finally:
            store.end_session(session, outcome)


def _check_latency_budget(prepared: Prepared, constraints: tuple[Constraint, ...], baseline: Costs) -> None:
    """Raises NothingFeasible where not even the fastest architecture is within the latency budget."""
    limit = next((c.limit(baseline) for c in constraints if c.metric == "latency_ms"), None)
    if limit is None or baseline.latency_ms is None:
        return
    name, batch = prepared.config.space, prepared.config.latency.batch_size
    if prepared.profile is None:
        if baseline.latency_ms > limit:
            raise NothingFeasible(
                f"no architecture of {name} has a latency of at most {limit:.3g} ms: all-add, which does the "
                f"least work, takes {baseline.latency_ms:.3g} ms (p50, batch {batch})"
            )
        return
    fastest = fastest_predicted(prepared.space, prepared.profile)
    predicted = prepared.profile.predict_ms(fastest)
    if predicted > limit * (1 + prepared.profile.p90_error):
        raise NothingFeasible(
            f"no architecture of {name} has a predicted latency of at most {limit:.3g} ms: the closest, "
            f"{in_short(fastest)}, takes {predicted:.3g} ms (all-add {baseline.latency_ms:.3g} ms)"
        )


def _recorded(folder: Path, fresh: bool) -> RunView | None:
    """What the folder holds of an earlier search; None for a folder that is new or empty, and for a fresh start.

    Raises:
        ConfigError: it holds something that is not a run: nothing to go on with, and nothing to put aside.
    """
    if (folder / FILE_NAME).exists():
        if fresh and is_active(folder):
            raise RunInUse(f"{folder} is being searched now: wait for it, or choose another --out")
        return None if fresh else RunView.load(folder)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out: {folder} is a file; give a folder that is new or holds a run")
    # A search that was killed while it made its record leaves these.
    made = {LOCK_NAME, f"{FILE_NAME}.new", f"{FILE_NAME}.new-journal"}
    leftovers = [path.name for path in folder.glob("*") if path.name not in made] if folder.exists() else []
    if leftovers:
        raise ConfigError(f"--out: {folder} holds {leftovers[0]} and no run; give a folder that is new or holds a run")
    return None


def _check_writable(folder: Path) -> None:
    """Before anything is computed: a run can be written there."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        raise ConfigError(f"--out: {place} cannot be written to; give a folder on another disk or of another owner")


def _check_same(folder: Path, recorded: RunView, config: SearchConfig, extend: bool) -> None:
    changed = differences(recorded.config, config.to_json())
    if not changed:
        return
    shown = "; ".join(f"{key}: recorded {old!r}, given {new!r}" for key, (old, new) in changed.items())
    fixed = [key for key in changed if not may_extend(key)]
    if fixed:
        raise ConfigError(
            f"{folder} holds a run of another configuration ({shown}); --fresh puts it aside and starts over, "
            "or give another --out"
        )
    trained = recorded.count(TrialState.COMPLETE) + recorded.count(TrialState.FAILED)
    if extend and config.trials < trained:
        raise ConfigError(f"trials: given {config.trials}, but {folder} has trained {trained}; give at least that")
    if not extend:
        raise ConfigError(
            f"{folder} holds a run of another configuration ({shown}); --extend goes on with what is given, "
            "--fresh puts it aside and starts over"
        )


def _is_complete(recorded: RunView, config: SearchConfig) -> bool:
    return recorded.finished and not differences(recorded.config, config.to_json())


def _put_aside(folder: Path, say: Callable[[str], None]) -> None:
    if not (folder / FILE_NAME).exists():
        return
    if is_active(folder):
        raise RunInUse(f"{folder} is being searched now: wait for it, or choose another --out")
    place, number = folder.resolve(), 1
    while (aside := place.with_name(f"{place.name}.old-{number}")).exists():
        number += 1
    place.rename(aside)
    say(f"put the earlier run aside: {aside}")


def _open_store(
    folder: Path, prepared: Prepared, baseline: Costs, before: Mapping[str, Any] | None, say: Callable[[str], None]
) -> Store:
    path = folder / FILE_NAME
    config = prepared.config
    identity = {
        "config": config.to_json(),
        "constraints": [constraint.to_json() for constraint in config.constraints()],
        "description": describe(prepared),
        "baseline": baseline.to_json(),
        "latency_profile": None if prepared.profile is None else prepared.profile.to_json(),
        "final_stage": None,
    }
    if path.exists():
        store = Store.open_for_writing(path)
        if recorded_config(store) != before:
            store.close()
            raise ConfigError(f"{folder}: another search has changed it meanwhile; give the command again")
        if store.get("latency_profile") != identity["latency_profile"]:
            identity["latency_target"] = None  # what was measured before is of another device, or protocol
        store.put(identity)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        store = Store.create(path, identity)
    if kind := network_file_system(path):
        say(f"{path} is on a network file system ({kind}): SQLite uses a plain journal there, and one writer only")
    return store


def _circumstances(config: SearchConfig, engine: Engine) -> dict[str, Any]:
    found = {"engine": config.engine, "workers": engine.workers, "device": config.device}
    program = Path(sys.argv[0]).name
    return found | ({"command": [program, *sys.argv[1:]]} if program == "nas" else {})
