"""What a search ends with: its networks looked at, the report, the exported model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.registry import LOOKS, load
from nas.run import EXPORT_NAME, Run
from reports.verdict import verdict_of
from search_spaces.errors import UserError
from trials.whole_files import remove_unfinished

Say = Callable[[str], None]


@dataclass(frozen=True)
class Delivered:
    """A run with what was made of it; `exported` is the model's folder, None where none was asked for."""

    run: Run
    report: Path
    exported: Path | None

    def to_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run.path),
            "report": str(self.report),
            "exported": None if self.exported is None else str(self.exported),
            "trials": len(self.run.trials),
            "verdict": None if (verdict := verdict_of(self.run.view)) is None else verdict.to_json(),
        }


def deliver(run: Run, selector: str, say: Say) -> Delivered:
    """Write the report of a searched run and export its trial `selector` ("none" for none), unless it is there already.

    Raises:
        NothingFeasible: no trial is within the budgets; the report is written.
        ExportError: no artefact agrees with the trained network.
    """
    remove_unfinished(run.path)  # of one that was killed here, when nothing was left to search
    _look_at_networks(run, say)
    report = Run(run.path).report()
    if not run.front():
        say(f"report:   {report}")
        run.select("best")  # raises, saying why
    exported = None if selector == "none" else _export(run, selector, say)
    return Delivered(run, report, exported)


def _look_at_networks(run: Run, say: Say) -> None:
    """For the report: an evaluation of each trial of the front. What goes wrong here takes nothing from the search."""
    try:
        for place in LOOKS.values():
            load(place)(run.path, say)
    except UserError as error:
        say(f"the trained networks were not looked at: {error}")


def _export(run: Run, selector: str, say: Say) -> Path:
    target = run.path / EXPORT_NAME
    there = _provenance(target / "arch.json")
    if "retrained" in there:  # hours of work, which a search does not undo
        say(f"{target} was trained on by nas retrain and stays: export to another folder with nas export {run.path}")
        return target
    trial = run.select(selector)
    kept = run.kept_training(trial)
    epochs = trial.result.epochs if kept is None else kept.epochs
    wanted = trial.result.number, "test" if kept is not None and kept.final else "val", epochs
    if _exported(there, trial.result.epochs) != wanted:
        say(f"exporting trial {wanted[0]} ({selector}) and checking it against the trained network")
        for name, reason in run.export(selector, target)["left_out"].items():
            say(f"not exported: {name}: {reason}")
    return target


def _provenance(description: Path) -> dict[str, Any]:
    """What an export's arch.json says of where its network comes from; empty where there is none."""
    try:
        return dict(json.loads(description.read_text())["provenance"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _exported(found: dict[str, Any], epochs: int) -> tuple[int, str, int] | None:
    """Which trial's network is there, on which split it was judged, and for how long it was trained: so many `epochs`
    where that is not said."""
    try:
        return int(found["number"]), str(found.get("judged_on", "val")), int(found.get("epochs", epochs))
    except (ValueError, KeyError, TypeError):
        return None
