"""The report as one HTML file that opens offline, whatever strings the record holds.

A view of the document (`reports.document`), and nothing but it: what is recorded reaches the page through jinja2's
escaping, or as JSON that cannot leave its script element. The content security policy lets run only the scripts, and
apply only the style, whose hashes it lists; nothing is ever requested.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import formatting
from reports.document import Document, document_of
from reports.errors import ReportError
from reports.view import RunView
from trials.whole_files import write_whole

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

#: The page's own scripts, in the order in which they build on each other.
SCRIPTS = (
    "data", "words", "state", "figure", "axes", "tip", "front", "budgets", "shortlist", "network", "effects", "forest",
    "lines", "timeline", "filters", "parallel", "table", "page",
)  # fmt: skip
#: Columns of the trials that no script asks for.
_NOT_DRAWN = ("ended", "seed", "longest_score", "attempts")
LIBRARY = "lib/d3.min.js"
_COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}")
_COMMAND = re.compile(r"\b(nas (?:ablate|attention|export|finalists|noise|report|search|show|trust))\b")


def write_report(view: RunView, path: Path) -> Path:
    """Write the report of a run to `path`, whole or not at all, and return it.

    An existing file is replaced. The page needs nothing beside it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, render(view), errors="replace")  # a folder's name need not be UTF-8: what is not is shown as "?"
    return path


def render(view: RunView) -> str:
    """The page of a run."""
    return render_document(document_of(view))


def render_document(document: Document) -> str:
    """The page of a document."""
    scripts = [_asset(LIBRARY), page_script()]
    style = f"{_asset('report.css')}\n{palette_css(document['palette'])}"
    context = {
        **{name: document[name] for name in ("run", "verdict", "head", "palette", "sections", "version", "sha256")},
        "csp": policy(scripts, style),
        "style": style,
        "scripts": scripts,
        "report_json": script_json(page_data(document)),
    }
    return environment().get_template("report.html").render(context)


def page_data(document: Document) -> dict[str, Any]:
    """What the page's scripts draw from: of all else the page has the text already."""
    columns = {name: column for name, column in document["trials"]["columns"].items() if name not in _NOT_DRAWN}
    blocks = [block for section in document["sections"] for block in section["blocks"]]
    charts = [one for block in blocks for one in (block["charts"] if block["kind"] == "charts" else [block])]
    return {
        **{name: document[name] for name in ("run", "palette", "axes", "budgets")},
        "trials": {**document["trials"], "columns": columns},
        "charts": {
            one["key"]: {name: value for name, value in one.items() if name not in ("kind", "draws", "alt", "note")}
            for one in charts
            if one["kind"] == "chart"
        },
    }


def render_plain(template: str, context: dict[str, Any]) -> str:
    """A page without scripts, in the same clothes."""
    style = _asset("report.css")
    return environment().get_template(template).render({**context, "style": style, "csp": policy((), style)})


def page_script() -> str:
    """The page's own scripts as one, which leaves no name behind."""
    parts = (f"// {name}.js\n{_asset(f'page/{name}.js')}" for name in SCRIPTS)
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def script_json(value: Any) -> str:
    """JSON for the inside of a script element: no sequence in it can end the element or open a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def palette_css(palette: Iterable[dict[str, Any]]) -> str:
    """A class for each operator: its colour, the ink that reads on it, and stripes where a colour is used again.

    Raises ReportError where one is no colour: it would be a style of whoever wrote the document.
    """
    palette = list(palette)
    for given in (colour[kind] for colour in palette for kind in ("fill", "ink")):
        if not _COLOUR.fullmatch(str(given)):
            raise ReportError(
                f"the report has the colour {str(given)[:40]!r}; expected # and 3 to 8 hex digits: make it anew from "
                "its run with nas report"
            )
    stripes = "background-image:repeating-linear-gradient(45deg,transparent 0 3px,#fff8 3px 5px)"
    return "\n".join(
        f".o{place}{{background-color:{colour['fill']};color:{colour['ink']};{stripes if colour['striped'] else ''}}}"
        for place, colour in enumerate(palette)
    )


def policy(scripts: Iterable[str], style: str) -> str:
    """Nothing may be loaded from anywhere; only these scripts run and only this style applies."""
    hashes = " ".join(map(_hash, scripts)) or "'none'"
    return (
        f"default-src 'none'; script-src {hashes}; style-src {_hash(style)}; img-src data: blob:; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _asset(name: str) -> str:
    text = (files("reports") / "templates" / name).read_text("utf-8")
    if name.endswith(".js") and "</script" in text.lower():
        raise RuntimeError(f"{name} cannot be put into a page: it would end its own script element")
    return text


def _with_commands(text: str) -> Markup:
    """Escaped, with the program's commands set as code."""
    from markupsafe import Markup, escape

    return Markup(_COMMAND.sub(r"<code>\1</code>", str(escape(text))))


def environment() -> Environment:
    """Of the page's templates: escaped by default."""
    from jinja2 import Environment, FunctionLoader

    made = Environment(loader=FunctionLoader(_asset), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.filters["capital"] = formatting.capital
    made.filters["commands"] = _with_commands
    return made
