"""All trials of a run by column, as the page's charts and tables take them: numbers once, texts by their place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reports.budgets import limits
from reports.drawing import Palette, stage_of
from reports.trial_view import TrialView
from reports.view import RunView
from trials.budgets.pricing import for_good
from trials.trial import TrialState

#: What of an error message goes into a report: one of 1,000 failures must still open.
_ERROR_CHARACTERS = 1500
#: Costs that the front can be drawn against: their names, units and what they are called.
COSTS = {"macs": "FLOPs (multiply-adds)", "latency_ms": "p50 latency (ms)", "params": "parameters"}

#: Columns of which each value is a list of places.
_OF_MANY = ("architecture", "over", "open")


class _Texts:
    """Texts by their place, each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._place: dict[str, int] = {}

    def __call__(self, text: str | None) -> int | None:
        if not text:
            return None
        if text not in self._place:
            self._place[text] = len(self.texts)
            self.texts.append(text)
        return self._place[text]


def trial_columns(view: RunView, palette: Palette) -> dict[str, Any]:
    """`columns` by name, each a value a trial or None where no trial has one; `texts` are what `state`, `origin`,
    `failure` and `error` point to, `choices` what the places of `architecture` do, point by point."""
    texts, choices = _Texts(), _Texts()
    points = [str(point.get("name") or "") for point in view.description.get("points") or ()]
    points = points or list(next((r.architecture.choices for r in view.results), {}))
    begun = view.sessions[0].started_at if view.sessions else None

    def ended(trial: TrialView) -> float | None:
        moment = view.moments.get(trial.result.number)
        return None if moment is None or begun is None else round(moment - begun, 1)

    of: dict[str, Callable[[TrialView], Any]] = {
        "number": lambda t: t.result.number,
        "state": lambda t: texts(str(t.result.state)),
        "origin": lambda t: texts(t.result.origin),
        "architecture": lambda t: [choices(str(choice)) for choice in t.result.architecture.choices.values()],
        "score": lambda t: _rounded(t.result.score, 6),
        "loss": lambda t: _rounded(t.result.loss, 5),
        "quality": lambda t: _rounded(t.quality if t.result.state is TrialState.COMPLETE else None, 6),
        "low": lambda t: None if t.estimate is None else round(t.estimate.score.low / 100, 6),
        "high": lambda t: None if t.estimate is None else round(t.estimate.score.high / 100, 6),
        "gain": lambda t: None if t.gain is None else round(t.gain.mean, 4),
        "gain_low": lambda t: None if t.gain is None else round(t.gain.low, 4),
        "gain_high": lambda t: None if t.gain is None else round(t.gain.high, 4),
        "better": lambda t: None if t.better is None else round(t.better, 4),
        "macs": lambda t: t.result.macs,
        "params": lambda t: t.result.params,
        "latency_ms": lambda t: None if t.latency is None else _short(t.latency.p50_ms),
        "p95_ms": lambda t: None if t.latency is None else _short(t.latency.p95_ms),
        # What a moved budget is held against: the least that it may be, where it was not measured for good.
        "latency_low": lambda t: None if t.latency is None or for_good(t.latency) else _short(t.latency.low_ms),
        "latency_source": lambda t: None if t.latency is None else texts(str(t.latency.source)),
        "unsteady": lambda t: 0 if t.latency is None else int(not t.latency.stable),
        "seconds": lambda t: _short(t.result.seconds),
        "ended": ended,
        "seed": lambda t: t.result.seed,
        "epochs": lambda t: t.longest.epochs,
        "longest_score": lambda t: _rounded(t.longest.score, 6) if t.longer is not None else None,
        "feasible": lambda t: None if t.feasible is None else int(t.feasible),
        "front": lambda t: int(t.on_front),
        "kept_off": lambda t: int(t.fails_longer is not None),
        "over": lambda t: [
            i for i, c in enumerate(view.constraints) if t.violations.get(c.metric, 0) > 0 and c.metric not in t.open
        ],
        "open": lambda t: [i for i, c in enumerate(view.constraints) if c.metric in t.open],
        "failure": lambda t: texts(None if t.result.failure is None else str(t.result.failure)),
        "error": lambda t: texts(_shortened(t.result.error)),
        "attempts": lambda t: t.result.attempts,
    }
    columns = {name: _column(map(take, view.trials)) for name, take in of.items()}
    operators = {name: place for place, name in enumerate(palette.operators)}
    return {
        "columns": columns,
        "texts": texts.texts,
        "choices": [{"label": label, "operator": operators[label.partition("/")[0]]} for label in choices.texts],
        "points": [{"name": name, "stage": stage_of(name)} for name in points],
    }


def axes(view: RunView) -> list[dict[str, Any]]:
    """The costs that some completed trial has: FLOPs first."""
    return [
        {"key": key, "name": name}
        for key, name in COSTS.items()
        if any(t.objective(key) is not None for t in view.complete)
    ]


def budgets(view: RunView) -> list[dict[str, Any]]:
    """The budgets in the order of the run's constraints: `limit` is None where it is not known."""
    known = {limit.metric: limit for limit in limits(view)}
    return [
        {
            "metric": c.metric,
            "at_least": c.at_least,
            "limit": None if (limit := known.get(c.metric)) is None else limit.value,
            "text": str(c) if limit is None else limit.text,
        }
        for c in view.constraints
    ]


def _column(values: Iterable[Any]) -> list[Any] | None:
    found = list(values)
    return found if any(value is not None for value in found) else None


def _rounded(value: float | None, places: int) -> float | None:
    return None if value is None else round(value, places)


def _short(value: float | None) -> float | None:
    """To five significant digits: what is measured is not known better."""
    return None if value is None else float(f"{value:.5g}")


def _shortened(error: str | None) -> str | None:
    """A traceback says what went wrong in its last lines."""
    said = (error or "").strip()
    return said if len(said) <= _ERROR_CHARACTERS else "(shortened) …" + said[-_ERROR_CHARACTERS:]


def rows_of(trials: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trials of a document as a record each: texts and choices in full. What no trial has is left out."""
    columns, texts, choices = trials["columns"], trials["texts"], [choice["label"] for choice in trials["choices"]]
    names = [name for name, column in columns.items() if column is not None and name not in _OF_MANY]
    rows = []
    for place in range(len(columns["number"] or ())):
        row = {name: columns[name][place] for name in names}
        for name in ("state", "origin", "failure", "error", "latency_source"):
            if row.get(name) is not None:
                row[name] = texts[row[name]]
        chosen = columns["architecture"][place]
        row |= {point["name"]: choices[c] for point, c in zip(trials["points"], chosen, strict=False)}
        rows.append(row)
    return rows
