"""`nas bench pilot`: which look tells operators apart on a task, and what it costs. Only click is imported at start."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from nas.cli.interrupting import interruptible
from nas.cli.options import (
    LIST,
    WHOLE_NUMBERS,
    InALine,
    SettingOption,
    SettingsCommand,
    given_settings,
    json_option,
    option_of,
    set_option,
)
from nas.settings.errors import ConfigError
from nas.settings.values import read_list

_KEYS = (
    "space", "operators", "reductions", "points", "tie", "data", "data_dir", "image_size", "train_images", "device",
    "training.batch_size", "training.precision", "training.parent", "training.parent_epochs",
)  # fmt: skip
NUMBERS = InALine("numbers", lambda text: [float(part) for part in read_list(text)])


def _of_settings() -> list[SettingOption]:
    found = [option_of(key) for key in _KEYS]
    return sorted(found, key=lambda option: option.heading)


@click.command(cls=SettingsCommand, settings=_of_settings)
@set_option
@click.option("--out", default="runs/pilot", show_default=True, metavar="DIR", help="The pilot's folder.")
@click.option("--starts", type=LIST, metavar="A,B,…", help="Some of scratch, inherit, supernet.  [default: all]")
@click.option("--epochs", type=WHOLE_NUMBERS, metavar="E,E,…", help="Epochs of each look.  [default: 3]")
@click.option("--long-epochs", type=int, metavar="E", help="Epochs of the truth, from new weights.  [default: 9]")
@click.option(
    "--trunk-rates", type=NUMBERS, metavar="R,R,…",
    help="Inherited networks' highest rates, in multiples of a new one's.  [default: 0.25,1]",
)  # fmt: skip
@click.option(
    "--fusion-rates", type=NUMBERS, metavar="R,R,…",
    help="Their new operators' rates, in multiples of that.  [default: 1,10]",
)  # fmt: skip
@click.option("--architectures", type=int, metavar="N", help="Networks to tell apart.  [default: 12]")
@click.option("--seeds", type=int, metavar="K", help="Seeds of each.  [default: 3]")
@click.option("--dry-run", is_flag=True, help="Say what is missing, and train nothing.")
@click.option(
    "--show",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Train nothing: what a pilot's FILE or folder tells.",
)
@json_option
def pilot(assignments: Sequence[str], out: str, dry_run: bool, show: Path | None, as_json: bool, **given: Any) -> None:
    """Train some networks in every way of starting, and say which look tells them apart, and for how many images.

    The lowest priority; the same command goes on where it stopped.
    """
    own = {
        name: value
        for name in ("starts", "epochs", "long_epochs", "trunk_rates", "fusion_rates", "architectures", "seeds")
        if (value := given.pop(name)) is not None
    }
    settings, _ = given_settings(given, assignments)
    if show is not None:
        if settings or own or dry_run:
            raise ConfigError("--show tells what was trained: give it alone")
        _print(show, as_json)
        return
    from nas.bench.pilot.plan import Pilot
    from nas.bench.pilot.running import outlook, run_pilot
    from nas.terminal.trainings import narrator
    from trials.machine.priority import give_way

    wanted, told = Pilot(settings, **own), narrator()
    if dry_run:
        ahead = outlook(wanted, Path(out), told)
        if as_json:
            click.echo(json.dumps(asdict(ahead)))
            return
        click.echo(f"{ahead.architectures} architectures, {ahead.seeds} seeds")
        for name, count in ahead.wanted.items():
            click.echo(f"{name}: {ahead.missing[name]} of {count} are missing, {ahead.images[name]:,} images")
        return
    give_way()
    done = interruptible(lambda interruption: run_pilot(wanted, Path(out), told, interruption))
    told.say(f"{done.there} of {done.wanted} trainings are in {out}, {done.failed} of them failed")
    _print(Path(out), as_json)


def _print(path: Path, as_json: bool) -> None:
    from nas.bench.pilot.analysis import analyse
    from nas.bench.pilot.readings import read_readings
    from nas.terminal.console import console
    from nas.terminal.pilot import print_pilot

    there = read_readings(path)
    found = analyse(there.readings)
    if as_json:
        click.echo(json.dumps({"of": dict(there.header), **found.to_json()}, indent=2))
    else:
        print_pilot(console(), there.header, found)
