"""`nas search` from the terminal: progress, then the report and the exported model, or how to go on."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from nas.engines.interruption import Interrupted, Interruption
from nas.run import EXPORT_NAME, Run
from nas.session.session import run_search
from nas.settings.search import SearchConfig
from nas.terminal.progress import progress_on
from reports import RunView
from reports.lines import headline
from reports.trust import trust_story
from search_spaces.errors import UserError
from trials.errors import StoreError
from trials.trial import TrialState


def search_and_deliver(config: SearchConfig, extend: bool, fresh: bool, as_json: bool, console: Console) -> int:
    """Search, write the report, export; returns the exit code. Raises UserError for what a user can mend."""
    interruption, began = Interruption(), time.time()
    try:
        with interruption.listening():
            with progress_on(console) as progress:
                run = run_search(config, progress, extend, fresh, interruption)
            return _deliver(run, config, as_json, console)
    except Interrupted as interrupted:
        again = resume_command(fresh and not _begun_since(config.out, began))
        line = f"nas: interrupted ({interrupted}); everything is saved. Go on with:\n  {again}"
        click.echo(line, err=True)
        return interrupted.exit_code


def _deliver(run: Run, config: SearchConfig, as_json: bool, console: Console) -> int:
    _look_at_networks(run, console)
    report = Run(run.path).report()
    delivered = {"run": str(run.path), "report": str(report), "exported": None, "trials": len(run.trials)}
    if not run.front():
        click.echo(f"report:   {report}", err=True)
        run.select("best")  # raises, saying why
    if config.export != "none":
        delivered["exported"] = str(_export(run, config.export, console))
    if as_json:
        click.echo(json.dumps(delivered, indent=2))
        return 0
    _summarise(run, console)
    click.echo(f"report:   {report}")
    if delivered["exported"]:
        click.echo(f"exported: {delivered['exported']}/")
    return 0


def _look_at_networks(run: Run, console: Console) -> None:
    """For the report: an evaluation of each trial of the front. What goes wrong here takes nothing from the search."""
    from nas.stages.attention import collect_attention
    from nas.stages.pictures import look_at_scenes

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    try:
        collect_attention(run.path, (), say)
        look_at_scenes(run.path, say)
    except UserError as error:
        console.print(f"the trained networks were not looked at: {error}", markup=False, soft_wrap=True)


def _export(run: Run, selector: str, console: Console) -> str:
    target = run.path / EXPORT_NAME
    wanted = run.select(selector).result
    existing = target / "arch.json"
    if _exported_number(existing) == wanted.number:
        return str(target)
    console.print(f"exporting trial {wanted.number} ({selector}) and checking it against the trained network")
    run.export(selector, target)
    return str(target)


def _exported_number(description: Path) -> int | None:
    try:
        number = json.loads(description.read_text())["provenance"]["number"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return number if isinstance(number, int) else None


def _summarise(run: Run, console: Console) -> None:
    view = run.view
    counts = ", ".join(f"{view.count(state)} {state}" for state in TrialState if view.count(state))
    lines = [f"\n{len(view.trials)} trials: {counts}; {len(view.front)} on the front"]
    for selector in ("best", "knee", "fastest", "cheapest"):
        trial = view.select(selector)
        lines.append(f"{selector:<9} trial {trial.result.number}: {headline(view, trial)}")
    small = "differences below about 0.7 points" if view.task == "classification" else "small differences"
    lines += trust_story(view) or [
        f"{view.score_label} is of one seed on the validation split: {small} may be noise; nas noise measures that"
    ]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def resume_command(fresh: bool) -> str:
    """The command line that was given, which goes on where it stopped; `--fresh` only where it is still to do."""
    return shlex.join(["nas", *(argument for argument in sys.argv[1:] if fresh or argument != "--fresh")])


def _begun_since(folder: str, moment: float) -> bool:
    """Whether the run in a folder is one that began after `moment`."""
    try:
        sessions = RunView.load(folder).sessions
    except StoreError:
        return False
    return bool(sessions) and sessions[0].started_at >= moment
