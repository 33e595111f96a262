"""The command line. Narration goes to stderr, data to stdout; everything here is a function of the library.

Only click is imported at start: `nas --help` answers at once, each command imports what it needs.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path

import click

from nas.cli.bench import bench
from nas.cli.cluster import cluster
from nas.cli.exports import retrain, verify
from nas.cli.latency import latency
from nas.cli.networks import discover, spaces
from nas.cli.reporting import compare, report, watch
from nas.cli.runs import export, optuna, recover, reprice, show, status
from nas.cli.searching import check, doctor, search
from nas.cli.studies import ablate, attention, finalists, noise, trust

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
#: The commands under the headings of the program's help.
_COMMANDS: dict[str, tuple[click.Command, ...]] = {
    "Before a search": (doctor, spaces, discover, check, cluster),
    "A search": (search, status, watch),
    "What it found": (show, report, compare, reprice, optuna, recover),
    "The model": (export, verify, retrain),
    "How far to trust it": (finalists, noise, trust, ablate, attention),
    "On a device": (latency,),
    "Which method searches best": (bench,),
}


def main() -> None:
    """The `nas` program: runs a command and turns what a user can mend into one line and an exit code."""
    from search_spaces.errors import UserError
    from trials.whole_files import FULL, disk_full

    if sys.stdout is None or sys.stderr is None:  # closed by whoever started us
        silence = Path(os.devnull).open("w")  # noqa: SIM115  # for as long as the program runs
        sys.stdout, sys.stderr = sys.stdout or silence, sys.stderr or silence
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="surrogateescape")  # a file's name need not be UTF-8, and comes out as it is
    # Before torch is imported anywhere: threads that spin on a shared machine slow every trial down.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that half-made files are removed
    try:
        sys.exit(commands(prog_name="nas", standalone_mode=False))
    except UserError as error:
        _end(f"nas: {error}", error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _end("nas: interrupted; give the same command again", 130)
    except BrokenPipeError:  # `nas show | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno in FULL:
            _end(
                f"nas: {disk_full(error.filename or 'the output, or a file of the run, of TMPDIR or of the caches')}", 1
            )
        if error.filename is None:
            raise
        _end(f"nas: {error.filename}: {error.strerror}", 2)


def _end(line: str, code: int) -> None:
    click.echo(line, err=True)
    sys.exit(code)


class Program(click.Group):
    """Its help lists the commands by purpose, each with the whole of its first sentence."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, found in _COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(one.name or "", one.get_short_help_str(limit=200)) for one in found])


@click.group(cls=Program, context_settings=_CONTEXT)
@click.version_option(package_name="fusion-nas", prog_name="nas")
def commands() -> None:
    """Search which fusion operator belongs at each place where a vision network merges two features.

    \b
    nas check                       what would be searched, and how long it takes
    nas search --out runs/first     search; the same command goes on where it stopped
    nas report runs/first           the Pareto front as one HTML page
    nas export runs/first knee      a model that needs only torch, or only ONNX Runtime

    Each command takes --help. Exit codes: 0 ok, 1 failed, 2 bad usage or configuration, 3 nothing feasible,
    4 hours spent before a verdict, 5 storage damaged, 130/143 interrupted with everything saved.
    """


for _command in (command for found in _COMMANDS.values() for command in found):
    commands.add_command(_command)
