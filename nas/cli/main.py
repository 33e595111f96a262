"""The command line. Narration goes to stderr, data to stdout; everything here is a function of the library.

Only click is imported at start: `nas --help` answers at once, each command imports what it needs.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import click

from nas.cli.ablation_commands import ablate, attention
from nas.cli.latency import latency
from nas.cli.options import OBJECTIVES_HELP, configuration, json_option, minimums, search_options
from nas.cli.studies import noise, trust
from nas.terminal.console import console as _console

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def main() -> None:
    """The `nas` program: runs a command and turns what a user can mend into one line and an exit code."""
    from search_spaces.errors import UserError

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
        if error.filename is None:
            raise
        _end(f"nas: {error.filename}: {error.strerror}", 1 if error.errno == errno.ENOSPC else 2)


def _end(line: str, code: int) -> None:
    click.echo(line, err=True)
    sys.exit(code)


@click.group(context_settings=_CONTEXT)
@click.version_option(package_name="fusion-nas", prog_name="nas")
def commands() -> None:
    """Search which fusion operator belongs at each place where a vision network merges two features.

    \b
    nas check                       what would be searched, and how long it takes
    nas search --out runs/first     search; the same command goes on where it stopped
    nas report runs/first           the Pareto front as one HTML page
    nas export runs/first knee      a model that needs only torch, or only ONNX Runtime
    nas latency --space resnet20    what operators take on this device
    nas noise --out runs/first      what seeds alone do to a score
    nas trust runs/first            do short trials rank as longer ones do?
    nas ablate runs/first best      what each fusion of a trial contributes, and costs
    nas attention runs/first best   how its attention weights are distributed

    Exit codes: 0 ok, 1 failed, 2 bad usage or configuration, 3 nothing feasible, 5 storage damaged,
    130/143 interrupted with everything saved.
    """


@commands.command()
@search_options
@click.option("--out", metavar="DIR", help="The run's folder.  [default: runs/search]")
@click.option(
    "--export", metavar="SELECTOR", help="Export best, knee, fastest, cheapest or none at the end.  [default: knee]"
)
@click.option("--extend", is_flag=True, help="Go on in --out with other budgets, objectives, sampler or more trials.")
@click.option("--fresh", is_flag=True, help="Put an earlier run in --out aside (renamed) and start over.")
@json_option
def search(config: Path | None, extend: bool, fresh: bool, as_json: bool, **given: Any) -> None:
    """Search, or go on where an interrupted search stopped.

    CONFIG is a TOML file; options override it.
    """
    if extend and fresh:
        raise click.UsageError("--extend goes on with a run and --fresh starts over: give one of them")
    from nas.session.delivering import search_and_deliver

    code = search_and_deliver(configuration(config, given), extend, fresh, as_json, _console(stderr=True))
    sys.exit(code)


@commands.command()
@search_options
@click.option("--out", metavar="DIR", help="A run, whose measured noise is shown.  [default: runs/search]")
@json_option
def check(config: Path | None, as_json: bool, **given: Any) -> None:
    """Dry run: points, choices, size, feasible share, costs, one training step, estimated time.

    CONFIG is a TOML file; options override it. No run is written; images may be downloaded and cached.
    """
    from nas.terminal.check import print_check
    from nas.tools.check import check as dry_run

    settings = configuration(config, given)
    found = dry_run(settings, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        print_check(_console(), found)


@commands.command()
@json_option
def spaces(as_json: bool) -> None:
    """List the named search spaces."""
    from search_spaces.listing import list_spaces

    found = list_spaces()
    if as_json:
        click.echo(json.dumps({"spaces": found}, indent=2))
        return
    from rich.table import Table

    from reports.formatting import format_size

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("space", "points", "choices", "architectures", "input", "network"):
        table.add_column(name, justify="right" if name in ("points", "architectures") else "left")
    for space in found:
        low, high = min(space["choices"]), max(space["choices"])
        shape = f"{space['input']['channels']}x{space['input']['size']}x{space['input']['size']}"
        choices = str(low) if low == high else f"{low} to {high}"
        table.add_row(space["name"], str(space["points"]), choices, format_size(space["size"]), shape, space["summary"])
    _console().print(table)


@commands.command()
@click.argument("model", required=False)
@click.option("--size", default=224, metavar="PIXELS", show_default=True, help="Height and width of its images.")
@click.option("--channels", default=3, metavar="N", show_default=True, help="Channels of its images.")
@click.option("--operators", metavar="A,B,…", help="Offer only these fusion operators; add must be among them.")
@click.option("--reductions", metavar="R,R,…", help="Offer only these reduction ratios.  [default: 4,8,16]")
@click.option("--survey", is_flag=True, help="Instead of MODEL: what is found in eleven torchvision networks.")
@json_option
def discover(
    model: str | None,
    size: int,
    channels: int,
    operators: str | None,
    reductions: str | None,
    survey: bool,
    as_json: bool,
) -> None:
    """List the fusion points of MODEL, and what in it cannot be varied and why.

    MODEL is torchvision:NAME (randomly initialised) or FILE.py:OBJECT, an nn.Module or what returns one.
    """
    if survey == (model is not None):
        raise click.UsageError("give a MODEL or --survey")
    from nas.terminal.networks import print_discovered, print_survey
    from nas.tools.discover import discover_model
    from search_spaces import DEFAULT_OPERATORS, DEFAULT_REDUCTIONS
    from search_spaces.discovery.survey import survey as survey_networks
    from search_spaces.errors import SpaceError

    offered = DEFAULT_OPERATORS if operators is None else tuple(part.strip() for part in operators.split(","))
    try:
        ratios = DEFAULT_REDUCTIONS if reductions is None else tuple(int(part) for part in reductions.split(","))
    except ValueError:
        raise SpaceError(f"--reductions: given {reductions!r}; expected whole numbers such as 4,8,16") from None
    if model is None:
        rows = list(survey_networks(operators=offered, reductions=ratios))
        if as_json:
            click.echo(json.dumps({"survey": rows}, indent=2))
        else:
            print_survey(_console(), rows)
        return
    space = discover_model(model, channels, size, offered, ratios)
    if as_json:
        click.echo(json.dumps({**space.to_json(), "size": space.size}, indent=2))
    else:
        print_discovered(_console(), space)


@commands.command()
@click.argument("run", type=click.Path(path_type=Path))
@json_option
def status(run: Path, as_json: bool) -> None:
    """How far RUN is: trials, best so far, front, sessions."""
    from nas.terminal.runs import print_status
    from reports import RunView
    from reports.status import status_json
    from trials.record.file import is_active

    view = RunView.load(run)
    if as_json:
        click.echo(json.dumps(status_json(view, is_active(run)), indent=2))
    else:
        print_status(_console(), view, is_active(run))


@commands.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("trial", required=False)
@json_option
def show(run: Path, trial: str | None, as_json: bool) -> None:
    """The trials of RUN, or one: TRIAL is a number, best, knee, fastest or cheapest."""
    from nas.terminal.runs import print_run, print_trial
    from reports import RunView
    from reports.trust import trust_json

    view = RunView.load(run)
    chosen = None if trial is None else view.select(trial)
    if as_json:
        found = {**view.to_json(), "trust": trust_json(view)}
        if chosen is not None:
            found["trials"] = [chosen.to_json()]
        click.echo(json.dumps(found, indent=2))
    elif chosen is None:
        print_run(_console(), view)
    else:
        print_trial(_console(), view, chosen)


@commands.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--max-flops", metavar="BUDGET", help="Multiply-adds: 40M or 1.5x; none for no budget.")
@click.option("--max-params", metavar="BUDGET", help="Parameters: 0.5M or 1.1x; none for no budget.")
@click.option("--max-latency", metavar="BUDGET", help="p50 latency: 3ms or 1.05x; none for no budget.")
@click.option("--latency-profile", metavar="FILE", help="Of the device that latency is to be of; none for RUN's own.")
@click.option("--min", "minimum", metavar="F=V,…", help="Least figures of quality: accuracy=0.9; none for none.")
@click.option("--objectives", metavar="A,B,…", help=OBJECTIVES_HELP)
@click.option(
    "--measured", type=click.Path(path_type=Path), metavar="FILE", help="Output of nas latency --json from that device."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Make a run of it, which a search goes on.")
@json_option
def reprice(run: Path, measured: Path | None, out: Path | None, as_json: bool, **given: Any) -> None:
    """The front of RUN's trials under other budgets or on another device; nothing is trained.

    What is not given stays as RUN has it.
    """
    from nas.terminal.runs import print_run
    from nas.tools import reprice as repricing

    changes = {key: value for key, value in given.items() if value is not None}
    if "objectives" in changes:
        changes["objectives"] = [part.strip() for part in changes["objectives"].split(",") if part.strip()]
    if "minimum" in changes:
        changes["minimum"] = minimums(changes["minimum"])
    repriced = repricing.reprice(run, changes, measured)
    config = None if out is None else repricing.write(repriced, run, out)
    if as_json:
        click.echo(
            json.dumps({**repriced.view.to_json(), "written": None if config is None else str(config)}, indent=2)
        )
        return
    print_run(_console(), repriced.view)
    if config is not None:
        click.echo(f"written: {out}; go on with:\n  nas search {shlex.quote(str(config))}")


@commands.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="[default: RUN/report.html]")
@json_option
def report(run: Path, out: Path | None, as_json: bool) -> None:
    """Write RUN's report: one HTML page that opens offline."""
    from nas.run import Run

    path = Run(run).report(out)
    click.echo(json.dumps({"report": str(path)}) if as_json else str(path))


