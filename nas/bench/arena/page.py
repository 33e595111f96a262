"""A comparison as one HTML file that opens offline: no script, no request, in the report's own style."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.bench.arena.compare import TOP, ByTruth, Line, Prospect, Result, Setting
from nas.bench.arena.estimates import Estimate
from nas.bench.arena.methods import method
from nas.bench.arena.pictures import colour_of, image_curves, rank_picture, time_curves
from trials.whole_files import write_whole

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "compare.html"
#: Heading, what it means.
COLUMNS = (
    ("Method", ""),
    ("True gain", "points of true accuracy of what it recommends above all-add"),
    ("Spread", "standard deviation of the gain over searches"),
    ("Regret", "points below the best architecture within the budget"),
    ("Volume", "feasible hypervolume of its front's true figures, as a share of the best front's, at the end"),
    ("… by images", "mean of the same over the images trained on"),
    ("… by clock", "mean of the same over the simulated wall clock"),
    ("Null", "searches that name a winner where all architectures are equal"),
    ("Known", "searches that find the planted winner or its equal"),
    ("Ordinary's", "share of the images after which its volume is what optuna-search's is after all"),
    ("Wasted", "share of images trained on what is over the budget or was trained before"),
    ("Over", "recommendations over the budget, which count as all-add"),
    ("Not measured", "looks that the table's model answered"),
    ("Own time", "seconds of this CPU that the method itself took for a search"),
    ("Rank", "mean rank by true gain, 1 the best"),
)


def write_page(found: Result, path: Path) -> None:
    """Whole or not at all; an existing file is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, render(found))


def render(found: Result) -> str:
    """The page's HTML."""
    methods = found.comparison.methods
    context: dict[str, Any] = {
        "style": (files("reports") / "templates" / "report.css").read_text("utf-8"),
        "facts": found.table,
        "comparison": found.comparison,
        "columns": COLUMNS,
        "truths": [
            (one, [_setting(found, one, setting) for setting in found.comparison.settings]) for one in found.truths
        ],
        "legend": [(name, _about(found, name), *colour_of(place)) for place, name in enumerate(methods)],
    }
    return _environment().get_template("compare.html").render(context)


def _about(found: Result, name: str) -> str:
    most = found.comparison.most_looks.get(name)
    return method(name).about + ("" if most is None else f"; of searches of at most {most} looks, for what it takes")


def _setting(found: Result, truth: ByTruth, setting: Setting) -> dict[str, Any]:
    lines = [line for line in truth.lines if line.setting == setting]
    ordered = sorted(lines, key=lambda line: line.rank)
    return {
        "name": setting.name,
        "verdict": _verdict(ordered, found.comparison.critical(setting)),
        "prospect": prospect_text(
            next(one for one in truth.prospects if one.setting == setting), found.comparison.look
        ),
        "ranks": rank_picture(lines, found.comparison.critical(setting)),
        "by_images": image_curves(lines),
        "by_time": time_curves(lines),
        "rows": [_row(line) for line in ordered],
    }


def prospect_text(there: Prospect, look: str) -> str:
    """What there is to be found, in a sentence."""
    return (
        f"A uniform draw within the budget gains {there.drawn:+.2f} points on average, the best {there.best:+.2f}. "
        f"Without noise, {look} ranks the truth with ρ {there.by_accuracy:.2f} by accuracy and {there.by_loss:.2f} by "
        f"loss; the {TOP} that it likes best gain {there.liked_by_accuracy:+.2f} and {there.liked_by_loss:+.2f}: what "
        "goes by it alone finds more by luck only."
    )


def _verdict(ordered: Sequence[Line], critical: float) -> str:
    best = ordered[0]
    behind = [line.method for line in ordered if line.rank - best.rank >= critical]
    if not behind:
        return "No method is further from another than chance may make of so many searches."
    return f"{best.method} has the best mean rank; {', '.join(behind)} {'are' if len(behind) > 1 else 'is'} behind it."


def _row(line: Line) -> list[tuple[str, str]]:
    """Figure and interval of each column."""
    return [
        (line.method, ""), _points(line.gain, "+"), _points(line.spread), _points(line.regret), _points(line.volume),
        _points(line.anytime), _points(line.against_time), _share(line.null), _share(line.known),
        ordinary_text(line), _share(line.wasted), _share(line.infeasible), (f"{line.modelled:.0%}", ""),
        (f"{line.own_seconds:.2g} s", ""), (f"{line.rank:.1f}", ""),
    ]  # fmt: skip


def _points(found: Estimate, sign: str = "") -> tuple[str, str]:
    return f"{found.value:{sign}.2f}", f"{found.low:.2f} to {found.high:.2f}"


def _share(found: Estimate) -> tuple[str, str]:
    return f"{found.value:.0%}", f"{found.low:.0%} to {found.high:.0%}"


def ordinary_text(line: Line) -> tuple[str, str]:
    """When its volume is the ordinary set-up's, and the interval of that."""
    found = line.ordinary
    if found is None:
        return "n/a", ""
    share, low, high = ("never" if one is None else f"{one:.0%}" for one in (found.share, found.low, found.high))
    return share, f"{low} to {high}" if low != high else ""


def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader

    def text(name: str) -> str:
        return (files("nas.bench.arena") / name).read_text("utf-8")

    return Environment(loader=FunctionLoader(text), autoescape=True, trim_blocks=True, lstrip_blocks=True)
