"""The two pictures of a comparison as SVG: mean ranks with their critical difference, and curves over a search.

Colours of text and lines are the page's own, by class, so that they follow its light or dark theme; all that is not
drawn here is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from nas.bench.arena.compare import Line
from nas.bench.arena.estimates import Estimate
from nas.bench.arena.judging import CHECKPOINTS

_WIDTH = 860
#: Pixels of a name's row in the picture of ranks, and of what is left free at the sides.
_ROW, _SIDE = 22, 190
#: Okabe and Ito's colours, then some of Tol's; beyond them dashes tell lines apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#999933")
_DASHES = ("", "6 3", "2 3")
_CURVES = (460, 320)
#: Pixels from one interval to the next, at the right of the curves.
_BAR = 5


def rank_picture(lines: Sequence[Line], critical: float) -> str:
    """Methods of one setting on an axis of mean ranks, the best on the left; bars join those of which no two are as far
    apart as the critical difference (Demšar, JMLR 2006)."""
    ordered = sorted(lines, key=lambda line: line.rank)
    left, right = _SIDE, _WIDTH - _SIDE
    last = float(max(len(ordered), 2))

    def x(rank: float) -> float:
        return left + (rank - 1) / (last - 1) * (right - left)

    axis, parts = 46, []
    parts.append(f'<path class="axis" d="M{left} {axis}H{right}"/>')
    for rank in range(1, len(ordered) + 1):
        parts.append(f'<path class="axis" d="M{x(rank):.1f} {axis}v-6"/>')
        parts.append(f'<text x="{x(rank):.1f}" y="{axis - 10}" text-anchor="middle">{rank}</text>')
    end = min(left + critical / (last - 1) * (right - left), right)
    parts.append(f'<path class="bar" d="M{left} 14H{end:.1f}M{left} 9v10M{end:.1f} 9v10"/>')
    parts.append(f'<text x="{end + 8:.1f}" y="18">critical difference {critical:.2f}</text>')
    cliques = _cliques([line.rank for line in ordered], critical)
    for place, (first, final) in enumerate(cliques):
        y = axis + 9 + 6 * place
        parts.append(
            f'<path class="clique" d="M{x(ordered[first].rank) - 3:.1f} {y}H{x(ordered[final].rank) + 3:.1f}"/>'
        )
    begin = axis + 22 + 6 * len(cliques)
    half = (len(ordered) + 1) // 2
    for place, line in enumerate(ordered):
        on_left = place < half
        y = begin + _ROW * (place if on_left else len(ordered) - 1 - place)
        edge = left - 8 if on_left else right + 8
        at = x(line.rank)
        parts.append(f'<path class="thin" d="M{at:.1f} {axis}V{y}H{edge}"/>')
        anchor, toward = ("end", -4) if on_left else ("start", 4)
        text = f"{escape(line.method)} <tspan>{line.rank:.1f}</tspan>"
        parts.append(f'<text x="{edge + toward}" y="{y + 4}" text-anchor="{anchor}">{text}</text>')
    height = begin + _ROW * half
    said = "; ".join(f"{line.method} {line.rank:.1f}" for line in ordered)
    return _svg(_WIDTH, height, f"Mean ranks by true gain, critical difference {critical:.2f}: {said}", parts)


def _cliques(ranks: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """First and last of each group, sorted by rank, that is within the critical difference and in no larger one."""
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        final = max(place for place, other in enumerate(ranks) if other - rank < critical)
        if final > first and (not found or final > found[-1][1]):
            found.append((first, final))
    return found


def colour_of(place: int) -> tuple[str, str]:
    """A method's colour and dashes, by its place among the methods."""
    return _COLOURS[place % len(_COLOURS)], _DASHES[place // len(_COLOURS) % len(_DASHES)]


def image_curves(lines: Sequence[Line]) -> str:
    """Volume against the images trained on, a line a method, in the order of their colours."""
    most = lines[0].images
    ticks = [(share, f"{share * most / 1e6:.2g}") for share in CHECKPOINTS if share * 4 % 1 == 0]
    return _curves([line.by_images for line in lines], lines, ticks, "million images trained on")


def time_curves(lines: Sequence[Line]) -> str:
    """Volume against the simulated clock, likewise."""
    most = lines[0].seconds / 60
    ticks = [(share, f"{share * most:.3g}") for share in CHECKPOINTS if share * 4 % 1 == 0]
    return _curves([line.by_time for line in lines], lines, ticks, "minutes of the simulated clock")


def _curves(
    curves: Sequence[Sequence[Estimate]], lines: Sequence[Line], ticks: Sequence[tuple[float, str]], label: str
) -> str:
    width, height = _CURVES
    left, right, top, bottom = 44, width - 16 - _BAR * len(lines), 10, height - 42
    low = min(point.value for curve in curves for point in curve)
    high = max(max(point.value for point in curve) for curve in curves)
    low = max(0.0, min(low, *(curve[-1].low for curve in curves)))
    high = max(high, *(curve[-1].high for curve in curves), low + 1e-6)

    def x(share: float) -> float:
        return left + share * (right - left)

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    parts = []
    for step in range(5):
        value = low + step / 4 * (high - low)
        parts.append(f'<path class="grid" d="M{left} {y(value):.1f}H{right}"/>')
        parts.append(f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>')
    for share, text in ticks:
        parts.append(f'<path class="axis" d="M{x(share):.1f} {bottom}v4"/>')
        parts.append(f'<text x="{x(share):.1f}" y="{bottom + 17}" text-anchor="middle">{escape(text)}</text>')
    parts.append(f'<path class="axis" d="M{left} {bottom}H{right}"/>')
    parts.append(f'<text x="{(left + right) / 2}" y="{height - 6}" text-anchor="middle">{escape(label)}</text>')
    for place, (curve, line) in enumerate(zip(curves, lines, strict=True)):
        colour, dashes = colour_of(place)
        points = list(zip(CHECKPOINTS, curve, strict=True))
        path = "L".join(f"{x(share):.1f} {y(point.value):.1f}" for share, point in points)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        last = curve[-1]
        said = f"{line.method}: {last.value:.3f} ({last.low:.3f} to {last.high:.3f}) at the end"
        parts.append(f'<path class="curve" stroke="{colour}"{dashed} d="M{path}"><title>{escape(said)}</title></path>')
        bar = f"M{right + 8 + _BAR * place} {y(last.low):.1f}V{y(last.high):.1f}"
        parts.append(f'<path class="error" stroke="{colour}" d="{bar}"/>')
    said = "; ".join(f"{line.method} {curve[-1].value:.2f}" for line, curve in zip(lines, curves, strict=True))
    return _svg(width, height, f"Feasible hypervolume of true figures against {label}; at the end: {said}", parts)


def _svg(width: int, height: int, said: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(said)}" xmlns="http://www.w3.org/2000/svg">'
        f"{''.join(parts)}</svg>"
    )
