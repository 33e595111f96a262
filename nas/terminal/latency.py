"""Latencies and device profiles as a person reads them in a terminal, and how far measuring them is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from nas.tools.latency.measuring import Measured
    from trials.latency import Measurement
    from trials.profile import DeviceProfile

#: Where no terminal draws a bar, a line after each tenth of the work.
_LINES = 10


@contextmanager
def measuring_on(stderr: Console) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on a terminal, else a line now and then; what is yielded is told what is done, and how much of it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None, visible=False)

        def advance(text: str, done: int, total: int | None) -> None:
            bar.update(task, description=text, completed=done, total=total, visible=True)
            if not stderr.is_terminal and total and done and done * _LINES // total > (done - 1) * _LINES // total:
                stderr.print(f"{text}: {done} of {total}")

        yield advance


def print_profile(console: Console, profile: DeviceProfile) -> None:
    """What a profile is of, and its error."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, text in profile.describe().items():
        table.add_row(name, text)
    console.print(table)


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
