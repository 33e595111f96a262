"""What a command says that was interrupted: that all is saved, and the command that goes on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from nas.settings.search import SearchConfig

Result = TypeVar("Result")


def interruptible(
    work: Callable[[Any], Result],
    saved: str = "every ended training is saved",
    again: Callable[[], str] = lambda: same_command(),
) -> Result:
    """Run it with an interruption; after Ctrl-C or SIGTERM, say what is saved and how to go on, and exit."""
    from nas.engines.interruption import Interrupted, Interruption

    interruption = Interruption(f"nas: interrupted again, and ended at once; {saved}\n")
    try:
        with interruption.listening():
            return work(interruption)
    except Interrupted as interrupted:
        click.echo(f"nas: interrupted ({interrupted}); {saved}. Go on with:\n  {again()}", err=True)
        sys.exit(interrupted.exit_code)


def same_command(fresh: bool = False) -> str:
    """The command line that was given, which goes on where it stopped; `--fresh` only where it is still to do."""
    return shlex.join(["nas", *(argument for argument in sys.argv[1:] if fresh or argument != "--fresh")])


def way_on(config: SearchConfig, fresh: bool, began: float, as_json: bool) -> str:
    """The command that goes on with a search: of its run as soon as that has recorded what is searched, else the same.

    Args:
        fresh: whether an earlier run was to be put aside; `began`: when the command was given, in seconds.
    """
    from reports import RunView
    from trials.errors import StoreError

    try:
        view = RunView.load(config.out)
    except StoreError:
        return same_command(fresh)
    put_aside = not fresh or (bool(view.sessions) and view.sessions[0].started_at >= began)
    if not put_aside or dict(view.config) != config.begun_with(view.config).to_json():
        return same_command(not put_aside)
    return shlex.join(["nas", "search", "--resume", config.out, *(["--json"] if as_json else [])])
