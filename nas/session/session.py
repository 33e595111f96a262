"""One session of a search: from a configuration to `trials` trained candidates, new or gone on with."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.engines.crashes import Crashes
from nas.engines.engine import Engine, calibrate, open_engine
from nas.engines.interruption import Interrupted, Interruption
from nas.planning.planner import Planner, devices_of
from nas.planning.spent import BudgetSpent, unreached, way_on
from nas.run import Run
from nas.session.admission import (
    admitted,
    begun_configuration,
    check_latency_budget,
    check_unchanged,
    is_complete,
    open_store,
    put_aside,
)
from nas.session.weights import fetch_needed
from nas.settings.search import SearchConfig
from nas.stages.stage import Search, stages
from nas.telling import Progress
from nas.trainings.evidence import gathered
from nas.trainings.parent import check_parent
from nas.trainings.prepared import Prepared, describe_data, prepare
from nas.trainings.slow import slow
from reports.noise import counted
from reports.selecting import nothing_completed
from reports.view import RunView
from trials.budgets.constraints import Costs
from trials.data.findings import sentences
from trials.errors import WorkerLost
from trials.judge import TrialPlan
from trials.record.backups import Backup
from trials.record.effort import Beat, take_over
from trials.record.evidence import Evidence
from trials.record.file import FILE_NAME, PARENT_NAME, locked
from trials.record.storage import Storage
from trials.trial import TrialState
from trials.whole_files import remove_unfinished


def run_search(
    config: SearchConfig,
    progress: Progress,
    extend: bool = False,
    fresh: bool = False,
    interruption: Interruption | None = None,
) -> Run:
    """Search, or go on where an interrupted search stopped; returns when as many trials were trained as were asked for,
    or what it may take is spent.

    `extend` lets a run's budgets, objectives, sampler and number of trials change; `fresh` puts an earlier
    run of the same name aside (renamed, not deleted).

    Raises:
        ConfigError: `out` holds a run of another configuration.
        StoreError: its record cannot be used.
        NothingFeasible: no architecture, or none that was trained, meets the budgets.
        AllFailed: every trial failed.
        BudgetSpent: its hours were spent before any training had ended.
        WorkerLost: every training was lost with its worker.
        Interrupted: by Ctrl-C or SIGTERM, everything saved.
    """
    began = time.monotonic()
    folder = Path(config.out)
    config = config.begun_with(None if fresh else begun_configuration(folder))
    recorded = admitted(folder, config, extend, fresh)
    if recorded is not None and recorded.sessions and config.storage is not None and not locked(folder):
        fetch_needed(recorded, config.storage, progress.say)
    if recorded is not None and is_complete(recorded, config):
        trained = recorded.count(TrialState.COMPLETE) + recorded.count(TrialState.FAILED)
        more = "--extend adds more" if trained >= config.wanted_trials else _why_ended(recorded)
        progress.say(f"{folder} is complete: {trained} trials were trained before; {more}")
        _copy_once(folder, config, progress.say)
        return Run(folder)
    if recorded is not None and recorded.complete and nothing_left(recorded, config):
        return Run(folder)  # what to do is said by who reports it
    prepared = prepare(config, progress.say)
    for sentence in sentences(describe_data(prepared.data).get("findings", {})):
        progress.say(f"data: {sentence}")
    for sentence in slow(prepared):
        progress.say(sentence)
    if recorded is not None:
        check_unchanged(folder, recorded, prepared, extend)
    elif config.export != "none":
        _say_what_is_not_exported(prepared, progress)
    evidence = gathered(prepared, folder, recorded, progress.say)
    check_parent(prepared, None if fresh else folder / PARENT_NAME)
    interruption = interruption or Interruption()
    with interruption.listening():
        progress.say(f"starting the {config.engine} engine")
        with open_engine(config, interruption, progress.say) as engine:
            interruption.check()
            plan, baseline = _calibrated(prepared, recorded, engine, progress)
            if fresh:
                put_aside(folder, progress.say)
            _run_stages(folder, recorded, prepared, plan, baseline, evidence, engine, progress, interruption, began)
    run = Run(folder)
    if not run.view.complete and lost(run.view):
        raise WorkerLost(f"{folder}: every training was lost with its worker; the same command tries them again")
    if not run.view.complete and unreached(config, run.view) is not None and not run.view.failures:
        spent, options = way_on(config, run.view)
        raise BudgetSpent(f"{spent} is spent and no training has ended: go on with {' '.join(options)}")
    if not run.view.complete:
        raise nothing_completed(run.view)
    return run


def _copy_once(folder: Path, config: SearchConfig, say: Callable[[str], None]) -> None:
    """Of a complete run: its copies may be asked for now only, or the last ones may have failed."""
    if config.backup is not None:
        with Backup(folder / FILE_NAME, config.backup, 3600.0, say):
            pass
    if config.storage is not None:
        with Storage(folder, config.storage, say):
            pass


def _say_what_is_not_exported(prepared: Prepared, progress: Progress) -> None:
    """Before anything is trained."""
    from nas.export.probing import left_out

    for name, why in left_out(prepared.space, progress.say).items():
        progress.say(f"will not be exported: {name}: {why}")


def _calibrated(
    prepared: Prepared, recorded: RunView | None, engine: Engine, progress: Progress
) -> tuple[TrialPlan, Costs]:
    """The plan of the trials, and what all-add costs; its latency where trials wait for it.

    Raises NothingFeasible where not even the fastest architecture is within the latency budget.
    """
    config, profile, plan = prepared.config, prepared.profile, prepared.plan()
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
    check_latency_budget(prepared, constraints, baseline)
    limit = next((c.limit(baseline) for c in constraints if c.metric == "latency_ms"), None)
    gate = limit if profile is None else None
    return replace(plan, max_latency_ms=gate, nominal_latency_ms=baseline.latency_ms), baseline


def _run_stages(
    folder: Path,
    recorded: RunView | None,
    prepared: Prepared,
    plan: TrialPlan,
    baseline: Costs,
    evidence: Sequence[Evidence],
    engine: Engine,
    progress: Progress,
    interruption: Interruption,
    began: float,
) -> None:
    before = None if recorded is None else recorded.config
    with open_store(folder, prepared, baseline, before, progress.say, evidence) as store, ExitStack() as beside:
        take_over(folder, store)
        crashes = Crashes(store.get("crashes"), lambda texts: store.put({"crashes": texts}), folder)
        if (ended := crashes.take_over()) is not None:
            progress.say(f"the last session ended in the midst of a training: {ended}")
        engine.remember(crashes)
        remove_unfinished(folder)
        prepared_s = time.monotonic() - began
        planner = Planner(
            prepared, store, lambda: RunView.of(folder, store), progress.say, engine.workers, prepared_s
        )  # fmt: skip
        session = store.begin_session(_circumstances(prepared.config, engine, prepared_s))
        if (copies := prepared.config.backup) is not None:
            every_s = 60 * prepared.config.backup_minutes
            beside.enter_context(Backup(folder / FILE_NAME, copies, every_s, progress.say))
        outcome = "failed"
        search = Search(folder, store, prepared, plan, engine, progress, interruption, planner)
        beat = Beat(folder, session, planner.ledger.held, store.check_held) if prepared.config.timed else nullcontext()
        place = prepared.config.storage
        stored = nullcontext() if place is None else Storage(folder, place, progress.say)
        try:
            with beat, stored:
                for stage in stages():
                    if planner.lost:
                        break  # what comes after the looks would judge a field that is not whole
                    if stage.missing(search):
                        stage.run(search)
            outcome = "complete" if unreached(prepared.config, search.view) is None else "budget"
            if planner.lost:
                outcome = "lost"
                whose = "its worker" if planner.lost == 1 else "their workers"
                progress.say(
                    f"{counted(planner.lost, 'training')} lost with {whose}, again and again: the same command tries "
                    "again"
                )
        except Interrupted:
            outcome = "interrupted"
            raise
        finally:
            store.end_session(session, outcome)


def _why_ended(recorded: RunView) -> str:
    ended = (recorded.effort_plan or {}).get("ended")
    return "no unseen architecture was left to try" if ended is None else str(ended["text"])


def lost(view: RunView) -> bool:
    """Whether the last session ended because trainings were lost with their workers: the next one tries them again."""
    return bool(view.sessions) and view.sessions[-1].outcome == "lost"


def nothing_left(recorded: RunView, config: SearchConfig) -> bool:
    """Whether nothing is left of what the search may take."""
    pairs = (
        (recorded.effort.seconds, config.max_seconds), (recorded.effort.device_seconds, config.max_device_seconds),
    )  # fmt: skip
    return any(limit is not None and taken >= limit for taken, limit in pairs)


def _circumstances(config: SearchConfig, engine: Engine, prepared_s: float) -> dict[str, Any]:
    found: dict[str, Any] = {"engine": config.engine, "workers": engine.workers, "device": config.device}
    if config.timed:
        found |= {"devices": devices_of(config), "prepared_s": round(prepared_s, 3)}
    program = Path(sys.argv[0]).name
    return found | ({"command": [program, *sys.argv[1:]]} if program == "nas" else {})
