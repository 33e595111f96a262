"""Noise and trust as a person reads them in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from reports.noise import NOISE_COLUMNS, NOISE_LEGEND, NoiseFloor, advice_text, noise_floors, noise_rows
from reports.regime import regime_story
from reports.trust import AGREEMENT_COLUMNS, AGREEMENT_LEGEND, agreement_rows, trust_of, trust_story
from reports.view import RunView


def print_noise(console: Console, floors: Sequence[NoiseFloor], advice: Mapping[str, Any] | None) -> None:
    """A line for each fidelity and metric, and the recommendation."""
    if not floors:
        console.print("the noise is not measured yet: the baseline has fewer than two seeds")
        return
    print_table(console, NOISE_COLUMNS, noise_rows(floors))
    console.print(NOISE_LEGEND)
    if advice is not None:
        console.print(advice_text(advice))


def print_trust(console: Console, view: RunView) -> None:
    """The noise where it is known, the agreements, and what follows for the ranking."""
    floors, trust = noise_floors(view), trust_of(view)
    if floors:
        print_noise(console, floors, view.advice)
        console.print()
    if trust is not None and trust.agreements:
        print_table(console, AGREEMENT_COLUMNS, agreement_rows(trust))
        console.print(AGREEMENT_LEGEND)
        console.print()
    for sentence in (*regime_story(view), *trust_story(view)):
        console.print(sentence, markup=False)


def print_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table of texts."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    console.print(table)
