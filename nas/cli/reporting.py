"""The commands that tell of runs at length: report, compare, watch. Only click is imported at start."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nas.cli.options import json_option
from nas.terminal.console import console
from search_spaces.errors import UserError


class BadRequest(UserError, ValueError):
    """Arguments that do not go together."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="[default: report.FORMAT in RUN]")
@click.option(
    "--format", "form", type=click.Choice(["html", "md", "json", "csv", "svg", "png"]),
    help="html: one page that opens offline; json: the same, sealed; csv: trials; svg, png: the front [default: html]",
)  # fmt: skip
@click.option(
    "--all", "folder", type=click.Path(path_type=Path), metavar="RUNS_DIR", help="index.html of all runs in a folder."
)
@json_option
def report(run: Path | None, out: Path | None, form: str | None, folder: Path | None, as_json: bool) -> None:
    """Write RUN's report: one HTML page that opens offline.

    RUN is a run's folder, going on or ended, or a report's JSON, of which its page is made again.
    """
    if (run is None) == (folder is None):
        raise BadRequest("nas report takes a run, or --all and a folder of runs: give one of them")
    if folder is not None and form is not None:
        raise BadRequest("nas report --all writes pages, and takes no --format: give a run's folder in its place")
    form = form or "html"
    if folder is not None:
        from reports.index import write_index

        path = write_index(folder, out)
    elif run is not None and run.is_file():
        from reports.document import read_document
        from reports.formats import write_document

        path = write_document(read_document(run), out or run.with_suffix(f".{form}"), form)
    else:
        assert run is not None
        from nas.run import Run

        path = Run(run).report(out, form)
    click.echo(json.dumps({"report": str(path)}) if as_json else str(path))


@click.command()
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write a page of it too.")
@json_option
def compare(runs: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Compare RUNS: their fronts, hypervolume at equal budget, and settings that differ.

    A difference has a number only where space, data and fidelity match.
    """
    from nas.terminal.comparison import print_comparison
    from reports.comparison import compared, write_comparison

    if len(runs) < 2:
        raise BadRequest(f"nas compare takes two runs or more, given {len(runs)}")
    found = compared(runs)
    if out is not None:
        write_comparison(found, out)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        print_comparison(console(), found)
        if out is not None:
            click.echo(str(out))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--every", type=click.FloatRange(min=0.2), default=5.0, show_default=True, metavar="SECONDS",
    help="How often it is read anew.",
)  # fmt: skip
def watch(run: Path, every: float) -> None:
    """Show how far RUN is, live, until it ends; Ctrl-C leaves it alone."""
    from nas.terminal.watching import watch_run

    watch_run(console(), run, every)
