"""The picture of the finalists: what each was selected by, and what came of it on unseen images."""

from __future__ import annotations

from typing import Any

from reports.figures import BLUE, GREY, Figure, base_layout
from reports.finalists import Finals

#: Pixels of a network's row, and of what stands above and below the rows.
_ROW, _FRAME = 34, 96


def selected_and_tested(finals: Finals) -> Figure | None:
    """All-add at the top; None where none was trained anew."""
    shown = [(place, one) for place, one in enumerate(finals.everyone) if one.score is not None]
    if not shown:
        return None
    rows = list(range(len(shown)))
    gains = [None if place == 0 else finals.by_score[place - 1] for place, _ in shown]
    names = ["all-add" if place == 0 else f"trial {one.trial.result.number}" for place, one in shown]
    layout = base_layout(f"{finals.view.score_label} (%)", "", (0.0, 0.0), (len(shown) - 0.5, -0.5))
    del layout["xaxis"]["range"]
    layout["yaxis"].update(tickvals=rows, ticktext=names, fixedrange=True)
    layout["margin"]["t"] = 10
    layout["height"] = _FRAME + _ROW * len(shown)
    selected = [100 * (one.trial.quality or 0.0) for _, one in shown]
    tested = [100 * (one.score or 0.0) for _, one in shown]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "hoverinfo": "skip", "x": [a, b], "y": [row, row],
            "line": {"color": GREY, "width": 1, "dash": "dot"},
        }
        for row, a, b in zip(rows, selected, tested, strict=True)
    ]  # fmt: skip
    traces.append(_marks("selected by", selected, rows, "circle-open", GREY))
    traces.append(
        _marks("test", tested, rows, "circle", BLUE)
        | {
            "error_x": {"type": "data", "array": [0.0 if gain is None else 100 * gain.margin for gain in gains],
                        "color": BLUE, "thickness": 2, "width": 5},
        }
    )  # fmt: skip
    description = f"What all-add and {len(shown) - 1} finalists were selected by, and came to on unseen images."
    return Figure("finals", {"data": traces, "layout": layout}, description)


def _marks(name: str, values: list[float], rows: list[int], symbol: str, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "name": name, "x": values, "y": rows,
        "marker": {"size": 11, "symbol": symbol, "color": colour, "line": {"width": 2}},
        "hovertemplate": f"{name} %{{x:.2f}} %<extra></extra>",
    }  # fmt: skip
