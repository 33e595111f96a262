"""The commands `nas noise` and `nas trust`. Only click is imported at start."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from nas.cli.options import json_option, search_options, seconds, settings_of, whole_numbers
from nas.terminal.console import console

Result = TypeVar("Result")


@click.command()
@search_options
@click.option(
    "--out", metavar="RUN|FILE.json", help="The run to write to, or a file.  [default: CONFIG's, runs/search]"
)
@click.option("--seeds", default=5, show_default=True, metavar="K", help="Trainings of each network at each fidelity.")
@click.option("--fidelities", metavar="E,E,…", help="Epochs that are measured.  [default: 1 and the trials' own]")
@click.option("--rivals", default=2, show_default=True, metavar="N", help="Random networks beside the baseline.")
@click.option("--budget", metavar="TIME", help="Recommend epochs and seeds for a search that takes so long: 2h.")
@json_option
def noise(
    config: Path | None,
    out: str | None,
    seeds: int,
    fidelities: str | None,
    rivals: int,
    budget: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure what seeds alone do to a score, and which differences they leave to be seen.

    CONFIG and options are those of nas search; of a RUN, its own where none are given. The same command goes on after
    an interruption.
    """
    from nas.studies.noise import NoisePlan, configuration, measure_noise
    from nas.terminal.studies import print_noise

    settings, place = configuration(config, settings_of(given), out)
    epochs = (1, settings.training.epochs) if fidelities is None else whole_numbers("--fidelities", fidelities)
    plan = NoisePlan(seeds, epochs, rivals, None if budget is None else seconds("--budget", budget))
    found = interruptible(lambda interruption: measure_noise(settings, plan, place, console(stderr=True), interruption))
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
        return
    print_noise(console(), found.floors, None if found.advice is None else found.advice.to_json())
    click.echo(f"written to {place}", err=True)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--sample", default=10, show_default=True, metavar="N", help="Trials of RUN, drawn at random.")
@click.option("--epochs", type=int, metavar="E", help="Epochs of the long trainings.  [default: 4 times the trials']")
@click.option("--seeds", default=2, show_default=True, metavar="K", help="Long trainings of each.")
@click.option("--fidelities", metavar="E,E,…", help="Other short trainings to be judged beside the trials.")
@click.option("--engine", metavar="NAME", help="ray or local.  [default: RUN's]")
@click.option("--workers", type=int, metavar="W", help="Trainings side by side.  [default: RUN's]")
@click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.  [default: RUN's]")
@json_option
def trust(
    run: Path, sample: int, epochs: int | None, seeds: int, fidelities: str | None, as_json: bool, **given: Any
) -> None:
    """Measure whether RUN's short trials rank architectures as longer trainings do.

    Prints Kendall's τ, Spearman's ρ and how many of the best are found, with 95 % intervals, and records them in RUN.
    The same command goes on after an interruption.
    """
    from nas.studies.trust import TrustPlan, measure_trust
    from nas.terminal.studies import print_trust
    from reports.trust import trust_json

    plan = TrustPlan(sample, epochs, seeds, whole_numbers("--fidelities", fidelities or ""))
    circumstances = {key: value for key, value in given.items() if value is not None}
    view = interruptible(
        lambda interruption: measure_trust(run, plan, circumstances, console(stderr=True), interruption)
    )
    if as_json:
        click.echo(json.dumps(trust_json(view), indent=2))
    else:
        print_trust(console(), view)


def interruptible(work: Callable[[Any], Result]) -> Result:
    """Run it; after Ctrl-C or SIGTERM, say how to go on and exit as a search does."""
    from nas.engines.interruption import Interrupted, Interruption
    from nas.session.delivering import resume_command

    interruption = Interruption()
    try:
        with interruption.listening():
            return work(interruption)
    except Interrupted as interrupted:
        click.echo(
            f"nas: interrupted ({interrupted}); every ended training is saved. Go on with:\n  {resume_command(False)}",
            err=True,
        )
        sys.exit(interrupted.exit_code)
