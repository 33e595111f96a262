"""Distributions of attention weights as tables and as small pictures."""

from __future__ import annotations

from dataclasses import dataclass

from reports.formatting import format_percent
from reports.view import RunView
from trials.attention.histograms import TrialAttention, WeightHistogram

_BLOCKS = "▁▂▃▄▅▆▇█"
#: Of a picture in the report, in its own units; bins are drawn as one outline.
WIDTH, HEIGHT = 160, 48

ATTENTION_COLUMNS = ("point", "operator", "weights", "mean", "SD", "lower end", "upper end", "distribution")
ATTENTION_LEGEND = (
    "weights of every channel and position over the images, from 0 to 1; of attention over positions, in multiples of "
    "an even share, from 0 to 4 and above; ends: the share of weights in the lowest and the highest 5 % of the scale, "
    "where a gate is shut or open whatever it sees (below .05, above .95)"
)


@dataclass(frozen=True)
class Picture:
    """One histogram to be drawn: an SVG path in a box of `WIDTH` by `HEIGHT`, and its figures in words."""

    point: str
    choice: str
    part: str
    path: str
    mean_x: float
    upper: str
    words: str


@dataclass(frozen=True)
class TrialPictures:
    """The pictures of one trial, in forward order; `words` say of what they are."""

    number: int
    words: str
    pictures: tuple[Picture, ...]
    best: bool


def pictures_of(view: RunView) -> tuple[TrialPictures, ...]:
    """Of every trial whose weights were looked at: the front's, the highest score first, then the others'."""
    order = {trial.result.number: place for place, trial in enumerate(view.front)}
    found = sorted(view.attention.values(), key=lambda one: (order.get(one.number, len(order)), one.number))
    return tuple(
        TrialPictures(one.number, attention_words(one), tuple(map(_picture, one.histograms)), place == 0)
        for place, one in enumerate(found)
    )


def attention_words(one: TrialAttention) -> str:
    """Which trial, over how many images."""
    images = f"{one.images:,} of {one.of_images:,}" if one.images < one.of_images else f"all {one.images:,}"
    if not one.histograms:
        return f"trial {one.number}: none of its operators computes attention weights"
    return f"trial {one.number}, over {images} validation images"


def attention_rows(one: TrialAttention) -> list[list[str]]:
    """A line for each part of each fusion, under `ATTENTION_COLUMNS`."""
    return [
        [
            h.point, h.choice, h.part, f"{h.mean:.3f}", f"{h.std:.3f}", format_percent(h.low, 1),
            format_percent(h.high, 1), _blocks(h),
        ]
        for h in one.histograms
    ]  # fmt: skip


def _blocks(histogram: WeightHistogram) -> str:
    """The histogram in a line, two bins a character; what holds no weight is blank."""
    pairs = [sum(histogram.counts[i : i + 2]) for i in range(0, len(histogram.counts), 2)]
    top = max(pairs)
    return "".join(_BLOCKS[round((len(_BLOCKS) - 1) * count / top)] if count else " " for count in pairs)


def _picture(h: WeightHistogram) -> Picture:
    top, step = max(h.counts), WIDTH / len(h.counts)
    levels = [round(HEIGHT * (1 - count / top), 2) for count in h.counts]
    path = f"M0 {HEIGHT}" + "".join(f"V{level:g}H{step * (i + 1):g}" for i, level in enumerate(levels)) + f"V{HEIGHT}Z"
    words = f"mean {h.mean:.2f}, SD {h.std:.2f}; ends {format_percent(h.low, 1)}, {format_percent(h.high, 1)}"
    upper = f"{h.upper:g}" if h.upper == 1 else f"≥ {h.upper:g}"
    return Picture(h.point, h.choice, h.part, path, round(min(h.mean / h.upper, 1.0) * WIDTH, 2), upper, words)
