"""`nas reprice`: a run's trials under other budgets or on another device, without training anything."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nas.settings.errors import ConfigError
from nas.settings.loading import load_config
from nas.settings.search import SearchConfig
from reports.finalists import chosen
from reports.view import RunView
from trials.budgets.constraints import Costs
from trials.machine.target import Target
from trials.profile.device_profile import DeviceProfile
from trials.record.file import FILE_NAME, PARENT_NAME, copy_record
from trials.record.store import Store
from trials.trial import FinalMeasurement, Latency

#: What may be changed: everything else decides what was trained.
KEYS = ("max_flops", "max_params", "max_latency", "minimum", "objectives", "latency_profile")
PROFILE_NAME = "latency-profile.json"
CONFIG_NAME = "search.toml"


@dataclass(frozen=True)
class Repriced:
    """A run as it would be: its view, and what a record of it would hold.

    `target` is what its measured latencies are of, None where none count.
    """

    view: RunView
    config: SearchConfig
    measurements: Sequence[FinalMeasurement]
    target: str | None


@dataclass(frozen=True)
class _RecordedSpace:
    name: str
    fingerprint: str


def reprice(run: Path, changes: Mapping[str, Any], measured: Path | None = None) -> Repriced:
    """The run under `changes` of `KEYS`; a budget of "none" is dropped.

    Args:
        measured: the output of `nas latency --json` for architectures of the run, from the device that counts.

    Raises:
        ConfigError: a change that is none of these, or not allowed.
        ProfileError: a profile of another space, or damaged.
        StoreError: no readable run.
    """
    before = RunView.load(run).estimated()
    config = _changed(before, changes)
    given = None if config.latency_profile is None else _profile(before, config, "latency_profile" in changes)
    protocol = before.description.get("latency_protocol", {})
    view = replace(
        before,
        config=config.to_json(),
        description={
            **before.description,
            "objectives": list(config.objectives),
            "latency_protocol": protocol if given is None else asdict(given.latency_protocol()),
        },
        constraints=config.constraints(),
        profile=given,
        baseline=_baseline(before, given),
        measured=before.measured if given == before.profile else {},
        final_stage=None,
    )
    target = before.latency_target if given == before.profile else None
    measurements = [] if measured is None else _measurements(measured, view)
    if measurements:
        expected = target if given is None else given.target_label
        if expected not in (None, measurements[0].target):
            raise ConfigError(
                f"--measured {measured}: of {measurements[0].target}; the latencies of {run} are of {expected}: give "
                "the --latency-profile of that device beside it"
            )
        target = measurements[0].target
    for measurement in measurements:
        view = view.with_measurement(measurement)
    return Repriced(view, config, measurements, target)


def write(repriced: Repriced, source: Path, out: Path) -> Path:
    """Make a run of it in the new folder `out`, with its weights; returns the configuration that goes on with it.

    Raises ConfigError when `out` is there already.
    """
    if out.exists():
        raise ConfigError(f"--out: {out} exists; give a new folder")
    unfinished = out.with_name(f".{out.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        settings = repriced.config.to_json() | {"out": str(out)}
        profile = repriced.view.profile
        if profile is not None:
            profile.save(unfinished / PROFILE_NAME)
            settings["latency_profile"] = str(out / PROFILE_NAME)
        (unfinished / CONFIG_NAME).write_text(to_toml(settings), encoding="utf-8")
        copy_record(source / FILE_NAME, unfinished / FILE_NAME)
        with Store.open_for_writing(unfinished / FILE_NAME) as store:
            store.put(_identity(repriced, load_config(unfinished / CONFIG_NAME, {})))
            for measurement in repriced.measurements:
                store.append_measurement(measurement)
        _share_weights(source, unfinished)
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return out / CONFIG_NAME


def _changed(before: RunView, changes: Mapping[str, Any]) -> SearchConfig:
    unknown = [key for key in changes if key not in KEYS]
    if unknown:
        raise ConfigError(f"{unknown[0]} cannot be repriced, it decides what was trained; give {', '.join(KEYS)}")
    kept = {key: value for key, value in before.config.items() if value is not None}
    given = {key: None if value == "none" else value for key, value in changes.items()}
    return load_config(None, {**_flat(kept), **given})


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sections as `section.key`, what is not set left out."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        inner = value.items() if isinstance(value, Mapping) else ()
        flat |= {f"{key}.{name}": part for name, part in inner if part is not None}
        if not isinstance(value, Mapping):
            flat[key] = value
    return flat


def _profile(before: RunView, config: SearchConfig, is_new: bool) -> DeviceProfile | None:
    if not is_new:
        return before.profile  # as it was when the run was recorded, wherever the file is now
    assert config.latency_profile is not None
    profile = DeviceProfile.load(config.latency_profile)
    space = before.description["space"]
    profile.check_space(_RecordedSpace(space["name"], space.get("fingerprint", "of an older version")))
    return profile


def _baseline(before: RunView, profile: DeviceProfile | None) -> Costs | None:
    if before.baseline is None or profile == before.profile:
        return before.baseline
    if profile is not None:
        return replace(before.baseline, latency_ms=profile.baseline_ms)
    screened = next((r.latency for r in before.results if r.origin == "baseline" and r.latency is not None), None)
    return replace(before.baseline, latency_ms=None if screened is None else screened.nominal_reference_p50_ms)


def _measurements(path: Path, view: RunView) -> list[FinalMeasurement]:
    """The measurements of the run's architectures in the output of `nas latency --json`."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        target = Target(**{key: data["target"][key] for key in ("device", "runtime", "dtype", "threads")})
        label = target.of(data["device"]["name"], int(data["protocol"]["batch_size"]))
        fingerprint = data["space"]["fingerprint"]
        rows = [(row["key"], Latency(**row["latency"]), dict(row["conditions"])) for row in data["architectures"]]
        for _, latency, _ in rows:
            latency.check()
    except OSError as error:
        raise ConfigError(f"--measured {path}: cannot be read ({error.strerror}); give a file") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--measured {path}: not the output of nas latency --json ({type(error).__name__}: {error})"
        ) from None
    recorded = view.description["space"].get("fingerprint")
    if fingerprint != recorded:
        raise ConfigError(
            f"--measured {path}: of another space (fingerprint {fingerprint}, the run's is {recorded}); measure with "
            f"nas latency --architectures {view.path}:front"
        )
    numbers = {trial.result.architecture.key: trial.result.number for trial in view.complete}
    found = [FinalMeasurement(numbers[key], label, m, conditions) for key, m, conditions in rows if key in numbers]
    if not found:
        raise ConfigError(f"--measured {path}: holds no architecture of a complete trial of {view.path}")
    return found


