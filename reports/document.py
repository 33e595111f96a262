"""A report as one JSON document: all that a page or a text shows of a run, versioned and sealed by its own hash.

The page can be made from the document alone, at any time and anywhere; who changes the document breaks its seal.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reports.blocks import tiles
from reports.budgets import budget_words
from reports.columns import axes, budgets, trial_columns
from reports.drawing import Palette
from reports.errors import ReportError
from reports.formatting import format_time
from reports.sections import architectures, course, facts, operators, trust
from reports.summary import data_facts, data_findings, space_of, verdict
from reports.summary import tiles as head_tiles
from reports.verdict import verdict_by_estimates, verdict_of
from reports.view import RunView

FORMAT = "fusion-nas report"
#: Rises where a document of before can no longer be shown, or one of now by the program of before.
VERSION = 2

Document = dict[str, Any]


def document_of(view: RunView) -> Document:
    """All that is shown of a run, as JSON."""
    palette = Palette.of(view)
    content = {
        "format": FORMAT,
        "version": VERSION,
        **outline_of(view),
        "head": [*architectures.ship(view, palette), tiles(asdict(tile) for tile in head_tiles(view))],
        "sections": [
            architectures.front(view, palette), architectures.front_table(view, palette), operators.architectures(view),
            operators.operators(view, palette), operators.ablations(view), operators.attentions(view, palette),
            trust.finalists(view), trust.ranking(view), course.course(view), facts.trials(view), facts.data(view),
            facts.latency(view), facts.provenance(view),
        ],
    }  # fmt: skip
    plain = json.loads(json.dumps(_finite(content), default=str))
    return {**plain, "sha256": seal(plain)}


def outline_of(view: RunView) -> Document:
    """What a document says of a run but for its sections, which take longer: its verdict and its trials."""
    palette = Palette.of(view)
    said = verdict(view)
    found = verdict_of(view) or verdict_by_estimates(view)
    leaks = " ".join(f"{sentence}." for sentence in data_findings(view))
    base = view.baseline_trial
    return {
        "run": {
            "name": view.path.resolve().name or str(view.path),
            "path": str(view.path),
            "space": str(space_of(view).get("name", "n/a")),
            "data": str(data_facts(view).get("name", "n/a")),
            "begun": format_time(view.sessions[0].started_at if view.sessions else None),
            "budgets": budget_words(view),
            "finished": view.finished,
            "task": view.task,
            "metric": view.metric,
            "score_label": view.score_label,
            "objectives": list(view.objectives),
            "estimated": view.model is not None,
            "baseline": None if base is None else base.result.number,
            "version": (view.description.get("environment") or {}).get("fusion_nas"),
        },
        "verdict": {
            "headline": said.headline, "caveat": said.caveat, "leaks": leaks,
            "figures": None if found is None else found.to_json(),
        },
        "palette": [asdict(colour) for colour in palette.colours],
        "axes": axes(view),
        "budgets": budgets(view),
        "trials": trial_columns(view, palette),
    }  # fmt: skip


def seal(document: Document) -> str:
    """The SHA-256 of a document's canonical JSON, without its own seal."""
    rest = {name: value for name, value in document.items() if name != "sha256"}
    return hashlib.sha256(_canonical(rest).encode("utf-8", "surrogatepass")).hexdigest()


def document_text(document: Document) -> str:
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")) + "\n"


def read_document(path: Path) -> Document:
    """A document from its file.

    Raises ReportError where it is none, of another version, or was changed after it was sealed.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        found = document["format"], document["version"], document["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{path} is no report: expected the JSON that nas report --format json writes") from error
    if found[0] != FORMAT:
        raise ReportError(f"{path} is a {found[0]!r}; expected a {FORMAT!r}")
    if found[1] != VERSION:
        raise ReportError(
            f"{path} is of version {found[1]}; this program shows version {VERSION}: make it anew from its run"
        )
    if found[2] != seal(document):
        raise ReportError(f"{path} was changed after it was sealed: make it anew from its run with nas report")
    return dict(document)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str, allow_nan=False)


def _finite(value: Any) -> Any:
    """The same without what JSON has no word for: a number that is none is None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
