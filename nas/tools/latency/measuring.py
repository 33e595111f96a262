"""`nas latency` as a function: measure, and show as a table or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from nas.tools.latency.selecting import Named, make_space, select
from nas.tools.latency.settings import LatencySettings
from search_spaces.space import SearchSpace
from trials.errors import LatencyError, ProfileError
from trials.latency import LatencyBench, Measurement, Target
from trials.latency.conditions import describe_device, observe, versions
from trials.profile import DeviceProfile, make_profile
from trials.trial import LatencyProtocol

if TYPE_CHECKING:
    from rich.console import Console

#: Where no terminal draws a bar, a line after each tenth of the work.
_LINES = 10


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
    settings: LatencySettings, references: Sequence[str], sample: int | None, profile_path: Path | None, stderr: Console
) -> Measured:
    """Measure the architectures that `references` and `sample` name, telling on stderr how far it is."""
    profile = None if profile_path is None else DeviceProfile.load(profile_path)
    space, named = select(settings.space, references, sample, settings.seed)
    if profile is not None:
        _check_profile(profile, space, settings, stderr)
    _tell_conditions(settings.target, stderr)
    bench = LatencyBench(space, settings.target, settings.protocol)
    nominal = bench.measure(space.baseline).latency.reference_p50_ms
    measurements = []
    with _progress(stderr, f"measuring on {bench.target}", len(named)) as advance:
        for one in named:
            measurements.append(bench.measure(one.architecture, nominal))
            advance()
    predicted = [] if profile is None else [profile.predict_ms(one.architecture) for one in named]
    return Measured(
        space, bench.target, bench.protocol, describe_device(bench.target), versions(bench.target), named,
        measurements, predicted,
    )  # fmt: skip


def make(settings: LatencySettings, out: Path, sample: int, stderr: Console) -> DeviceProfile:
    """Make a profile and write it, telling on stderr how far it is."""
    if not out.absolute().parent.is_dir():
        raise ProfileError(f"--out: {out.parent} is no folder; give a file in one that exists, such as cpu.json")
    if out.exists():
        DeviceProfile.load(out)  # only what is one is replaced
    space = make_space(settings.space)
    _tell_conditions(settings.target, stderr)
    with _progress(stderr, f"profiling {space.name} on {settings.target}", None) as advance:
        return make_profile(
            space, settings.target, settings.protocol, out, sample, settings.seed,
            lambda done, total, measurement: advance(done, total),
        )  # fmt: skip


def _check_profile(profile: DeviceProfile, space: SearchSpace, settings: LatencySettings, stderr: Console) -> None:
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
        stderr.print(f"note: {mismatch}", soft_wrap=True)


def _tell_conditions(target: Target, stderr: Console) -> None:
    warning = observe(target).warning
    if warning is not None:
        stderr.print(f"note: {warning}", soft_wrap=True)


@contextmanager
def _progress(stderr: Console, text: str, total: int | None) -> Iterator[Any]:
    """A bar on a terminal, else a line now and then; what is yielded is called after each piece of work."""
    done = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as bar:
        task = bar.add_task(text, total=total)

        def advance(now: int | None = None, of: int | None = None) -> None:
            nonlocal done
            done = done + 1 if now is None else now
            all_of_it = total if of is None else of
            bar.update(task, completed=done, total=all_of_it)
            if not stderr.is_terminal and all_of_it and done * _LINES // all_of_it > (done - 1) * _LINES // all_of_it:
                stderr.print(f"{text}: {done} of {all_of_it}")

        yield advance


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


def print_measured(console: Console, found: Measured) -> None:
    """A line for each architecture under what all of them have in common."""
    spec = found.space.input
    console.print(
        f"{found.space.name}, {spec.channels}x{spec.size}x{spec.size}, batch {found.protocol.batch_size}, on "
        f"{found.device['name']} ({found.target}); "
        + ", ".join(f"{name} {version}" for name, version in found.versions.items()),
        soft_wrap=True,
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    names = ["architecture", "p50", "error", "p95", "IQR", "beside add", "passes", "prepared in"]
    for name in [*names, *(["predicted"] if found.predicted_ms else [])]:
        table.add_column(name, justify="left" if name == "architecture" else "right")
    for index, (one, m) in enumerate(zip(found.named, found.measurements, strict=True)):
        r = m.latency
        row = [
            one.label, f"{'' if r.stable else '~'}{r.p50_ms:.3f} ms", f"± {r.standard_error(found.protocol.block):.1%}",
            f"{r.p95_ms:.3f} ms", f"{r.spread * r.p50_ms:.3f} ms", f"{m.relative:.3f}x", str(r.passes),
            f"{m.prepare_seconds:.1f} s",
        ]  # fmt: skip
        if found.predicted_ms:
            row.append(f"{found.predicted_ms[index]:.3f} ms")
        table.add_row(*row)
    console.print(table)
    if found.measurements:
        console.print(_conditions_text(found.measurements))
    if not all(m.latency.stable for m in found.measurements):
        console.print(
            f"~ unreliable: it drifts by more than {found.protocol.max_drift:.0%} or its IQR is above "
            f"{found.protocol.max_spread:.0%} of the median, in {found.protocol.attempts} attempts; "
            "stop other work and repeat",
            soft_wrap=True,
        )


def _conditions_text(measurements: Sequence[Measurement]) -> str:
    """Ranges of what the machine told while it measured."""
    read = {
        "clock": ([m.conditions.clock_mhz for m in measurements], "{:.0f}", "MHz"),
        "temperature": ([m.conditions.temperature_c for m in measurements], "{:.0f}", "°C"),
        "others' work": ([m.conditions.foreign_share for m in measurements], "{:.0%}", "of the device"),
    }
    parts = []
    for name, (values, form, unit) in read.items():
        known = [value for value in values if value is not None]
        if not known:
            parts.append(f"{name} not readable")
            continue
        low, high = form.format(min(known)), form.format(max(known))
        parts.append(f"{name} {low if low == high else f'{low} to {high}'} {unit}")
    return ", ".join(parts)
