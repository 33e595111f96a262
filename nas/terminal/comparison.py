"""Runs side by side, as a person reads them in a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def print_comparison(console: Console, found: dict[str, Any]) -> None:
    """What `reports.comparison.compared` found."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    for run in found["runs"]:
        table.add_column(run["name"], overflow="fold")
    for name, cells in found["rows"]:
        table.add_row(name, *cells)
    console.print(table, markup=False, highlight=False)
    for sentence in found["story"]:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    if found["differences"]:
        settings = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title="settings that differ")
        settings.title_justify = "left"
        settings.add_column("")
        for run in found["runs"]:
            settings.add_column(run["name"], overflow="fold")
        for name, cells in found["differences"]:
            settings.add_row(name, *cells)
        console.print(settings, markup=False, highlight=False)
