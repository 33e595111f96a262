"""The commands of `nas cluster`. Only click is imported at start."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from nas.cli.options import (
    SettingsCommand,
    config_argument,
    every_option,
    given_settings,
    json_option,
    set_option,
)
from nas.terminal.console import console


@click.group()
def cluster() -> None:
    """Is a cluster fit to search on?"""


@cluster.command(cls=SettingsCommand, settings=every_option(without=("export", "backup", "storage", "log")))
@config_argument
@set_option
@click.option(
    "--within", type=click.FloatRange(min=1), default=60.0, metavar="SECONDS", show_default=True,
    help="How long the nodes are waited for.",
)  # fmt: skip
@json_option
def check(config: Path | None, assignments: Sequence[str], within: float, as_json: bool, **given: Any) -> None:
    """Ask every node for versions, devices, disks, locks, clock, data and space. Exit code 1 when something is wrong.

    CONFIG and options are those of the search that is to run there. Without --address it is the cluster that this
    machine belongs to. Nothing is trained and no run is written.
    """
    from nas.settings.loading import load_config
    from nas.terminal.cluster import print_checked
    from nas.tools.cluster.checking import check as ask_nodes

    settings, named = given_settings(given, assignments)
    checked = ask_nodes(load_config(config, settings, named), lambda line: click.echo(line, err=True), within)
    if as_json:
        click.echo(json.dumps(checked.to_json(), indent=2))
    else:
        print_checked(console(), checked)
    sys.exit(0 if checked.fit else 1)
