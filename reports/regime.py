"""What the trials of a run started from, and what that cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.formatting import format_duration, format_percent
from reports.noise import counted, trial_epochs
from reports.view import RunView
from trials.tasks.metrics import label


def regime_story(view: RunView) -> list[str]:
    """The learning regime in sentences; none under `scratch`, where trials share nothing."""
    facts = view.parent
    if facts is None:
        return []
    inherits = facts["regime"] == "inherit"
    what = facts["source"] or ("a trained all-add network" if inherits else "its path through a trained supernet")
    epochs = trial_epochs(view)
    tuned = f"was fine-tuned for {counted(epochs, 'epoch')}" if epochs else "was fine-tuned"
    recalibrated = not inherits or view.config["training"].get("recalibrate")
    norms = ", its batch norms recalibrated before evaluation" if recalibrated else ""
    story = [f"Every trial started from {what} ({parent_text(facts)}) and {tuned}{norms}."]
    if facts["unpreserved"]:
        names = ", ".join(facts["unpreserved"])
        it_stands = "it stands" if len(facts["unpreserved"]) == 1 else "they stand"
        story.append(f"{names}: no start as the sum, so where {it_stands} the trunk alone was inherited.")
    if view.trust_plan is not None or view.beside:
        story.append("So did the trainings that its noise and its trust are judged by.")
    return story


def parent_text(facts: Mapping[str, Any]) -> str:
    """What was trained and how good it was: `12 epochs, 96 s, 84.31% accuracy on 2,000 validation images`."""
    trained = f"{counted(facts['epochs'], 'epoch')}, {format_duration(facts['seconds'])}, " if facts["epochs"] else ""
    of = "" if facts["regime"] == "inherit" else ", add everywhere"
    score = f"{format_percent(facts['score'])} {label(facts['metric'])}"
    return f"{trained}{score} on {facts['images']:,} validation images{of}"
