"""Runs side by side: fronts, hypervolume at equal budget, settings that differ.

A difference is given a number only where space, data and fidelity match: otherwise two figures are of two things.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.budgets import budget_words
from reports.errors import ReportError
from reports.estimates import gain_text, percent_interval
from reports.formatting import format_count, format_percent, format_points
from reports.front import hypervolume, non_dominated
from reports.noise import trial_epochs
from reports.summary import best, reference_point, space_fingerprint, space_of, verdict
from reports.trial_view import OBJECTIVES, TrialView
from reports.view import RunView
from trials.whole_files import write_whole

Comparison = dict[str, Any]
#: Settings that say where a run is, not what it is.
_PLACES = {"out", "data_cache", "workers", "engine"}


def compared(runs: Sequence[Path | str]) -> Comparison:
    """What there is to say of two runs or more, as JSON.

    Raises ReportError for fewer, StoreError for a run that cannot be read.
    """
    if len(runs) < 2:
        raise ReportError(f"a comparison takes two runs or more, given {len(runs)}")
    views = [RunView.load(run).estimated() for run in runs]
    differs = _what_differs(views)
    equal = min(len(view.complete) for view in views)
    volumes = None if differs else _volumes(views, equal)
    found = [
        {
            "name": name, "path": str(view.path), "front": _front(view), "verdict": verdict(view).headline,
            "hypervolume": None if volumes is None else volumes[place],
        }
        for place, (name, view) in enumerate(zip(_names(views), views, strict=True))
    ]  # fmt: skip
    return {
        "runs": found,
        "comparable": not differs,
        "rows": [[name, cells] for name, cells in _rows(views, volumes, equal)],
        "story": _story(views, differs, volumes, equal),
        "differences": _settings(views),
    }


def _names(views: Sequence[RunView]) -> list[str]:
    """The folders' names; where two are alike, with the folder that they are in."""
    short = [view.path.resolve().name for view in views]
    return short if len(set(short)) == len(short) else ["/".join(view.path.resolve().parts[-2:]) for view in views]


def _what_differs(views: Sequence[RunView]) -> list[str]:
    """What must be alike for a difference to have a number, and is not."""
    of = {
        "space": [space_fingerprint(view) for view in views],
        "data": [str((view.description.get("data") or {}).get("fingerprint")) for view in views],
        "epochs of a look": [str(trial_epochs(view)) for view in views],
        "start": [next((r.start.partition(":")[0] for r in view.results), "") for view in views],
        "figure": [view.metric for view in views],
        "objectives": [" ".join(view.objectives) for view in views],
    }
    return [name for name, values in of.items() if len(set(values)) > 1]


def _front(view: RunView) -> list[list[float]]:
    """[FLOPs, quality in percent] of what no other trial within the budgets beats in both, cheapest first."""
    kept = non_dominated([[t.quality or 0.0, t.result.macs] for t in view.able], [True, False])
    front = [t for t, keep in zip(view.able, kept, strict=True) if keep]
    return sorted([t.result.macs, round(100 * (t.quality or 0.0), 4)] for t in front)


def _in_order(view: RunView) -> list[TrialView]:
    return sorted(view.complete, key=lambda t: (view.moments.get(t.result.number, 0.0), t.result.number))


def _volumes(views: Sequence[RunView], equal: int) -> list[float] | None:
    """The hypervolume of each after `equal` trainings, all up to one reference point, the farthest of theirs."""
    names = views[0].objectives
    if equal == 0 or any(name not in OBJECTIVES for name in names):
        return None
    references = [reference_point(view)[0] for view in views]
    reference = [max(values) for values in zip(*references, strict=True)]
    box = math.prod(bound or 1.0 for bound in reference)
    found = []
    for view in views:
        points = [
            [t.objective(name) or 0.0 for name in names]
            for t in _in_order(view)[:equal]
            if t.able and all(t.objective(name) is not None for name in names)
        ]
        found.append(hypervolume(points, reference, [OBJECTIVES[name] for name in names]) / box)
    return found


def _rows(views: Sequence[RunView], volumes: Sequence[float] | None, equal: int) -> list[tuple[str, list[str]]]:
    def best_text(view: RunView) -> str:
        found = best(view)
        if found is None:
            return "none within the budgets"
        reached = format_percent(found.result.score) if found.estimate is None else percent_interval(found)
        gain = gain_text(found)
        said = f"trial {found.result.number}: {reached} {view.score_label}, {format_count(found.result.macs)} FLOPs"
        return f"{said}, {gain} points on all-add" if gain else said

    rows = [
        ("space", [str(space_of(view).get("name", "n/a")) for view in views]),
        ("data", [str((view.description.get("data") or {}).get("name", "n/a")) for view in views]),
        ("epochs of a look", [str(trial_epochs(view) or "n/a") for view in views]),
        ("budgets", [budget_words(view) for view in views]),
        ("trained", [f"{len(view.complete):,}, {len(view.feasible):,} within" for view in views]),
        ("on the front", [str(len(view.front)) for view in views]),
        ("best", [best_text(view) for view in views]),
        ("verdict", [verdict(view).headline for view in views]),
    ]
    if volumes is not None:
        rows.append((f"hypervolume after {equal:,} trainings", [f"{volume:.4f}" for volume in volumes]))
    return rows


def _story(views: Sequence[RunView], differs: Sequence[str], volumes: Sequence[float] | None, equal: int) -> list[str]:
    if differs:
        return [f"No difference is given a number: {', '.join(differs)} of the runs differ."]
    names, story = _names(views), []
    first, found = best(views[0]), [best(view) for view in views]
    for name, view, other in zip(names[1:], views[1:], found[1:], strict=True):
        if first is None or other is None:
            continue
        gap = (other.quality or 0.0) - (first.quality or 0.0)
        text = f"The best of {name} is {format_points(gap)}"
        if first.estimate is not None and other.estimate is not None:
            halves = [(t.estimate.score.high - t.estimate.score.low) / 2 for t in (first, other) if t.estimate]
            text += f" ± {math.hypot(*halves):.2f}"
        story.append(
            f"{text} points of {view.score_label} from that of {names[0]} (intervals of 90 %, as of two runs that have "
            "nothing in common)."
        )
    if volumes is not None:
        gaps = ", ".join(
            f"{name} {volume - volumes[0]:+.4f}" for name, volume in zip(names[1:], volumes[1:], strict=True)
        )
        story.append(
            f"Hypervolume after {equal:,} trainings of each, as a share of one box: {names[0]} {volumes[0]:.4f}; "
            f"{gaps.replace('-', '−')} from it. One run of each: what seeds of searches alone would do is not known."
        )
    return story


def _settings(views: Sequence[RunView]) -> list[list[Any]]:
    """Settings that are not alike: the name, and what each run has."""
    flat = [_flat(view.config) for view in views]
    names = sorted({name for one in flat for name in one if name.partition(".")[0] not in _PLACES})
    rows = [[name, [one.get(name, "not set") for one in flat]] for name in names]
    return [row for row in rows if len(set(row[1])) > 1]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return found


def write_comparison(found: Comparison, path: Path) -> Path:
    """Write a comparison as one HTML page without scripts, whole or not at all."""
    from reports.fronts_picture import fronts
    from reports.page import render_plain

    path.parent.mkdir(parents=True, exist_ok=True)
    page = render_plain("comparison.html", {"found": found, "picture": fronts(found["runs"])})
    write_whole(path, page, errors="replace")
    return path
