"""What a search ends with: its networks looked at, the report, the exported model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.registry import LOOKS, load
from nas.run import EXPORT_NAME, Run
from search_spaces.errors import UserError

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
        }


def deliver(run: Run, selector: str, say: Say) -> Delivered:
    """Write the report of a searched run and export its trial `selector` ("none" for none), unless it is there already.

    Raises:
        NothingFeasible: no trial is within the budgets; the report is written.
        ExportError: no artefact agrees with the trained network.
    """
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
    wanted = run.select(selector).result
    if _exported_number(target / "arch.json") != wanted.number:
        say(f"exporting trial {wanted.number} ({selector}) and checking it against the trained network")
        for name, reason in run.export(selector, target)["left_out"].items():
            say(f"not exported: {name}: {reason}")
    return target


def _exported_number(description: Path) -> int | None:
    try:
        number = json.loads(description.read_text())["provenance"]["number"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return number if isinstance(number, int) else None