def _identity(repriced: Repriced, config: SearchConfig) -> dict[str, Any]:
    view = repriced.view
    done = not view.to_measure
    return {
        "config": config.to_json(),
        "constraints": [constraint.to_json() for constraint in view.constraints],
        "description": dict(view.description),
        "baseline": None if view.baseline is None else view.baseline.to_json(),
        "latency_profile": None if view.profile is None else view.profile.to_json(),
        "final_stage": {"measured": len(view.measured), "ended_at": time.time()} if done else None,
        "latency_target": repriced.target,
        "precision": view.precision,
        "effort_plan": None,
        "finals": view.finals_plan if _same_finalists(view, config) else None,
    }


def _same_finalists(view: RunView, config: SearchConfig) -> bool:
    """Whether the finalists would be those that were judged, under the budgets of now."""
    return view.finals_plan is not None and [
        trial.result.number for trial in chosen(view, config.wanted_finalists)
    ] == list(view.finals_plan["trials"])


def _share_weights(source: Path, target: Path) -> None:
    """All weights, what they started from, and what finalists made of images."""
    kept = ("weights/*.safetensors", "finals/*.npz", PARENT_NAME)
    for path in sorted(path for pattern in kept for path in source.glob(pattern)):
        shared = target / path.relative_to(source)
        shared.parent.mkdir(exist_ok=True)
        try:
            os.link(path, shared)
        except OSError:  # another disk
            shutil.copy2(path, shared)


def to_toml(settings: Mapping[str, Any]) -> str:
    """Settings of a configuration as TOML; JSON's texts, numbers and lists are TOML's."""
    plain = [(key, value) for key, value in settings.items() if not isinstance(value, Mapping)]
    tables = [(key, value) for key, value in settings.items() if isinstance(value, Mapping)]
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain if value is not None]
    for name, table in tables:
        known = [f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None]
        lines += ["", f"[{name}]", *known] if known else []
    return "\n".join(lines) + "\n"
