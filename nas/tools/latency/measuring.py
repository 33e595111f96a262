"""`nas latency` as functions: measure architectures, or make a profile, telling how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.tools.latency.selecting import Named, make_space, select
from nas.tools.latency.settings import LatencySettings
from search_spaces.space import SearchSpace
from trials.errors import LatencyError, ProfileError
from trials.latency import LatencyBench, Measurement, Target
from trials.latency.conditions import describe_device, observe, versions
from trials.profile import DeviceProfile, make_profile
from trials.trial import LatencyProtocol

Say = Callable[[str], None]
#: Is told what is done, how much of it is, and of how much; None while that is not known yet.
Advance = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Measured:
    """What was measured, all of it on one bench. `predicted_ms` is empty without a profile."""

    space: SearchSpace
    target: Target
    protocol: LatencyProtocol
    device: dict[str, Any]
    versions: dict[str, str]
    named: Sequence[Named]
    measurements: Sequence[Measurement]
    predicted_ms: Sequence[float]


def measure_all(
    settings: LatencySettings,
    references: Sequence[str],
    sample: int | None,
    profile_path: Path | None,
    say: Say,
    advance: Advance,
) -> Measured:
    """Measure the architectures that `references` and `sample` name, telling how far it is."""
    profile = None if profile_path is None else DeviceProfile.load(profile_path)
    space, named = select(settings.space, references, sample, settings.seed)
    if profile is not None:
        _check_profile(profile, space, settings, say)
    _tell_conditions(settings.target, say)
    bench = LatencyBench(space, settings.target, settings.protocol)
    nominal = bench.measure(space.baseline).latency.reference_p50_ms
    measurements: list[Measurement] = []
    advance(f"measuring on {bench.target}", 0, len(named))
    for one in named:
        measurements.append(bench.measure(one.architecture, nominal))
        advance(f"measuring on {bench.target}", len(measurements), len(named))
    predicted = [] if profile is None else [profile.predict_ms(one.architecture) for one in named]
    return Measured(
        space, bench.target, bench.protocol, describe_device(bench.target), versions(bench.target), named,
        measurements, predicted,
    )  # fmt: skip


def make(settings: LatencySettings, out: Path, sample: int, say: Say, advance: Advance) -> DeviceProfile:
    """Make a profile and write it, telling how far it is."""
    if not out.absolute().parent.is_dir():
        raise ProfileError(f"--out: {out.parent} is no folder; give a file in one that exists, such as cpu.json")
    if out.exists():
        DeviceProfile.load(out)  # only what is one is replaced
    space = make_space(settings.space)
    _tell_conditions(settings.target, say)
    text = f"profiling {space.name} on {settings.target}"
    advance(text, 0, None)
    return make_profile(
        space, settings.target, settings.protocol, out, sample, settings.seed,
        lambda done, total, measurement: advance(text, done, total),
    )  # fmt: skip


def _check_profile(profile: DeviceProfile, space: SearchSpace, settings: LatencySettings, say: Say) -> None:
    profile.check_space(space)
    target, given = profile.target, settings.target
    asked = (given.runtime, given.dtype, given.threads, settings.protocol.batch_size)
    if asked != (target.runtime, target.dtype, target.threads, target.batch_size):
        raise LatencyError(
            f"the profile is of {target.runtime}, {target.dtype}, batch {target.batch_size}, {target.threads} threads; "
            f"measure under the same: --runtime {target.runtime} --dtype {target.dtype} --batch {target.batch_size} "
            f"--threads {target.threads}"
        )
    mismatch = profile.device_mismatch(describe_device(given)["name"])
    if mismatch is not None:
        say(f"note: {mismatch}")


def _tell_conditions(target: Target, say: Say) -> None:
    warning = observe(target).warning
    if warning is not None:
        say(f"note: {warning}")


def report_json(found: Measured) -> dict[str, Any]:
    """Everything that was measured and what it belongs to."""
    rows = []
    for index, (one, m) in enumerate(zip(found.named, found.measurements, strict=True)):
        row = {"label": one.label, "key": one.architecture.key, **m.to_json(), "relative": m.relative}
        row["iqr_ms"] = m.latency.spread * m.latency.p50_ms
        row["relative_error"] = m.latency.standard_error(found.protocol.block)
        row["reliable"] = m.latency.stable
        if found.predicted_ms:
            row["predicted_ms"] = found.predicted_ms[index]
        rows.append(row)
    return {
        "space": found.space.to_json() | {"fingerprint": found.space.fingerprint},
        "target": found.target.to_json(),
        "protocol": asdict(found.protocol),
        "device": found.device,
        "versions": found.versions,
        "architectures": rows,
    }
