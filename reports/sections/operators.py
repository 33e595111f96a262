"""The network as it is drawn, and what matters where: by the model, by ablation, by attention weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reports import ablation, attention
from reports.blocks import Block, absent, chart, heading, lead, section, table, text
from reports.drawing import Palette, merges_text, network, shape_text
from reports.effects import Effects, Pair, effects_of
from reports.estimates import probability_text
from reports.summary import space_of
from reports.tables import point_rows, used_operators
from reports.view import RunView

#: Lines of how attention moved: of more, those that moved most.
MOVED = 16

if TYPE_CHECKING:
    from trials.estimates.estimate import Estimate


def architectures(view: RunView) -> dict[str, Any]:
    """The network with its fusion points in the order in which data flow."""
    points = view.description.get("points") or ()
    if not points:
        return section(
            "network", "Architectures", [absent("The record does not describe the network's fusion points.")]
        )
    spec = space_of(view).get("input") or {}
    stages = [
        {
            "title": stage.title, "kind": stage.kind, "merges": stage.merges, "shape": stage.shape,
            "points": [point.name for point in stage.points],
        }
        for stage in network(points, None)
    ]  # fmt: skip
    ends = [shape_text({**spec, "height": spec.get("size"), "width": spec.get("size")}) or "input"]
    ends.append(f"{spec['classes']} classes" if spec.get("classes") else "output")
    note = (
        f"{len(points)} fusion points in forward order, grouped where maps change shape or number. A frame marks where "
        "it differs from what it is compared with."
    )
    drawn = chart(
        "network", "network-chart", "One architecture, and where it differs", "The network with the operator of the "
        "selected architecture at every fusion point, in the order in which data flow.", note,
        ["point", "stage", "kind", "merges", "shape", "stride"],
        [
            [str(p.get("name") or ""), str(p.get("name") or "").partition(".")[0], str(p.get("kind") or ""),
             merges_text(p), shape_text(p), str(p.get("stride") or "")]
            for p in points
        ],
        stages=stages, ends=ends,
    )  # fmt: skip
    return section("network", "Architectures", [drawn])


def operators(view: RunView, palette: Palette) -> dict[str, Any]:
    """What each operator is worth at each point, early against late, and in pairs."""
    found = effects_of(view)
    blocks: list[Block] = []
    if found is None or not found.effects:
        why = "nothing is estimated" if view.model is None else "all-add was not completed, or nothing else was tried"
        blocks.append(absent(f"The model's effects of operators are not known: {why}."))
    else:
        blocks += _by_model(view, found)
    blocks += _as_tried(view, palette)
    return section("operators", "What matters where", blocks)


def _by_model(view: RunView, found: Effects) -> list[Block]:
    tried = sum(effect.n for effect in found.effects)
    note = (
        f"By the Gaussian model of all trainings: the mean, over {found.contexts} architectures "
        "(all-add and the best by "
        "estimate), of the score with the operator at the point less that with add there, all else alike; intervals of "
        f"90 %; n: trained architectures with the operator there ({tried:,} places in all). The reduction ratio is the "
        "one that was tried most often there. Filled where the interval leaves 0 out."
    )
    rows = [
        [e.point, str(e.choice), _signed(e.worth.gain.mean), _signed(e.worth.gain.low), _signed(e.worth.gain.high),
         probability_text(e.worth.better), e.n]
        for e in found.effects
    ]  # fmt: skip
    effects = [
        {"point": e.point, "choice": str(e.choice), "operator": e.choice.op, "n": e.n, **_interval(e.worth)}
        for e in found.effects
    ]
    sure = [e for e in found.effects if e.worth.gain.low > 0 or e.worth.gain.high < 0]
    said = f"{len(sure)} of {len(found.effects)} effects leave 0 out of their interval"
    blocks = [
        lead(
            f"What an operator is worth over add at a point, in points of {view.score_label}, as the model of all "
            f"trainings has it. {said}: of so many, one in ten would by chance."
        ),
        chart(
            "effects", "effects-chart", "Worth of each operator at each point", f"{said}.", note,
            ["point", "choice", "points", "low", "high", "P(better than add)", "n"], rows, effects=effects,
        ),
    ]  # fmt: skip
    if found.halves:
        blocks.append(_halves(view, found))
    if found.pairs:
        how = f"in trial {found.best}, of all pairs of its points without add"
        blocks.append(_pairs("pairs-chart", f"Strongest pairs of trial {found.best}", view, found.pairs, how))
    if found.tried:
        how = "in a network that has add everywhere else, of what was tried together"
        blocks.append(_pairs("tried-pairs-chart", "Strongest pairs of all that was tried", view, found.tried, how))
    return blocks


def _halves(view: RunView, found: Effects) -> Block:
    rows = [
        {"label": f"{h.name}: {h.points[0]} … {h.points[-1]}" if len(h.points) > 1 else f"{h.name}: {h.points[0]}",
         "n": len(h.points), **_interval(h.worth)}
        for h in found.halves
    ]  # fmt: skip
    return forest(
        "halves-chart", "Early against late", f"points of {view.score_label}", rows,
        f"By the same model: trial {found.best}'s choices in one half of the network alone, add in the other, less "
        "all-add; intervals of 90 %.",
    )  # fmt: skip


def _pairs(key: str, title: str, view: RunView, pairs: Sequence[Pair], how: str) -> Block:
    rows = [
        {"label": f"{a} {x} + {b} {y}", "n": p.n, **_interval(p.beyond)}
        for p in pairs
        for (a, b), (x, y) in [(p.points, tuple(map(str, p.choices)))]
    ]
    return forest(
        key, title, f"points of {view.score_label} beyond the sum", rows,
        f"By the same model: what two choices are worth together beyond what each is worth alone, {how}; the "
        f"{len(rows)} that are surest to differ from 0; n: trained architectures with both operators there; intervals "
        "of 90 %, of each alone: of so many that were looked through, some differ by chance.",
    )  # fmt: skip


def _as_tried(view: RunView, palette: Palette) -> list[Block]:
    used = used_operators(view, palette)
    rows = point_rows(view, used)
    if not rows or not used:
        return []
    cells = [
        [row.name, row.kind, row.merges, row.shape, row.stride,
         *("" if s is None else f"{100 * s.mean:.2f} (n = {s.n})" for s in row.standings)]
        for row in rows
    ]  # fmt: skip
    note = (
        f"Mean validation {view.score_label} in % of the {len(view.complete):,} completed trials by "
        "the operator at each "
        "point, and in how many it stood there. This describes the trials that were run. It does not "
        "show that an operator "
        "causes the difference: the other points varied too, and the search preferred what did well."
    )
    table_ = table(["point", "kind", "merges", "channels and size", "stride", *used], cells, note)
    return [table_ | {"folded": "As they were tried: the plain means"}]


def ablations(view: RunView) -> dict[str, Any]:
    blocks: list[Block] = []
    for found in ablation.ablations_of(view):
        blocks.append(heading(f"Trial {found.plan.trial}"))
        blocks += [text(sentence) for sentence in ablation.ablation_story(found)]
        points = [c for c in found.of_role("without") if c.score is not None]
        if points:
            blocks.append(_contributions(found, points))
        blocks.append(table(ablation.ABLATION_COLUMNS, ablation.ablation_rows(found), ablation.ABLATION_LEGEND))
    return section("ablation", "What each fusion contributes", blocks or [absent(
        "Not measured in this run: nas ablate reverts one fusion point at a time to add, and says "
        "what that costs and saves."
    )])  # fmt: skip


def _contributions(found: ablation.Ablation, points: Sequence[ablation.Contribution]) -> Block:
    rows = [
        {
            "label": c.name, "mean": round(100 * c.score.mean, 4), "low": round(100 * c.score.low, 4),
            "high": round(100 * c.score.high, 4), "filled": c.score.distinguishable, "bar": c.macs,
            "bar_text": f"{ablation.signed_count(c.macs)} FLOPs",
        }
        for c in points
        if c.score is not None
    ]  # fmt: skip
    number = found.plan.trial
    return forest(
        f"ablation-{number}", f"Fusions of trial {number}", "points of the score", rows,
        "What the score loses where the point is reverted to add, a mean over "
        f"{len(found.plan.seeds)} paired seeds with "
        "its 95 % interval, filled where that leaves 0 out; beside it the point's price in FLOPs.",
    )  # fmt: skip


def attentions(view: RunView, palette: Palette) -> dict[str, Any]:
    found = attention.pictures_of(view)
    if not found:
        return section("attention", "Attention weights", [*_moved(view, palette), absent(
            "The distribution of the weights was not looked at in this run: nas attention does that for every trial "
            "whose weights were kept."
        )])  # fmt: skip
    legend = attention.ATTENTION_LEGEND
    blocks = [lead(f"{legend[0].upper()}{legend[1:]}. The dashed line is the mean.")]
    for one in found:
        words = f"{one.words[0].upper()}{one.words[1:]}"
        pictures = [
            {"point": p.point, "choice": p.choice, "part": p.part, "path": p.path, "mean_x": p.mean_x,
             "upper": p.upper, "words": p.words}
            for p in one.pictures
        ]  # fmt: skip
        blocks.append(
            {"kind": "pictures", "summary": words, "open": one.best, "pictures": pictures,
             "width": attention.WIDTH, "height": attention.HEIGHT}
            if pictures else text(f"{words}.")
        )  # fmt: skip
    return section("attention", "Attention weights", [*_moved(view, palette), *blocks])


def _moved(view: RunView, palette: Palette) -> list[Block]:
    """How the weights of the first of the front moved from epoch to epoch, where that was recorded."""
    shown = next((t for t in view.front if t.longest_attention is not None), None)
    if shown is None or (found := shown.longest_attention) is None:
        return []
    choices = shown.result.architecture.choices
    operators = {name: place for place, name in enumerate(palette.operators)}
    charts = []
    for key, title, figures in (("mean", "Means", found.means), ("spread", "Spreads", found.spreads)):
        # Attention over positions is told in even shares, whose mean is 1 whatever it looks at.
        places = [p for p, upper in enumerate(found.upper) if key == "spread" or upper == 1]
        if not places or len(found.epochs) < 2:
            continue
        places.sort(key=lambda p: max(row[p] for row in figures) - min(row[p] for row in figures), reverse=True)
        drawn = [
            {
                "name": " ".join((point, str(choices[point]), part)), "label": f"{point} {part}",
                "x": list(found.epochs),
                "y": [row[p] for row in figures], "look": "other", "operator": operators[choices[point].op],
            }
            for p in places[:MOVED]
            for point, part in [found.parts[p]]
        ]  # fmt: skip
        rows = [
            [point, str(choices[point]), part, epoch, f"{row[p]:.4f}"]
            for p in places
            for point, part in [found.parts[p]]
            for epoch, row in zip(found.epochs, figures, strict=True)
        ]
        most = f" The {MOVED} of {len(places)} that moved most are drawn." if len(places) > MOVED else ""
        charts.append(chart(
            "lines", f"attention-{key}", f"{title} from epoch to epoch",
            f"{title} of {len(drawn)} attention weights of trial {shown.result.number} over {found.epochs[-1]} epochs.",
            f"Of trial {shown.result.number}, over the same few validation images after each of these epochs, in the "
            f"colours of the operators.{most}",
            ["point", "operator", "weights", "epoch", key], rows, xs={"epoch": []}, series=drawn,
            unit=f"{key} of the weights",
        ))  # fmt: skip
    return [{"kind": "charts", "charts": charts}] if charts else []


def forest(key: str, title: str, unit: str, rows: Sequence[Mapping[str, Any]], note: str) -> Block:
    """Rows of a mean with its interval."""
    columns = ["what", unit, "low", "high"]
    cells = [[r["label"], _signed(r["mean"]), _signed(r["low"]), _signed(r["high"])] for r in rows]
    alt = "; ".join(f"{r['label']} {_signed(r['mean'])}" for r in rows[:4])
    return chart("forest", key, title, f"{title}: {alt}.", note, columns, cells, unit=unit, intervals=list(rows))


def _interval(worth: Estimate) -> dict[str, Any]:
    gain = worth.gain
    return {
        "mean": round(gain.mean, 4), "low": round(gain.low, 4), "high": round(gain.high, 4),
        "filled": gain.low > 0 or gain.high < 0, "better": round(worth.better, 4),
    }  # fmt: skip


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
