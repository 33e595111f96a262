"""Where the time of a search goes beside its trials: what it tells while it runs, and its record, by the clock."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path

from nas.telling import Silence
from reports.view import RunView
from trials.trial import EpochPoint, TrialResult

TRIALS = "trials"
_SAID = {"engine": "starting the ", "baseline": "measuring the latency of", "parent": "training "}


class Clock(Silence):
    """Notes when what a search tells was first told, in seconds since 1970."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[str, float] = {}

    def mark(self, name: str, moment: float | None = None) -> None:
        self.marks.setdefault(name, time.time() if moment is None else moment)

    def say(self, line: str) -> None:
        for name, start in _SAID.items():
            if line.startswith(start):
                self.mark(name)
        if line.startswith("measuring ") and "of the front" in line:
            self.mark("front")

    def begin(self, view: RunView, wanted: int, epochs: int, workers: int) -> None:
        super().begin(view, wanted, epochs, workers)
        self.mark("workers")

    def advanced(self, number: int, point: EpochPoint) -> None: ...

    def ended(self, result: TrialResult, view: RunView) -> None:
        super().ended(result, view)
        now = time.time()
        if result.timing is not None and result.timing.worker_s:
            self.marks[TRIALS] = min(now - result.timing.worker_s, self.marks.get(TRIALS, now))
        self.marks["measuring"] = now

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.marks), encoding="utf-8")


#: The parts in their order: what begins with each mark.
PARTS = {
    "launched": "imports",
    "imported": "data, space, costs",
    "engine": "engine's start",
    "baseline": "baseline's latency",
    "session": "precision",
    "parent": "parent",
    "workers": "workers' start",
    TRIALS: TRIALS,
    "measuring": "to the front's measurement",
    "front": "front's measurement",
    "closing": "engine's end",
    "returned": "report",
    "reported": "export",
}


def phases(path: Path, view: RunView) -> dict[str, float]:
    """Seconds of each part of the search whose marks were written to `path`; 0 for what it did without."""
    marks: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    (session,) = view.sessions
    assert session.ended_at is not None
    marks |= {"session": session.started_at, "closing": session.ended_at}
    there = [name for name in (*PARTS, "exported") if name in marks]
    found = dict.fromkeys(PARTS.values(), 0.0)
    for name, following in pairwise(there):
        found[PARTS[name]] = marks[following] - marks[name]
    return found
