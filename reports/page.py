"""The report: one HTML file that opens offline, whatever strings the record holds.

Everything recorded reaches the page through jinja2's escaping or as JSON that cannot leave its script
element, and the content security policy lets run only the three scripts whose hashes it lists.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import ablation, attention, estimates, figures, formatting, noise, scores, summary, tables, trust
from reports.ablation_figure import contributions
from reports.drawing import Palette, network, shape_text
from reports.effort import effort_story
from reports.evidence import evidence_story
from reports.finalists import finals_of
from reports.finalists_figure import selected_and_tested
from reports.latency import latency_story
from reports.precision import precision_story
from reports.regime import regime_story
from reports.verdict import FINAL_COLUMNS, final_rows, finals_story, verdict_of
from reports.view import RunView
from trials.whole_files import write_whole

if TYPE_CHECKING:
    from jinja2 import Environment


def write_report(view: RunView, path: Path) -> Path:
    """Write the report of a run to `path`, whole or not at all, and return it.

    An existing file is replaced. The page needs nothing beside it: plotly.js is in it, and it makes no
    request.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, render(view), errors="replace")  # a folder's name need not be UTF-8: what is not is shown as "?"
    return path


def render(view: RunView) -> str:
    """The page's HTML."""
    palette = Palette.of(view)
    plots = [(metric, figures.pareto(view, metric)) for metric in figures.AXES]
    curves = figures.curves(view)
    ablations = [(found, contributions(found)) for found in ablation.ablations_of(view)]
    finals = finals_of(view)
    tested = None if finals is None else selected_and_tested(finals)
    possible = (*(figure for _, figure in plots), curves, tested, *(figure for _, figure in ablations))
    drawn = [figure for figure in possible if figure is not None]
    used = {name for figure in drawn for name in figure.kinds}
    best = summary.best(view)
    trusted = trust.trust_of(view)
    operators = tables.used_operators(view, palette)
    points = tables.point_rows(view, operators)
    scripts = {"plotly": _plotly() if drawn else "", "page": _asset("report.js")}
    context: dict[str, Any] = {
        "csp": _policy(scripts.values()),
        "style": _asset("report.css"),
        "scripts": scripts,
        "figures_json": script_json({figure.id: figure.spec for figure in drawn}),
        "view": view,
        "name": view.path.resolve().name or str(view.path),
        "begun": formatting.format_time(view.sessions[0].started_at if view.sessions else None),
        "space": summary.space_of(view),
        "input_shape": _input_shape(view),
        "data": summary.data_facts(view),
        "leaks": " ".join(f"{sentence}." for sentence in summary.data_findings(view)),
        "verdict": summary.verdict(view),
        "budgets": summary.budget_words(view),
        "tiles": summary.tiles(view),
        "plots": plots,
        "curves": curves,
        "kinds": [(name, kind) for name, kind in figures.KINDS.items() if name in used],
        "palette": palette,
        "front": tables.front_rows(view, palette),
        "rows": tables.all_rows(view, palette),
        "figures": scores.figure_table(view),
        "picture": scores.picture_of(view),
        "decoding": scores.decoding_text(view),
        "categories": scores.category_table(view),
        "best": best,
        "stages": network(
            view.description.get("points") or (), None if best is None else palette.strip(best.result.architecture)
        ),
        "operators": operators,
        "points": points,
        "spread": tables.spread_text(points),
        "spent": summary.spent(view),
        "effort_story": effort_story(view),
        "sessions": summary.sessions(view),
        "timed": [trial.latency for trial in view.trials if trial.latency is not None],
        "latency_story": latency_story(view),
        "estimated_from": estimates.trainings_text(view),
        "finals": finals,
        "finals_verdict": verdict_of(view),
        "finals_figure": tested,
        "finals_rows": [] if finals is None else final_rows(finals),
        "finals_story": [] if finals is None else finals_story(finals),
        "finals_columns": FINAL_COLUMNS,
        "noise": noise.noise_rows(noise.noise_floors(view)),
        "noise_text": (noise.NOISE_COLUMNS, noise.NOISE_LEGEND),
        "advice": None if view.advice is None else noise.advice_text(view.advice),
        "agreements": [] if trusted is None else trust.agreement_rows(trusted),
        "agreement_text": (trust.AGREEMENT_COLUMNS, trust.AGREEMENT_LEGEND),
        "training_story": [*regime_story(view), *precision_story(view)],
        "evidence_story": evidence_story(view),
        "trust_story": trust.trust_story(view),
        "ablations": [
            (found, figure, ablation.ablation_rows(found), ablation.ablation_story(found))
            for found, figure in ablations
        ],
        "ablation_text": (ablation.ABLATION_COLUMNS, ablation.ABLATION_LEGEND),
        "attention": attention.pictures_of(view),
        "attention_legend": attention.ATTENTION_LEGEND,
        "picture_size": (attention.WIDTH, attention.HEIGHT),
        "protocol": view.description.get("latency_protocol") or {},
        "environments": summary.environments(view),
        "environment": view.description.get("environment") or {},
        "fingerprint": space_fingerprint(view),
        "seeds": sorted({r.seed for r in view.results}),
        "command": _search_command(view),
        "config_json": json.dumps(view.config, indent=2, ensure_ascii=False, default=str),
        "shape_text": shape_text,
    }
    return _environment().get_template("report.html").render(context)


def script_json(value: Any) -> str:
    """JSON for the inside of a script element: no sequence in it can end the element or open a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def space_fingerprint(view: RunView) -> str:
    """16 hex digits that change with the space: its own fingerprint, or the hash of its recorded JSON."""
    space, points = summary.space_of(view), view.description.get("points") or ()
    if not space and not points:
        return formatting.MISSING
    text = json.dumps({"space": space, "points": points}, sort_keys=True, default=str)
    return str(space.get("fingerprint") or hashlib.sha256(text.encode()).hexdigest()[:16])


def _policy(scripts: Any) -> str:
    """Nothing may be loaded from anywhere; of scripts only these run, so an injected one would not."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts if text
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _input_shape(view: RunView) -> str:
    spec = summary.space_of(view).get("input") or {}
    return shape_text({**spec, "height": spec.get("size"), "width": spec.get("size")})


def _search_command(view: RunView) -> str | None:
    """The command of the first session, where the record has it."""
    for session in view.sessions:
        command = (session.details or {}).get("command")
        if command:
            return command if isinstance(command, str) else " ".join(str(word) for word in command)
    return None


@cache
def _asset(name: str) -> str:
    return (files("reports") / "templates" / name).read_text("utf-8")


def _plotly() -> str:
    """plotly.js, from the installed package, which says who made it and under which licence."""
    text = (files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
    if "</script" in text.lower():
        raise RuntimeError("this plotly.js cannot be put into a page: it would end its own script element")
    return text


def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader

    environment = Environment(loader=FunctionLoader(_asset), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["capital"] = formatting.capital
    for name in ("count", "ms", "percent", "points", "duration", "ratio", "size"):
        environment.filters[name] = getattr(formatting, f"format_{name}")
    environment.globals.update(METRICS=summary.METRICS, zip=zip)
    return environment
