"""What `nas check` found, as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from nas.terminal.networks import not_varied, notes, points_table
from reports.formatting import (
    format_bytes,
    format_count,
    format_duration,
    format_ms,
    format_percent,
    format_power,
    format_share,
)
from reports.precision import precision_text
from trials.data.findings import sentences


def print_check(console: Console, found: dict[str, Any]) -> None:
    """The dry run of `nas check`."""
    data = found["data"]
    parts = ", ".join(f"{data[split]:,} {split}" for split in ("train", "val", "test") if data[split] is not None)
    console.print(f"{data['name']}: {len(data['classes'])} classes, {parts} images", markup=False, highlight=False)
    for sentence in [*sentences(data.get("findings", {})), *_scene_facts(data)]:
        console.print(f"data: {sentence}", markup=False, highlight=False, soft_wrap=True)
    console.print(points_table(found["points"]))
    for line in notes(found["points"]):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in not_varied(found["not_varied"]):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for note in found["notes"]:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    for name, reason in found["not_exported"].items():
        console.print(f"not exported: {name}: {reason}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"\n{len(found['points'])} points; {_feasible_text(found)}", highlight=False)
    if found["budgets"]:
        console.print(_binding_text(found), highlight=False)
    costs = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("", "FLOPs", "elementwise", "params", "moved", "inference", "training", "p50", "p95"):
        costs.add_column(name, justify="left" if not name else "right")
    mark = "≈" if found["latency_of"] else ""
    for name, cost in found["costs"].items():
        latency = cost["latency_ms"]
        costs.add_row(
            name, format_count(cost["macs"]), format_count(cost["elementwise_ops"]), format_count(cost["params"]),
            *(format_bytes(cost[key]) for key in ("bytes_moved", "inference_bytes", "training_bytes")),
            f"{mark if latency['stable'] else '~'}{format_ms(latency['p50'])}", format_ms(latency["p95"]),
        )  # fmt: skip
    console.print(costs)
    console.print(
        "elementwise: pooling, norms and elementwise work, within FLOPs; moved: bytes read and written, nothing fused; "
        "inference, training: activations at the peak and saved for each image, estimated\n"
        f"counted for {'x'.join(map(str, found['counting']['input_shape']))} with {found['counting']['counter']}; "
        f"{_fvcore_text(found['counting'])}",
        highlight=False,
    )
    if found["latency_of"]:
        console.print(f"≈ predicted for {found['latency_of']}", markup=False, highlight=False)
    if not all(cost["latency_ms"]["stable"] for cost in found["costs"].values()):
        console.print("~ a latency that was measured once, on a machine that was not quiet; a search tries again")
    speeds = ", ".join(f"{name} {speed:,.0f} images/s" for name, speed in found["images_per_second"].items())
    shared = f" after {format_duration(found['estimated_shared_seconds'])} for what all start from"
    console.print(
        f"training: {speeds}; about {format_duration(found['estimated_trial_seconds'])} a trial, "
        f"{format_duration(found['estimated_search_seconds'])} for {found['trials']} trials "
        f"on {found['workers']} worker{'' if found['workers'] == 1 else 's'}"
        f"{shared if found['estimated_shared_seconds'] else ''}",
        highlight=False,
    )
    if finals := found.get("estimated_final_seconds"):
        least, most = map(format_duration, finals)
        console.print(f"finalists: {least} more, up to {most} while the verdict is open", highlight=False)
    console.print(f"plan: {found['plan']['text']}", highlight=False, soft_wrap=True)
    for sentence in found["warnings"]:
        console.print(f"warning: {sentence}", style="yellow", highlight=False, soft_wrap=True)
    if found["precision"] is not None:
        console.print(f"trials train in {precision_text(found['precision'])}", highlight=False)
    if found["noise"] is not None:
        console.print(f"noise, as measured in {found['noise']['run']}:", markup=False, highlight=False)
        for sentence in found["noise"]["story"]:
            console.print(f"  {sentence}", highlight=False)


def _fvcore_text(counting: Mapping[str, Any]) -> str:
    ours, theirs = counting["products"], counting["products_by_fvcore"]
    if theirs is None:
        return f"in the convolutions and products of all-add we count {ours:,}; fvcore itself cannot count this network"
    text = f"fvcore itself counts {theirs:,} in the convolutions and products of all-add"
    return f"{text}, as we do" if ours == theirs else f"{text}, we {ours:,}: one of us has no count for some operations"


def _scene_facts(data: Mapping[str, Any]) -> list[str]:
    """Of scenes: what was left out, and how large the objects are that AP is told of."""
    facts = []
    if data.get("dropped"):
        facts.append("left out: " + ", ".join(f"{kind} {count:,}" for kind, count in data["dropped"].items()))
    if "objects_by_size" in data:
        sizes = ", ".join(f"{count:,} {size}" for size, count in data["objects_by_size"].items())
        facts.append(f"objects in the validation images, by area in the originals: {sizes}")
    return facts


def _feasible_text(found: dict[str, Any]) -> str:
    feasible = found["feasible"]
    size = feasible["size"]
    shares = [format_share(feasible[bound], size) for bound in ("at_least", "at_most")]
    share = shares[0] if shares[0] == shares[1] else f"between {shares[0]} and {shares[1]}"
    return f"{share} of {format_power(size)} architectures are feasible"


def _binding_text(found: dict[str, Any]) -> str:
    """Which budget cuts most, with what is known of each."""
    binding = found["binding"]
    drawn = {"latency_ms": f" of {binding['latency_drawn']:,} drawn"} if binding["latency_drawn"] else {}
    known = [
        f"{name} leaves {'about ' if name in drawn else ''}{format_percent(share, 1)}{drawn.get(name, '')}"
        for name, share in binding["counted"].items()
    ]
    over = binding["latency_over"]
    if over is not None and "latency_ms" not in binding["counted"]:
        names = f"of those below, {', '.join(over)} are over it" if over else "none of those below is over it"
        known.append(f"latency_ms is measured trial by trial: {names}")
    may = "" if binding["certain"] else ", unless latency_ms does"
    bound = "no budget binds" if binding["metric"] is None else f"{binding['metric']} binds most{may}"
    return f"{', '.join(found['budgets'])}: {bound} ({'; '.join(known)})"
