"""`nas bench`: the table of real trainings that search methods are compared on. Only click is imported at start."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from nas.cli.interrupting import interruptible
from nas.cli.options import LIST, SettingOption, SettingsCommand, given_settings, json_option, options_of
from nas.cli.pilot import pilot


@click.group()
def bench() -> None:
    """A table of real trainings of fusion operators, and what is made and judged with it."""


bench.add_command(pilot)

_edition = click.option(
    "--edition", default="cpu", show_default=True, metavar="NAME", help="What is trained: cpu, gpu or nine-point."
)


def _places() -> list[SettingOption]:
    engine = options_of("engine", default="local, or ray where more is said")
    return [*engine(), *options_of("workers", "ray.address", "ray.gpus_per_trial")()]


@bench.command(cls=SettingsCommand, settings=_places)
@click.option("--data", required=True, metavar="NAME", help="The images: folder:DIR of CIFAR-10's, as for nas search.")
@click.option("--out", default="runs/fusionbench", show_default=True, metavar="DIR", help="The record's folder.")
@click.option(
    "--table", metavar="FILE", default=None, help="What a new record begins with, or none.  [default: this package's]"
)
@click.option("--dry-run", is_flag=True, help="Say what is missing, and train nothing.")
@_edition
@json_option
def build(data: str, out: str, table: str | None, dry_run: bool, edition: str, as_json: bool, **place: Any) -> None:
    """Train what the table lacks, at the lowest priority; the same command goes on where it stopped.

    One training at a time. With `--workers N`, or on a cluster's nodes (`--address`), Ray runs several side by side.
    """
    from nas.bench.building import Site, outlook
    from nas.bench.building import build as build_table
    from nas.bench.editions import edition_named
    from nas.bench.packing import beginning, known_of
    from nas.terminal.trainings import narrator
    from trials.machine.priority import give_way

    chosen, told = edition_named(edition), narrator()
    if dry_run:
        ahead = outlook(chosen, known_of(Path(out), chosen, table))
        if as_json:
            click.echo(json.dumps(asdict(ahead)))
            return
        click.echo(f"{ahead.space}: {ahead.architectures} architectures, {ahead.seeds} seeds")
        for name in ahead.wanted:
            click.echo(
                f"{name}: {ahead.missing[name]} of {ahead.wanted[name]} are missing, {ahead.images[name]:,} images"
            )
        return
    begin, (where, _) = beginning(chosen, table, told.say), given_settings(place)
    site = Site(data, Path(out), {"engine": "ray", **where} if where else {})
    give_way()
    done = interruptible(lambda interruption: build_table(chosen, site, begin, told, interruption))
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
    """Write the table of RECORD, a folder of nas bench build, to FILE; also while it is being built.

    Where FILE is a table already, the latencies that it has stay.
    """
    from nas.bench.editions import edition_named
    from nas.bench.packing import contents_of
    from nas.bench.table_file import write_table

    contents = contents_of(record, edition_named(edition), file)
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


@bench.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--runtimes", type=LIST, default=(), metavar="A,B,…", help="[default: eager,onnxruntime]")
@click.option("--architectures", type=click.IntRange(min=1), metavar="N", help="At most so many.  [default: all]")
@click.option("--device", default="cpu", show_default=True, metavar="DEVICE", help="cpu, cuda or cuda:N.")
@click.option("--fresh", is_flag=True, help="Measure anew what was measured, on another device, say.")
@json_option
def latency(
    file: Path, runtimes: Sequence[str], architectures: int | None, device: str, fresh: bool, as_json: bool
) -> None:
    """Measure the architectures of the table FILE on this machine, and keep their p50 in it.

    One thread, one image, interleaved with all-add; other work on the machine is in the figures, so let it rest. The
    same command goes on where it stopped, and measures again what was not steady.
    """
    from nas.bench.latencies import RUNTIMES, measure_latencies
    from nas.terminal.bench import counting
    from nas.terminal.console import console, narrator

    stderr = console(stderr=True)
    with counting(stderr, "measuring") as progress:
        found = measure_latencies(file, runtimes or RUNTIMES, architectures, fresh, device, narrator(stderr), progress)
    if as_json:
        click.echo(json.dumps([one.to_json() for one in found]))
        return
    for one in found:
        click.echo(
            f"{one.runtime}: {one.measured} of {one.architectures} architectures measured on {one.device}, "
            f"{one.measured - one.steady} of them unsteady"
        )


_table = click.option("--table", metavar="FILE", default=None, help="Another table than this package's.")


@bench.command()
@_table
@json_option
def show(table: str | None, as_json: bool) -> None:
    """What is in the table, how noisy it is, how its looks rank, and what operators are worth."""
    from nas.bench.operators import operator_effects
    from nas.bench.table import opened
    from nas.terminal.bench import print_datasheet
    from nas.terminal.console import console

    there = opened(table)
    effects = operator_effects(there)
    if as_json:
        header = {key: value for key, value in there.header.items() if key != "architectures"}
        click.echo(json.dumps({**header, "operators": [effect.to_json() for effect in effects]}, indent=2))
    else:
        print_datasheet(console(), there, effects)


@bench.command()
@click.argument("architecture")
@click.argument("fidelity")
@click.argument("seed", type=int)
@_table
@json_option
def query(architecture: str, fidelity: str, seed: int, table: str | None, as_json: bool) -> None:
    """What came of one training: ARCHITECTURE is a choice for each point, such as add,cbam/4,cbam/16."""
    from nas.bench.table import opened
    from nas.terminal.bench import answer_text

    there = opened(table)
    found = there.query(architecture, fidelity, seed)
    if as_json:
        click.echo(json.dumps(found.to_json() | {"price": there.price(architecture).to_json()}))
    else:
        click.echo(answer_text(found, there.price(architecture)))


@bench.command()
@click.option("--quick", is_flag=True, help="One budget, 20 seeds: a minute or two on two cores.")
@click.option("--methods", type=LIST, default=(), metavar="A,B,…", help="Only these, or MODULE:CLASS.  [default: all]")
@click.option("--seeds", type=click.IntRange(min=2), metavar="N", help="Searches of each.  [default: 20 or 50]")
@click.option(
    "--truth", "truths", type=LIST, default=(), metavar="F,F,…",
    help="Fidelities that recommendations are judged by.  [default: the table's long schedules]",
)  # fmt: skip
@click.option("--processes", type=click.IntRange(min=1), metavar="P", help="Side by side.  [default: one a core]")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Keep each finished search, and the page.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="The page.  [default: in --out]")
@_table
@json_option
def compare(
    quick: bool,
    methods: Sequence[str],
    seeds: int | None,
    truths: Sequence[str],
    processes: int | None,
    out: Path | None,
    html: Path | None,
    table: str | None,
    as_json: bool,
) -> None:
    """Let search methods search in the table's world and in two planted ones, and say which finds what.

    Nothing is trained. Figures have 95 % intervals over seeds, all methods face the same noise. With --out the same
    command goes on where it stopped.
    """
    from nas.bench.arena.compare import compare as compare_methods
    from nas.bench.arena.compare import comparison_of, left_out
    from nas.bench.arena.page import PAGE, write_page
    from nas.bench.table import opened
    from nas.terminal.bench import counting, print_comparison
    from nas.terminal.console import console
    from trials.cores import cores

    there, wanted = opened(table), comparison_of(quick, methods, seeds, truths)
    for line in () if methods else left_out(quick):
        click.echo(line, err=True)
    with counting(console(stderr=True), "searching") as progress:
        found = compare_methods(there, wanted, processes or cores(), progress, out)
    page = html or (None if out is None else out / PAGE)
    if page is not None:
        write_page(found, page)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    else:
        print_comparison(console(), found)
        if page is not None:
            click.echo(f"\nthe page: {page}")
