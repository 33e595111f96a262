"""A device profile as a person reads it in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from trials.profile import DeviceProfile


def print_profile(console: Console, profile: DeviceProfile) -> None:
    """What a profile is of, and its error."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, text in profile.describe().items():
        table.add_row(name, text)
    console.print(table)
