"""An export's formats side by side, as a person reads them in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from reports.formatting import format_bytes, format_ms


def print_benchmark(console: Console, parity: Mapping[str, Any]) -> None:
    """Size, what it scores on the whole split, p50 and p95 of each artefact; the reason of each that is not there."""
    accuracy, figures = parity["accuracy"], parity["figures"]
    score = next(iter(figures.keys() - {"images", "tolerance", "equal", "all"}), "") if figures else "accuracy"
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("format", "size", score, "p50", "p95", "furthest"):
        table.add_column(name, justify="left" if name == "format" else "right")
    for name, found in parity["artefacts"].items():
        if accuracy is not None:
            told = f"{accuracy['correct'][name] / accuracy['images']:.2%}"
        else:
            value = figures[score].get(name) if figures else None
            told = "–" if value is None else f"{value:.4f}"
        time = found["latency_ms"]
        furthest = max(row["relative"] for row in found["batches"])
        table.add_row(
            name, format_bytes(found["bytes"]), told, format_ms(time["p50"]), format_ms(time["p95"]), f"{furthest:.1e}"
        )
    console.print(table)
    for name, why in parity["left_out"].items():
        console.print(f"{name}: left out: {why}", soft_wrap=True)
    console.print(f"latency: {parity['latency_protocol']}; promised: {parity['promised_latency_ms'] or 'none'}")
