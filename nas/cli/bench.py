"""`nas bench`: the table of real trainings that search methods are compared on. Only click is imported at start."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from nas.cli.interrupting import interruptible
from nas.cli.options import json_option

#: The lowest priority: a table is built beside other work.
_NICENESS = 19


@click.group()
def bench() -> None:
    """A table of real trainings of fusion operators, and what is made and judged with it."""


@bench.command()
@click.option("--data", required=True, metavar="NAME", help="The images: folder:DIR of CIFAR-10's, as for nas search.")
@click.option("--out", default="runs/fusionbench", show_default=True, metavar="DIR", help="The record's folder.")
@click.option("--edition", default="cpu", show_default=True, metavar="NAME", help="What is trained: cpu or gpu.")
@json_option
def build(data: str, out: str, edition: str, as_json: bool) -> None:
    """Train what the table lacks, at the lowest priority; the same command goes on where it stopped."""
    from nas.bench.building import build as build_table
    from nas.bench.editions import edition_named
    from nas.terminal.trainings import narrator

    chosen = edition_named(edition)
    os.nice(_NICENESS)
    done = interruptible(
        lambda interruption: build_table(
            chosen, data, Path(out), lambda prepared, record: None, narrator(), interruption
        )
    )
    if as_json:
        click.echo(json.dumps({"there": done.there, "wanted": done.wanted, "failed": done.failed, "out": out}))
    else:
        click.echo(f"{done.there} of {done.wanted} trainings are in {out}, {done.failed} of them failed")
