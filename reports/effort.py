"""What a search may take and what it has: in words, and as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.noise import counted
from reports.view import RunView
from trials.durations import read_hours
from trials.trial import TrialState


def hours(seconds: float) -> str:
    """In hours: `0.42`, `1`, `0.0051`."""
    value = seconds / 3600
    return f"{value:.2g}" if value < 0.1 else f"{value:.2f}".rstrip("0").rstrip(".")


def effort_text(view: RunView) -> str | None:
    """`budget: 0.42 of 1 h, 3 of 24 looks`; None where the run is under no budget of effort."""
    found = effort_json(view)
    limits = [
        f"{hours(found[of])} of {hours(found[limit])} {unit}"
        for of, limit, unit in (("seconds", "max_seconds", "h"), ("device_seconds", "max_device_seconds", "GPU h"))
        if found[limit] is not None
    ]
    if not limits and found["max_trials"] is None:
        return None
    looks = found["looks"]
    most = f"{found['trained']} of {looks}" if looks is not None else f"{found['trained']}"
    said = [*limits, f"{most} looks"]
    if finals := len([t for t in view.finals if t.error is None]):
        said.append(f"{counted(finals, 'training')} of finalists")
    return f"budget: {', '.join(said)}"


def effort_json(view: RunView) -> dict[str, Any]:
    """What was given (None: no limit), what of it is spent, how it was divided and why no more looks were taken."""
    config, plan = view.config, view.effort_plan or {}
    division = None if not plan else {k: plan[k] for k in ("looks", "rungs", "finalists", "seeds", "resolves_points")}
    wanted = config.get("trials") or config.get("max_trials")
    ended: Mapping[str, str] | None = plan.get("ended")
    texts = {key: config.get(key) for key in ("max_hours", "max_gpu_hours")}
    limits = {key: None if text is None else read_hours(text) for key, text in texts.items()}
    looks = plan["looks"][0] if plan else wanted
    return {
        "seconds": view.effort.seconds,
        "device_seconds": view.effort.device_seconds,
        "max_seconds": limits["max_hours"],
        "max_device_seconds": limits["max_gpu_hours"],
        "max_trials": config.get("max_trials"),
        "trained": view.count(TrialState.COMPLETE) + view.count(TrialState.FAILED),
        "looks": looks,
        "plan": division,
        "ended": None if ended is None else dict(ended),
    }


def effort_story(view: RunView) -> list[str]:
    """The plan, and why the search ended, in sentences; none of a run that had neither."""
    plan = view.effort_plan
    if plan is None:
        return []
    story = [f"Plan: {plan['text']}."]
    if (budget := effort_text(view)) is not None:
        story.append(f"{budget[0].upper()}{budget[1:]}.")
    if (ended := plan.get("ended")) is not None:
        story.append(f"Looks ended: {ended['text']}.")
    return story
