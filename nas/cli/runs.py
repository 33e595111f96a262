"""The commands that read a run: status, show, reprice, export, optuna, recover. Only click is imported at start."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from nas.cli.options import SettingsCommand, given_settings, json_option, options_of, places_options
from nas.terminal.console import console

#: What a run can be priced by anew.
_PRICES = ("max_flops", "max_params", "max_latency", "latency_profile", "minimum")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@json_option
def status(run: Path, as_json: bool) -> None:
    """How far RUN is: trials, best so far, front, sessions."""
    from nas.terminal.runs import print_status
    from reports import RunView
    from reports.collecting import uncollected_to_the_end
    from reports.status import status_json
    from trials.record.file import is_active

    uncollected_to_the_end()
    view = RunView.load(run)
    if as_json:
        click.echo(json.dumps(status_json(view, is_active(run)), indent=2))
    else:
        print_status(console(), view, is_active(run))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("trial", required=False)
@json_option
def show(run: Path, trial: str | None, as_json: bool) -> None:
    """The trials of RUN, or one: TRIAL is a number, best, knee, fastest or cheapest."""
    from nas.terminal.runs import print_run, print_trial
    from reports import RunView
    from reports.evidence import evidence_json
    from reports.trust import trust_json
    from reports.verdict import verdict_by_estimates, verdict_of

    view = RunView.load(run).estimated()
    chosen = None if trial is None else view.select(trial)
    if as_json:
        verdict = verdict_of(view) or verdict_by_estimates(view)
        found = {
            **view.to_json(), "evidence": evidence_json(view), "trust": trust_json(view),
            "verdict": None if verdict is None else verdict.to_json(),
        }  # fmt: skip
        if chosen is not None:
            found["trials"] = [chosen.to_json()]
        click.echo(json.dumps(found, indent=2))
    elif chosen is None:
        print_run(console(), view)
    else:
        print_trial(console(), view, chosen)


@click.command(
    cls=SettingsCommand,
    settings=lambda: [
        *options_of(*_PRICES, note=" none drops it.", default="RUN's")(), *options_of("objectives", default="RUN's")(),
    ],
)  # fmt: skip
@click.argument("run", type=click.Path(path_type=Path))
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

    changes, _ = given_settings(given)
    repriced = repricing.reprice(run, changes, measured)
    config = None if out is None else repricing.write(repriced, run, out)
    if as_json:
        click.echo(
            json.dumps({**repriced.view.to_json(), "written": None if config is None else str(config)}, indent=2)
        )
        return
    print_run(console(), repriced.view)
    if config is not None:
        click.echo(f"written: {out}; go on with:\n  nas search {shlex.quote(str(config))}")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("selector", default="verdict")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="[default: RUN/exported]")
@click.option(
    "--formats",
    metavar="LIST",
    help="py,pt2,onnx,int8.onnx,int8.pt2,openvino.xml,pte,tflite or all.  [default: py,pt2,onnx]",
)
@click.option("--benchmark", is_flag=True, help="Print size, accuracy, p50 and p95 of each format.")
@click.option("--force", is_flag=True, help="Write into a folder that holds other files; those stay.")
@places_options
@json_option
def export(
    run: Path,
    selector: str,
    out: Path | None,
    formats: str | None,
    benchmark: bool,
    force: bool,
    data: str | None,
    space: str | None,
    as_json: bool,
) -> None:
    """Export a trial of RUN: weights, plain-PyTorch source, ONNX, each checked against the trained network.

    SELECTOR is a trial's number, verdict (default: the finalist that beats all-add within the budgets, else the knee),
    best, knee, fastest or cheapest. Of a finalist the network is exported that was trained on training and validation
    images.
    """
    from nas.run import EXPORT_NAME, Run

    wanted = None if formats is None else [name.strip() for name in formats.split(",")]
    found = Run(run, data=data, space=space)
    parity = found.export(selector, out, lambda line: click.echo(line, err=True), wanted, force)
    target = out or run / EXPORT_NAME
    if as_json:
        click.echo(json.dumps({"exported": str(target), "parity": parity}, indent=2))
        return
    if benchmark:
        from nas.terminal.exports import print_benchmark

        print_benchmark(console(), parity)
    click.echo(str(target))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="NEW", help="The new run's folder, new or empty."
)
@json_option
def recover(run: Path, out: Path, as_json: bool) -> None:
    """Bring what can be read of a damaged RUN into a new one; RUN is not touched.

    Says how much of each table and which files were saved, and what is missing. Exit code 5 when the new one cannot be
    read as a run: what was saved of its rows is in NEW all the same.
    """
    from nas.tools.recover import recover as bring
    from trials.errors import StoreDamaged

    found = bring(run, out)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    else:
        for line in found.story():
            click.echo(line)
    if found.unreadable is not None:
        click.echo(
            f"nas: {out} holds the rows that were saved, but is no run that can be read ({found.unreadable})", err=True
        )
        sys.exit(StoreDamaged.exit_code)
    if not as_json:
        click.echo(f"{out} is whole; go on with:\n  nas search --resume {shlex.quote(str(out))}")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("storage", metavar="STORAGE_URL")
@click.option("--study-name", metavar="NAME", help="[default: the name of RUN's folder]")
@places_options
@json_option
def optuna(run: Path, storage: str, study_name: str | None, data: str | None, space: str | None, as_json: bool) -> None:
    """Write RUN into STORAGE_URL as an ordinary Optuna study, for a dashboard or for plots.

    STORAGE_URL is an address of Optuna's such as sqlite:///studies.db. Its trials have the objectives as values, the
    choices as parameters, and the budgets as constraints: the study's best trials are RUN's front.
    """
    from nas.run import Run

    study = Run(run, data=data, space=space).optuna_study(storage, study_name)
    found = {"study": study.study_name, "storage": storage, "trials": len(study.trials), "best": len(study.best_trials)}
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(f"study {study.study_name} in {storage}: {found['trials']} trials, {found['best']} of them best")
