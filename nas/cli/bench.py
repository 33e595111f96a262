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


_edition = click.option(
    "--edition", default="cpu", show_default=True, metavar="NAME", help="What is trained: cpu or gpu."
)


@bench.command()
@click.option("--data", required=True, metavar="NAME", help="The images: folder:DIR of CIFAR-10's, as for nas search.")
@click.option("--out", default="runs/fusionbench", show_default=True, metavar="DIR", help="The record's folder.")
@click.option(
    "--table", metavar="FILE", default=None, help="What a new record begins with, or none.  [default: this package's]"
)
@_edition
@json_option
def build(data: str, out: str, table: str | None, edition: str, as_json: bool) -> None:
    """Train what the table lacks, at the lowest priority; the same command goes on where it stopped."""
    from nas.bench.building import build as build_table
    from nas.bench.editions import edition_named
    from nas.bench.packing import beginning
    from nas.terminal.trainings import narrator

    chosen, told = edition_named(edition), narrator()
    begin = beginning(chosen, table, told.say)
    os.nice(_NICENESS)
    done = interruptible(lambda interruption: build_table(chosen, data, Path(out), begin, told, interruption))
    if as_json:
        click.echo(json.dumps({"there": done.there, "wanted": done.wanted, "failed": done.failed, "out": out}))
    else:
        click.echo(f"{done.there} of {done.wanted} trainings are in {out}, {done.failed} of them failed")


@bench.command()
@click.argument("record", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@_edition
@json_option
def pack(record: Path, file: Path, edition: str, as_json: bool) -> None:
    """Write the table of RECORD, a folder of nas bench build, to FILE; also while it is being built."""
    from nas.bench.editions import edition_named
    from nas.bench.packing import contents_of
    from nas.bench.table_file import write_table

    contents = contents_of(record, edition_named(edition))
    write_table(file, contents)
    done = {
        "file": str(file), "bytes": file.stat().st_size, "trainings": len(contents.trainings),
        "with_images": len(contents.images),
    }  # fmt: skip
    if as_json:
        click.echo(json.dumps(done))
    else:
        click.echo(
            f"{file}: {done['trainings']} trainings, {done['with_images']} of them image by image, "
            f"{file.stat().st_size / 1e6:.1f} MB"
        )
