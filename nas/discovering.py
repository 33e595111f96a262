"""`nas discover`: the fusion points of one network, or the survey of eleven, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from nas.points import not_varied, notes, points_table
from reports.formatting import format_size
from search_spaces.discovery import DiscoveredSpace, examine
from search_spaces.discovery.loading import load_model
from search_spaces.errors import SpaceError

if TYPE_CHECKING:
    from rich.console import Console


def discover_model(
    reference: str, channels: int, size: int, operators: Sequence[str], reductions: Sequence[int]
) -> DiscoveredSpace:
    """The space of the network that `reference` names, without points when nothing in it can be varied.

    Raises SpaceError when it cannot be loaded or traced, or the size is not positive.
    """
    for option, value in (("--channels", channels), ("--size", size)):
        if value <= 0:
            raise SpaceError(f"{option}: given {value}; expected a whole number above 0")
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, channels, size, size, generator=generator)
    return examine(load_model(reference), images, operators, reductions, name=reference)


def print_discovered(console: Console, space: DiscoveredSpace) -> None:
    """The points, then what is not varied by reason."""
    console.print(f"{space.name}: {len(space.points)} points, {format_size(space.size)} architectures")
    if space.points:
        points = [point.to_json() for point in space.points]
        console.print(points_table(points))
        for line in notes(points):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in not_varied([place.to_json() for place in space.not_varied]):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for note in space.notes:
        console.print(f"note: {note}", highlight=False)


def print_survey(console: Console, rows: Iterable[dict[str, Any]]) -> None:
    """One line for each network, see `search_spaces.discovery.survey`."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("model", "merges", "varied", "architectures", "max |diff|", "not varied, and why"):
        table.add_column(name, justify="right" if name in ("merges", "architectures", "max |diff|") else "left")
    for row in rows:
        if "error" in row:
            table.add_row(row["model"], "-", "-", "-", "-", row["error"])
            continue
        varied = ", ".join(f"{count} {kind}" for kind, count in row["points"].items()) or "none"
        why = "; ".join(f"{count}: {reason}" for reason, count in row["not_varied"].items()) or "-"
        worst = f"{max(row['difference'].values()):.1g}"
        table.add_row(row["model"], str(row["merges"]), varied, format_size(row["size"]), worst, why)
    console.print(table)
    console.print("max |diff|: all-add against the original on two random images, in evaluation and in training")
