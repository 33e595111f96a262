"""How far a run is, as data."""

from __future__ import annotations

from typing import Any

from reports.effort import effort_json
from reports.evidence import evidence_json
from reports.keeping import at_a_look
from reports.summary import fixed_seconds
from reports.trust import trust_json
from reports.verdict import verdict_of
from reports.view import RunView
from trials.trial import TrialState


def status_json(view: RunView, active: bool, told: RunView | None = None) -> dict[str, Any]:
    """How far a run is. `told` is what is said of its estimates: see `at_a_look`."""
    effort, told = effort_json(view), told or at_a_look(view)
    best = told.front[0] if told.front else None
    trained = view.count(TrialState.COMPLETE) + view.count(TrialState.FAILED)
    seconds = sum(max(0.0, (s.ended_at or s.started_at) - s.started_at) for s in view.sessions)
    return {
        "run": str(view.path),
        "active": active,
        "complete": view.finished,
        "trained": trained,
        "wanted": effort["looks"],
        "budget": effort,
        "counts": {str(state): view.count(state) for state in TrialState},
        "failures": view.failures,
        "best": None if best is None else best.to_json(),
        "front": [t.result.number for t in told.front],
        "sessions": len(view.sessions),
        "session_seconds": seconds,
        "fixed_seconds": fixed_seconds(view),
        "started_at": view.sessions[0].started_at if view.sessions else None,
        "estimated_trainings": None if told.model is None else len(told.order),
        "estimating_failed": view.estimating_failed,
        "evidence": evidence_json(told),
        "trust": trust_json(told),
        "verdict": None if (verdict := verdict_of(told)) is None else verdict.to_json(),
    }