@commands.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("selector", default="knee")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="[default: RUN/exported]")
@json_option
def export(run: Path, selector: str, out: Path | None, as_json: bool) -> None:
    """Export a trial of RUN: weights, plain-PyTorch source, ONNX, each checked against the trained network.

    SELECTOR is a trial's number, best, knee (default), fastest or cheapest.
    """
    from nas.run import EXPORT_NAME, Run

    parity = Run(run).export(selector, out, lambda line: click.echo(line, err=True))
    target = out or run / EXPORT_NAME
    click.echo(json.dumps({"exported": str(target), "parity": parity}, indent=2) if as_json else str(target))


@commands.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs"), metavar="DIR", help="Where runs would be written."
)
@json_option
def doctor(out: Path, as_json: bool) -> None:
    """Is this machine fit to search? Exit code 1 when something is missing."""
    from nas.tools.doctor import examine

    findings = []
    for finding in examine(out):
        findings.append(finding)
        if not as_json:
            click.echo(f"{'ok     ' if finding.ok else 'MISSING'} {finding.name:<9} {finding.found}")
            if finding.mend and not finding.ok:
                click.echo(f"        mend: {finding.mend}")
    if as_json:
        click.echo(json.dumps({"findings": [finding.to_json() for finding in findings]}, indent=2))
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


for _command in (latency, noise, trust, ablate, attention):
    commands.add_command(_command)
