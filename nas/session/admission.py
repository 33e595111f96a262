"""Whether a search may begin or go on where it is told to: what is there, and whether that is the same search."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.planning.spent import decided_under
from nas.settings.changes import differences, may_extend, moved
from nas.settings.errors import ConfigError
from nas.settings.search import SearchConfig
from nas.trainings.prepared import Prepared, describe
from nas.trainings.sameness import check_same, check_versions, versions
from reports.errors import NothingFeasible
from reports.recorded import recorded_config
from reports.view import RunView
from trials.budgets.constraints import Constraint, Costs
from trials.budgets.feasibility import in_short
from trials.errors import DiskFull, RunInUse, StoreBusy, StoreError
from trials.profile import DeviceProfile, fastest_predicted
from trials.record.backups import why_not
from trials.record.evidence import Evidence
from trials.record.file import FILE_NAME, LOCK_NAME, is_active, locked, network_file_system
from trials.record.making import is_unfinished
from trials.record.store import Store
from trials.trial import TrialState


def admitted(folder: Path, config: SearchConfig, extend: bool, fresh: bool) -> RunView | None:
    """What is recorded of the search that is to go on in the folder; None where it begins there.

    Raises:
        ConfigError: the folder cannot be written to, or holds something else, or a run of another configuration; or
            what is to be the copy of its record is a record.
        RunInUse: it is being searched now.
        StoreError: its record cannot be used.
    """
    _check_writable(folder)
    if config.backup is not None and (why := why_not(config.backup, folder / FILE_NAME)) is not None:
        raise ConfigError(f"--backup: given {config.backup}, but {why}; give another")
    recorded = _recorded(folder, fresh)
    if recorded is not None:
        _check_same(folder, recorded, config, extend)
    return recorded


def begun_configuration(folder: Path) -> Mapping[str, Any] | None:
    """The configuration of the run that the folder holds, None where it holds none. Raises StoreError."""
    if not (folder / FILE_NAME).exists():
        return None
    with Store.open(folder / FILE_NAME) as store:
        found: Mapping[str, Any] = recorded_config(store)
        return found


def check_unchanged(folder: Path, recorded: RunView, prepared: Prepared, extend: bool) -> None:
    """Raises ConfigError where data, space, versions or device profile are not those of the recorded trials."""
    check_same(folder, recorded.description, prepared)
    if not extend:
        check_versions(folder, recorded.description)
    if not extend and _other_profile(recorded, prepared.profile):
        raise ConfigError(
            f"{folder}: the device profile {prepared.config.latency_profile} is not the one that the run began with; "
            "--extend goes on with this one, --fresh starts over"
        )


def _other_profile(recorded: RunView, profile: DeviceProfile | None) -> bool:
    known = None if recorded.profile is None else recorded.profile.to_json()
    return known != (None if profile is None else profile.to_json())


def check_latency_budget(prepared: Prepared, constraints: tuple[Constraint, ...], baseline: Costs) -> None:
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
        if fresh and locked(folder):  # of this machine's; another's, whose clock is not this one's, `put_aside` sees
            raise RunInUse(f"{folder} is being searched now: wait for it, or choose another --out")
        return None if fresh else RunView.load(folder)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out: {folder} is a file; give a folder that is new or holds a run")
    # A search that was killed while it made its record leaves these.
    leftovers = [p.name for p in folder.glob("*") if p.name != LOCK_NAME and not is_unfinished(p.name)]
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
    if extend and config.wanted_trials < trained:
        given = f"trials: given {config.wanted_trials}"
        raise ConfigError(f"{given}, but {folder} has trained {trained}; give at least that")
    if not extend:
        raise ConfigError(
            f"{folder} holds a run of another configuration ({shown}); --extend goes on with what is given, "
            "--fresh puts it aside and starts over"
        )


def is_complete(recorded: RunView, config: SearchConfig) -> bool:
    """Whether nothing is left to do, nor to be looked at: what is elsewhere now may not be the same."""
    given, again = config.to_json(), decided_under(recorded.effort_plan, config)
    if again is False or (again is None and not _judged(recorded, config)):
        return False
    return recorded.finished and not differences(recorded.config, given) and not moved(recorded.config, given)


def _judged(recorded: RunView, config: SearchConfig) -> bool:
    """Whether as many finalists as are wanted now were judged, under as many seeds."""
    wanted, plan = config.wanted_finalists, recorded.finals_plan
    if not wanted or not recorded.complete:
        return True
    if plan is None or plan["ended_at"] is None:
        return False
    asked = (plan["wanted"], plan["least"], len(plan["seeds"]))
    return all(
        there >= one
        for there, one in zip(asked, (wanted, config.finalist_seeds, len(config.seeds_of_finalists)), strict=True)
    )


def put_aside(folder: Path, say: Callable[[str], None]) -> None:
    """Rename the folder of an earlier run, where one is. Raises RunInUse where it is being searched."""
    if not (folder / FILE_NAME).exists():
        return
    try:
        Store.open_for_writing(folder / FILE_NAME, say).close()  # whose it is, by no other machine's clock
    except (RunInUse, StoreBusy):
        raise
    except (StoreError, DiskFull):  # nobody can write to it, and --fresh does without
        if is_active(folder):
            raise RunInUse(f"{folder} is being searched now: wait for it, or choose another --out") from None
    place, number = folder.resolve(), 1
    while (aside := place.with_name(f"{place.name}.old-{number}")).exists():
        number += 1
    place.rename(aside)
    say(f"put the earlier run aside: {aside}")


def open_store(
    folder: Path,
    prepared: Prepared,
    baseline: Costs,
    before: Mapping[str, Any] | None,
    say: Callable[[str], None],
    evidence: Sequence[Evidence] = (),
) -> Store:
    path = folder / FILE_NAME
    config = prepared.config
    identity = {
        "config": config.to_json(),
        "constraints": [constraint.to_json() for constraint in config.constraints()],
        "description": describe(prepared) | {"environment": versions()},
        "baseline": baseline.to_json(),
        "latency_profile": None if prepared.profile is None else prepared.profile.to_json(),
        "evidence": [one.to_json() for one in evidence],
        "final_stage": None,
    }
    if path.exists():
        store = Store.open_for_writing(path, say)
        if recorded_config(store) != before:
            store.close()
            raise ConfigError(f"{folder}: another search has changed it meanwhile; give the command again")
        if store.get("latency_profile") != identity["latency_profile"]:
            identity["latency_target"] = None  # what was measured before is of another device, or protocol
        store.put(identity)
    else:
        folder.resolve().mkdir(parents=True, exist_ok=True)  # a link's target, which --fresh has put aside
        store = Store.create(path, identity, say)
    if kind := network_file_system(path):
        say(f"{path} is on a network file system ({kind}): SQLite uses a plain journal there, and one writer only")
    return store
