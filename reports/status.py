"""How far a run is, as data."""

from __future__ import annotations

from typing import Any

from reports.effort import effort_json
from reports.evidence import evidence_json
from reports.summary import fixed_seconds
from reports.trust import trust_json
from reports.verdict import verdict_of
from reports.view import RunView
from trials.trial import TrialState


def status_json(view: RunView, active: bool) -> dict[str, Any]:
    """How far a run is."""
    effort = effort_json(view)
    best = view.front[0] if view.front else None
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
        "front": [t.result.number for t in view.front],
        "sessions": len(view.sessions),
        "session_seconds": seconds,
        "fixed_seconds": fixed_seconds(view),
        "started_at": view.sessions[0].started_at if view.sessions else None,
        "evidence": evidence_json(view),
        "trust": trust_json(view),
        "verdict": None if (verdict := verdict_of(view)) is None else verdict.to_json(),
    }
