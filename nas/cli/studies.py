"""The commands that ask a run how far to trust it: `nas finalists`, `noise`, `trust`, `ablate` and `attention`.

Only click is imported at start.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from nas.cli.interrupting import interruptible
from nas.cli.options import (
    LIST,
    SECONDS,
    WHOLE_NUMBERS,
    SettingsCommand,
    circumstances_options,
    config_argument,
    every_option,
    given_settings,
    json_option,
    options_of,
    places_options,
    set_option,
)
from nas.terminal.console import console


@click.command(
    cls=SettingsCommand,
    settings=every_option(without=("out", "export", "finalists", "finalist_seeds", "backup", "storage", "log")),
)
@config_argument
@set_option
@click.option(
    "--out", metavar="RUN|FILE.json", help="The run to write to, or a file.  [default: CONFIG's, runs/search]"
)
@click.option("--seeds", default=5, show_default=True, metavar="K", help="Trainings of each network at each fidelity.")
@click.option(
    "--fidelities", type=WHOLE_NUMBERS, metavar="E,E,…",
    help="Epochs that are measured.  [default: 1 and the trials' own]",
)  # fmt: skip
@click.option("--rivals", default=2, show_default=True, metavar="N", help="Random networks beside the baseline.")
@click.option(
    "--budget", type=SECONDS, metavar="TIME", help="Recommend epochs and seeds for a search that takes so long: 2h."
)
@json_option
def noise(
    config: Path | None,
    assignments: Sequence[str],
    out: str | None,
    seeds: int,
    fidelities: list[int] | None,
    rivals: int,
    budget: float | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure what seeds alone do to a score, and which differences they leave to be seen.

    CONFIG and options are those of nas search; of a RUN, its own where none are given. The same command goes on after
    an interruption.
    """
    from nas.studies.noise import NoisePlan, configuration, measure_noise
    from nas.terminal.studies import print_noise
    from nas.terminal.trainings import narrator

    settings, place = configuration(config, given_settings(given, assignments)[0], out)
    epochs = (1, settings.training.epochs) if fidelities is None else tuple(fidelities)
    plan = NoisePlan(seeds, epochs, rivals, budget)
    found = interruptible(lambda interruption: measure_noise(settings, plan, place, narrator(), interruption))
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
        return
    print_noise(console(), found.floors, None if found.advice is None else found.advice.to_json())
    click.echo(f"written to {place}", err=True)


@click.command(cls=SettingsCommand, settings=circumstances_options)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--sample", default=10, show_default=True, metavar="N", help="Trials of RUN, drawn at random.")
@click.option("--epochs", type=int, metavar="E", help="Epochs of the long trainings.  [default: 4 times the trials']")
@click.option("--seeds", default=2, show_default=True, metavar="K", help="Long trainings of each.")
@click.option(
    "--fidelities", type=WHOLE_NUMBERS, default=(), metavar="E,E,…",
    help="Other short trainings to be judged beside the trials.",
)  # fmt: skip
@json_option
def trust(
    run: Path, sample: int, epochs: int | None, seeds: int, fidelities: Sequence[int], as_json: bool, **given: Any
) -> None:
    """Measure whether RUN's short trials rank architectures as longer trainings do.

    Prints Kendall's τ, Spearman's ρ and how many of the best are found, with 95 % intervals, and records them in RUN.
    The same command goes on after an interruption.
    """
    from nas.studies.trust import TrustPlan, measure_trust
    from nas.terminal.studies import print_trust
    from nas.terminal.trainings import narrator
    from reports.trust import trust_json

    plan = TrustPlan(sample, epochs, seeds, tuple(fidelities))
    view = interruptible(
        lambda interruption: measure_trust(run, plan, given_settings(given)[0], narrator(), interruption)
    )
    if as_json:
        click.echo(json.dumps(trust_json(view), indent=2))
    else:
        print_trust(console(), view)


@click.command(
    cls=SettingsCommand,
    settings=lambda: [*options_of("finalists", "finalist_seeds", default="RUN's")(), *circumstances_options()],
)
@click.argument("run", type=click.Path(path_type=Path))
@json_option
def finalists(run: Path, as_json: bool, **given: Any) -> None:
    """Say whether the best of RUN beat all-add, on images that its search never saw.

    They are trained anew beside all-add, on training and validation images and under the same seeds, and judged on
    the test split; seeds are added while the verdict is open. What a search ends with, for one that ended without, or
    with fewer. The same command goes on after an interruption.
    """
    from nas.studies.finalists import find_finalists
    from nas.terminal.studies import print_finalists
    from nas.terminal.trainings import narrator
    from reports.verdict import finals_json

    view = interruptible(lambda interruption: find_finalists(run, given_settings(given)[0], narrator(), interruption))
    if as_json:
        click.echo(json.dumps(finals_json(view), indent=2))
    else:
        print_finalists(console(), view)


@click.command(cls=SettingsCommand, settings=circumstances_options)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("trial")
@click.option("--seeds", default=3, show_default=True, metavar="K", help="Trainings of each network.")
@click.option("--epochs", type=int, metavar="E", help="Epochs of each training.  [default: the trials']")
@click.option(
    "--points", type=LIST, default=(), metavar="P,P,…",
    help="Revert only these fusion points or stages.  [default: all not add]",
)  # fmt: skip
@click.option(
    "--single/--no-single", default=None, help="Each operator of TRIAL everywhere.  [default: where it has at most 3]"
)
@click.option("--halves/--no-halves", default=True, show_default=True, help="Its early and its late fusions alone.")
@json_option
def ablate(
    run: Path,
    trial: str,
    seeds: int,
    epochs: int | None,
    points: Sequence[str],
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
    from nas.terminal.studies import print_ablation
    from nas.terminal.trainings import narrator
    from reports.ablation import ablations_of

    wish = AblationWish(seeds, epochs, tuple(points), single, halves)
    view, number = interruptible(
        lambda interruption: ablate(run, trial, wish, given_settings(given)[0], narrator(), interruption)
    )
    (found,) = [ablation for ablation in ablations_of(view) if ablation.plan.trial == number]
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    else:
        print_ablation(console(), found)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("trials", nargs=-1)
@places_options
@json_option
def attention(run: Path, trials: tuple[str, ...], data: str | None, space: str | None, as_json: bool) -> None:
    """Show how the attention weights of trained TRIALS are distributed over the validation images.

    TRIALS are numbers, best, knee, fastest or cheapest; without any, those of the front. Nothing is trained.
    """
    from nas.stages.attention import collect_attention
    from nas.terminal.studies import print_attention

    places = {"data": data, "space": space}
    view = collect_attention(run, trials, lambda line: click.echo(line, err=True), places)
    numbers = [view.select(selector).result.number for selector in trials] or [t.result.number for t in view.front]
    found = [view.attention[number] for number in dict.fromkeys(numbers) if number in view.attention]
    if as_json:
        click.echo(json.dumps({"attention": [one.to_json() for one in found]}, indent=2))
    else:
        print_attention(console(), found)
