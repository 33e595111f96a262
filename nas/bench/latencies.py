"""`nas bench latency`: measures the architectures of a table where it stands, by the protocol of `trials.latency`.

Each is kept in the table's file as soon as it is measured, so the same command goes on where it stopped; what did not
come out steady is measured again. All figures of a runtime are of one device, one protocol and the same versions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nas.bench.errors import BenchError
from nas.bench.table import Table
from nas.bench.table_file import Contents, read_table, write_table
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.latency import LatencyBench, Target
from trials.latency.conditions import describe_device, observe, versions
from trials.trial import LatencyProtocol

#: In which the architectures of a table are measured, unless others are asked for.
RUNTIMES = ("eager", "onnxruntime")


@dataclass(frozen=True)
class Measured:
    """How far a table's latencies are in one runtime: measured, steady, of so many architectures, on a device."""

    runtime: str
    device: str
    measured: int
    steady: int
    architectures: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_latencies(
    file: Path,
    runtimes: Sequence[str] = RUNTIMES,
    most: int | None = None,
    fresh: bool = False,
    device: str = "cpu",
    say: Callable[[str], None] = lambda line: None,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measured]:
    """Measure what the table in `file` lacks, at most `most` architectures in each runtime; `fresh`: all of them anew.

    Raises:
        BenchError: it is no table, or was measured on another device, or otherwise.
        LatencyError, DeviceError, SpaceError: a runtime or a device that is not to be had here.
    """
    table = Table.load(file)
    space = SearchSpace.from_json({k: v for k, v in table.header["space"].items() if k != "fingerprint"})
    architectures = list(table.architectures())
    known = {} if fresh else dict(table.header["latencies"])
    targets = {runtime: Target(device, runtime) for runtime in runtimes}
    for runtime, target in targets.items():
        known[runtime] = _begun(file, known.get(runtime), target)
    todo = {runtime: _missing(known[runtime], architectures)[:most] for runtime in runtimes}
    total, done = sum(map(len, todo.values())), 0
    for runtime, waiting in todo.items():
        warning = observe(targets[runtime]).warning if waiting else None
        if warning is not None:
            say(f"note: {warning}")
        bench = LatencyBench(space, targets[runtime], LatencyProtocol()) if waiting else None
        for architecture in waiting:
            assert bench is not None
            _measure(bench, architecture, known[runtime])
            write_table(file, _with_latencies(file, known))
            done += 1
            told(done, total)
    return [measured(runtime, known[runtime], len(architectures)) for runtime in runtimes]


def measured(runtime: str, found: Mapping[str, Any], architectures: int) -> Measured:
    """Of what a table's header has of a runtime."""
    there = found["architectures"].values()
    return Measured(
        runtime, found["device"]["name"], len(there), sum(one["stable"] for one in there), architectures
    )  # fmt: skip


def _begun(file: Path, known: Mapping[str, Any] | None, target: Target) -> dict[str, Any]:
    """What holds for all figures of a runtime, with those that are there. Raises BenchError where it is another."""
    common = {
        "device": describe_device(target), "target": target.to_json(), "protocol": asdict(LatencyProtocol()),
        "versions": versions(target),
    }  # fmt: skip
    if known is None:
        return {**common, "baseline_ms": None, "architectures": {}}
    for name, value in common.items():
        then, now = (one["name"] if name == "device" else one for one in (known[name], value))
        if then != now:
            raise BenchError(
                f"{file}: latencies in {target.runtime} were measured with another {name} ({then}, here {now}): "
                "measure there, or all of them anew with --fresh"
            )
    return {**known, "architectures": dict(known["architectures"])}


def _missing(known: Mapping[str, Any], architectures: Sequence[Architecture]) -> list[Architecture]:
    """What was not measured first, then what was not steady."""
    there = known["architectures"]
    return [one for one in architectures if one.key not in there] + [
        one for one in architectures if one.key in there and not there[one.key]["stable"]
    ]


def _measure(bench: LatencyBench, architecture: Architecture, known: dict[str, Any]) -> None:
    """Beside all-add, whose first p50 is what all others are tied to."""
    if known["baseline_ms"] is None:
        known["baseline_ms"] = bench.measure(bench.space.baseline).latency.reference_p50_ms
    latency = bench.measure(architecture, known["baseline_ms"]).latency
    known["architectures"][architecture.key] = {
        "p50_ms": latency.p50_ms, "p95_ms": latency.p95_ms, "stable": latency.stable,
        "relative_error": latency.standard_error(bench.protocol.block),
    }  # fmt: skip


def _with_latencies(file: Path, known: Mapping[str, Any]) -> Contents:
    contents = read_table(file)
    begun = {runtime: found for runtime, found in known.items() if found["architectures"]}
    return replace(contents, header={**contents.header, "latencies": begun})
