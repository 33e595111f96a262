"""A run under way, live in the terminal: read from its record, which is never held up."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from nas.terminal.runs import print_status
from reports.front_text import front_lines
from reports.keeping import at_a_look
from reports.view import RunView
from trials.record.file import is_active


def watch_run(console: Console, run: Path, every: float) -> None:
    """Show its status and its front anew every so many seconds, until no search is at it.

    Where the output is no terminal, what has changed is printed below what stood before.
    """
    if not console.is_terminal:
        shown = ""
        while True:
            active, now = is_active(run), _status(console, run)
            if now.plain != shown:
                console.print(now)
                shown = now.plain
            if not active:
                return
            time.sleep(every)
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while True:
            active = is_active(run)
            live.update(_status(console, run), refresh=True)
            if not active:
                return
            time.sleep(every)


def _status(console: Console, run: Path) -> Text:
    view = RunView.load(run)
    told = at_a_look(view)
    with console.capture() as captured:
        print_status(console, view, is_active(run), told)
        for line in front_lines(told, min(console.width, 100), 12):
            console.print(line, markup=False, highlight=False)
    return Text.from_ansi(captured.get().rstrip("\n"))
