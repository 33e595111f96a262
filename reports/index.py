"""A page of all runs in a folder: how far each is, what it says, and its report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reports.errors import ReportError
from reports.estimates import percent_interval
from reports.formatting import format_percent, format_time
from reports.keeping import at_a_look
from reports.page import render_plain, write_report
from reports.summary import best, space_of, verdict
from reports.view import RunView
from search_spaces.errors import UserError
from trials.record.file import FILE_NAME, is_active
from trials.whole_files import write_whole

REPORT, INDEX = "report.html", "index.html"


def write_index(folder: Path, path: Path | None = None) -> Path:
    """Write `index.html` of the runs in a folder, newest first, and the report of each whose record is newer than it.

    A run that cannot be read has its line with the reason. Raises ReportError where there is no run.
    """
    folder = Path(folder)
    runs = sorted(record.parent for record in folder.glob(f"*/{FILE_NAME}"))
    if not runs:
        raise ReportError(f"{folder} holds no runs: expected folders with a {FILE_NAME} in it")
    target = folder / INDEX if path is None else Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    rows = sorted((_row(run, target.parent) for run in runs), key=lambda row: (-row["moment"], row["name"]))
    page = render_plain("index.html", {"name": folder.resolve().name, "rows": rows})
    write_whole(target, page, errors="replace")
    return target


def _row(run: Path, beside: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"name": run.name, "moment": 0.0, "link": None, "error": None}
    try:
        view = RunView.load(run)
        told = at_a_look(view)
        report = run / REPORT
        if not report.is_file() or report.stat().st_mtime < _written(run / FILE_NAME):
            write_report(told if len(told.order) == len(view.order) else view.estimated(), report)
        begun = view.sessions[0].started_at if view.sessions else None
        found = best(told)
        active = is_active(run)
    except (UserError, OSError, KeyError, ValueError) as error:
        # One damaged run must not hide the others.
        return {**row, "state": "cannot be read", "error": str(error) or repr(error)}
    reached = ""
    if found is not None:
        reached = format_percent(found.result.score) if found.estimate is None else percent_interval(found)
    return {
        **row,
        "moment": begun or 0.0,
        "begun": format_time(begun),
        "state": "searching" if active else "complete" if view.finished else "stopped",
        "space": str(space_of(view).get("name", "n/a")),
        "data": str((view.description.get("data") or {}).get("name", "n/a")),
        "trained": len(view.complete),
        "front": len(told.front),
        "best": f"{reached} {view.score_label}" if reached else "none",
        "verdict": verdict(told).headline,
        "link": _address(report, beside),
    }


def _written(record: Path) -> float:
    """When a record was last written to: beside a writer, what it records is in the log beside it at first."""
    log = record.with_name(f"{record.name}-wal")
    return max(path.stat().st_mtime for path in (record, log) if path.exists())


def _address(report: Path, beside: Path) -> str:
    """Of the report as seen from the index."""
    relative = Path(os.path.relpath(report.resolve(), beside.resolve()))
    return quote(relative.as_posix(), safe="/", errors="surrogateescape")
