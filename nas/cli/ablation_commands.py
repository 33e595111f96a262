"""The commands `nas ablate` and `nas attention`. Only click is imported at start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nas.cli.options import json_option
from nas.cli.studies import interruptible
from nas.terminal.console import console


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("trial")
@click.option("--seeds", default=3, show_default=True, metavar="K", help="Trainings of each network.")
@click.option("--epochs", type=int, metavar="E", help="Epochs of each training.  [default: the trials']")
@click.option("--points", metavar="P,P,…", help="Revert only these fusion points or stages.  [default: all not add]")
@click.option(
    "--single/--no-single", default=None, help="Each operator of TRIAL everywhere.  [default: where it has at most 3]"
)
@click.option("--halves/--no-halves", default=True, show_default=True, help="Its early and its late fusions alone.")
@click.option("--engine", metavar="NAME", help="ray or local.  [default: RUN's]")
@click.option("--workers", type=int, metavar="W", help="Trainings side by side.  [default: RUN's]")
@click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.  [default: RUN's]")
@json_option
def ablate(
    run: Path,
    trial: str,
    seeds: int,
    epochs: int | None,
    points: str | None,
    single: bool | None,
    halves: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure what each fusion of TRIAL contributes, and what it costs.

    Trains it, all-add, it with one point reverted to add, its early and its late fusions alone, and its operators
    everywhere, under the same seeds; says how many trainings that is before it begins. TRIAL is a number, best, knee,
    fastest or cheapest. The same command goes on after an interruption.
    """
    from nas.studies.ablation import AblationWish, ablate
    from nas.terminal.show_ablation import print_ablation
    from reports.ablation import ablations_of

    named = tuple(part.strip() for part in (points or "").split(",") if part.strip())
    wish = AblationWish(seeds, epochs, named, single, halves)
    circumstances = {key: value for key, value in given.items() if value is not None}
    view, number = interruptible(
        lambda interruption: ablate(run, trial, wish, circumstances, console(stderr=True), interruption)
    )
    (found,) = [ablation for ablation in ablations_of(view) if ablation.plan.trial == number]
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    else:
        print_ablation(console(), found)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("trials", nargs=-1)
@json_option
def attention(run: Path, trials: tuple[str, ...], as_json: bool) -> None:
    """Show how the attention weights of trained TRIALS are distributed over the validation images.

    TRIALS are numbers, best, knee, fastest or cheapest; without any, those of the front. Nothing is trained.
    """
    from nas.stages.attention import collect_attention
    from nas.terminal.show_ablation import print_attention

    view = collect_attention(run, trials, lambda line: click.echo(line, err=True))
    numbers = [view.select(selector).result.number for selector in trials] or [t.result.number for t in view.front]
    found = [view.attention[number] for number in dict.fromkeys(numbers) if number in view.attention]
    if as_json:
        click.echo(json.dumps({"attention": [one.to_json() for one in found]}, indent=2))
    else:
        print_attention(console(), found)
