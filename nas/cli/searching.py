"""The commands of a search: `nas search`, its dry run `nas check`, `nas doctor`. Only click is imported at start."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli.interrupting import interruptible, way_on
from nas.cli.options import (
    SettingsCommand,
    config_argument,
    every_option,
    given_settings,
    json_option,
    option_of,
    set_option,
)
from nas.settings.errors import ConfigError
from nas.terminal.console import console, narrator

if TYPE_CHECKING:
    from nas.engines.interruption import Interruption
    from nas.session.delivering import Delivered
    from nas.settings.search import SearchConfig


@click.command(cls=SettingsCommand, settings=every_option())
@config_argument
@set_option
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with RUN as it was configured.")
@click.option("--extend", is_flag=True, help="Go on in --out with other budgets, objectives, sampler or more trials.")
@click.option("--fresh", is_flag=True, help="Put an earlier run in --out aside (renamed) and start over.")
@json_option
def search(
    config: Path | None,
    assignments: Sequence[str],
    resume: Path | None,
    extend: bool,
    fresh: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Search, or go on where an interrupted search stopped.

    CONFIG is a TOML file; options override it. The same command goes on with a run, and so does --resume RUN, from
    anywhere: beside it only what says where and how fast it runs may be given, and with --extend what may change.
    """
    if extend and fresh:
        raise ConfigError("--extend goes on with a run and --fresh starts over: give one of them")
    if resume is not None and fresh:
        raise ConfigError("--resume goes on with a run and --fresh starts over: give one of them")
    wanted = _wanted(config, resume, extend, *given_settings(given, assignments))
    began = time.time()
    delivered = interruptible(
        lambda interruption: _search(wanted, extend, fresh, interruption),
        "everything is saved",
        lambda: way_on(wanted, fresh, began, as_json),
    )
    if as_json:
        click.echo(json.dumps(delivered.to_json(), indent=2))
        _end_if_not_whole(wanted, delivered)
        return
    from nas.terminal.runs import print_summary
    from reports.verdict import verdict_of

    print_summary(console(stderr=True), delivered.run.view)
    if (verdict := verdict_of(delivered.run.view)) is not None:
        click.echo(f"verdict:  {verdict.text}")
    click.echo(f"report:   {delivered.report}")
    if delivered.exported is not None:
        click.echo(f"exported: {delivered.exported}/")
    _end_if_not_whole(wanted, delivered)


def _end_if_not_whole(config: SearchConfig, delivered: Delivered) -> None:
    """With exit code 1 where trainings were lost with their workers, and 4 where the hours were spent before the search
    came to what was asked."""
    from nas.planning.spent import BudgetSpent, unreached, way_on
    from nas.session.session import lost, nothing_left

    config, view = config.begun_with(delivered.run.view.config), delivered.run.view
    if lost(view) and not nothing_left(view, config):
        more = shlex.join(["nas", "search", "--resume", config.out])
        click.echo(
            f"nas: trainings were lost with their workers, so the search is not complete; everything else is saved. "
            f"Try them again with:\n  {more}",
            err=True,
        )
        sys.exit(1)
    if (lacking := unreached(config, view)) is not None:
        spent, options = way_on(config, view)
        more = shlex.join(["nas", "search", "--resume", config.out, *options])
        click.echo(
            f"nas: the budget is spent ({spent}), and {lacking}; everything is saved. Go on with:\n  {more}", err=True
        )
        sys.exit(BudgetSpent.exit_code)


def _wanted(
    config: Path | None, resume: Path | None, extend: bool, settings: Mapping[str, Any], named: Mapping[str, str]
) -> SearchConfig:
    from nas.settings.changes import resumed
    from nas.settings.loading import load_config

    if resume is None:
        return load_config(config, settings, named)
    if config is not None:
        raise ConfigError(f"--resume {resume} goes on with that run's own configuration: leave out {config}")
    from reports import RunView

    return resumed(RunView.load(resume).config, str(resume), settings, extend, named)


def _search(config: SearchConfig, extend: bool, fresh: bool, interruption: Interruption) -> Delivered:
    from nas.logs.log import Logged
    from nas.session.delivering import deliver
    from nas.session.session import run_search
    from nas.terminal.progress import progress_on

    stderr = console(stderr=True)
    with Logged(progress_on(stderr), config.log) as progress:
        run = run_search(config, progress, extend, fresh, interruption)
    return deliver(run, config.export, narrator(stderr))


@click.command(
    cls=SettingsCommand,
    settings=lambda: [
        *every_option(without=("out", "export", "backup", "storage", "log"))(),
        option_of("out", help="A run, whose measured noise is shown."),
    ],
)  # fmt: skip
@config_argument
@set_option
@json_option
def check(config: Path | None, assignments: Sequence[str], as_json: bool, **given: Any) -> None:
    """Dry run: points, choices, size, feasible share, costs, one training step, estimated time.

    CONFIG is a TOML file; options override it. No run is written; images may be downloaded and cached.
    """
    from nas.settings.loading import load_config
    from nas.terminal.check import print_check
    from nas.tools.check import check as dry_run

    settings, named = given_settings(given, assignments)
    found = dry_run(load_config(config, settings, named), lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        print_check(console(), found)


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs"), metavar="DIR", show_default=True,
    help="Where runs would be written.",
)  # fmt: skip
@json_option
def doctor(run: Path | None, out: Path, as_json: bool) -> None:
    """Is this machine fit to search? Of a RUN: is it whole?

    Of the machine, exit code 1 when something is missing. RUN is only read: its record's integrity, version and lease,
    sessions without an end, trainings, hashes, weights; exit code 5 when something is damaged.
    """
    if run is not None:
        _examine_run(run, as_json)
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


def _examine_run(run: Path, as_json: bool) -> None:
    """Says what is found of a run, and exits."""
    from nas.tools.run_doctor import Health, examine_run
    from trials.errors import StoreDamaged

    parts = []
    for part in examine_run(run):
        parts.append(part)
        if not as_json:
            click.echo(f"{part.health:<7} {part.name:<9} {part.found}")
            if part.mend:
                click.echo(f"        mend: {part.mend}")
    if as_json:
        click.echo(json.dumps({"parts": [part.to_json() for part in parts]}, indent=2))
    sys.exit(StoreDamaged.exit_code if any(part.health is Health.DAMAGED for part in parts) else 0)
