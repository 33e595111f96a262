"""What counts of other runs in a run's estimates, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reports.view import RunView
from trials.record.evidence import Evidence

#: Below this, what another run shows is said to tell next to nothing here.
_NOTHING = 0.25


def evidence_text(one: Evidence) -> str:
    """`from runs/a: 34 of 40 trainings count (6 of operators that are not offered), of other data: …`."""
    left = ", ".join(f"{number:,} {reason}" for reason, number in one.left_out.items())
    count = f"{len(one.trainings):,} of {one.scored:,} trainings count{f' ({left})' if left else ''}"
    return f"from {short_name(one)}: {count}, {_how(one)}"


def evidence_story(view: RunView) -> list[str]:
    """A sentence for each other run; with estimates, how far what it shows goes along with what this run does."""
    kinship = {} if view.model is None else view.model.kinship
    story = []
    for one in view.evidence:
        text = evidence_text(one)
        if (kin := kinship.get(one.identity)) is not None:
            little = ", so that it tells next to nothing here" if abs(kin) < _NOTHING else ""
            text += f" that goes along with this run's by {kin:.2f}{little}".replace("-", "−")
        story.append(f"{text[0].upper()}{text[1:]}.")
    return story


def evidence_json(view: RunView) -> list[dict[str, Any]]:
    """What counts of each other run, with how far it goes along where that was estimated."""
    kinship = {} if view.model is None else view.model.kinship
    return [one.summary() | {"goes_along": kinship.get(one.identity)} for one in view.evidence]


def short_name(one: Evidence) -> str:
    """A run by the last two folders of its path: whoever reads of it may be on another machine."""
    return "/".join(Path(one.run).parts[-2:]).lstrip("/")


def _how(one: Evidence) -> str:
    if one.same:
        return "as this run's own do"
    what = ", ".join(one.differs)
    return f"of other {what}: a fidelity of its own"
