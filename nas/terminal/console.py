"""The terminal that commands print to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console(stderr: bool = False) -> Console:
    """stdout, or stderr. No markup and no emoji: names and errors may hold brackets and colons (`masks:three:`)."""
    from rich.console import Console

    class Printing(Console):
        def on_broken_pipe(self) -> None:
            """Left to whoever runs the command: `nas show | head` is no failure."""
            raise BrokenPipeError

    # A pipe has no width of its own.
    wide = None if stderr or sys.stdout.isatty() or "COLUMNS" in os.environ else 240
    return Printing(stderr=stderr, width=wide, markup=False, highlight=False, emoji=False)


def narrator(console: Console) -> Callable[[str], None]:
    """What tells a line there as it is, however long."""
    return lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)
