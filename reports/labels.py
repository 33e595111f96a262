"""Where to write the few labels of a scatter plot, so that none covers a mark or another label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]
#: The inside of a plot on a phone, in pixels: what fits there fits on any screen.
_WIDTH, _HEIGHT = 300.0, 250.0
_LETTER, _LINE, _MARK, _GAP = 6.4, 13.0, 5.0, 12.0


@dataclass(frozen=True)
class Side:
    """Which side of its mark a label stands on: -1, 0 or 1, to the right and upwards."""

    right: int
    up: int

    @property
    def shift(self) -> tuple[float, float]:
        """Pixels from the mark's centre to the label's near edge, rightwards and upwards."""
        gap = _GAP if 0 in (self.right, self.up) else 0.7 * _GAP
        return self.right * gap, self.up * gap


_SIDES = tuple(Side(*side) for side in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)))


def place(
    labels: Sequence[tuple[float, float, str]],
    marks: Sequence[tuple[float, float]],
    lines: Sequence[tuple[float, float, float, float]],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> list[Side | None]:
    """The side of its mark for each label (x, y, text), None where there is no room for it.

    Earlier labels take their place first. `marks` are the points that no label may cover; `lines` (x0, y0,
    x1, y1), upright or level, are covered only by a label that would else find no room.
    """

    def pixels(x: float, y: float) -> tuple[float, float]:
        return (
            _WIDTH * (x - x_range[0]) / (x_range[1] - x_range[0]),
            _HEIGHT * (y_range[1] - y) / (y_range[1] - y_range[0]),
        )

    taken = [_around(*pixels(x, y), _MARK) for x, y in marks]
    strokes = []
    for x0, y0, x1, y1 in lines:
        (left, bottom), (right, top) = pixels(min(x0, x1), min(y0, y1)), pixels(max(x0, x1), max(y0, y1))
        strokes.append((left - 1, top - 1, right + 1, bottom + 1))
    found: list[Side | None] = []
    for x, y, text in labels:
        centre = pixels(x, y)
        chosen = _free(centre, text, [*taken, *strokes]) or _free(centre, text, taken)
        if chosen is not None:
            taken.append(_box(centre, text, chosen))
        found.append(chosen)
    return found


def _free(centre: tuple[float, float], text: str, taken: Sequence[Box]) -> Side | None:
    """The first side of `centre` where the text is inside the plot and covers nothing in `taken`."""
    for side in _SIDES:
        left, top, right, bottom = box = _box(centre, text, side)
        inside = left >= 0 and top >= 0 and right <= _WIDTH and bottom <= _HEIGHT
        if inside and not any(_overlap(box, other) for other in taken):
            return side
    return None


def _around(x: float, y: float, radius: float) -> Box:
    return x - radius, y - radius, x + radius, y + radius


def _box(centre: tuple[float, float], text: str, side: Side) -> Box:
    """The text's box beside `centre`: left, top, right, bottom, in pixels from the top left."""
    width, (right, up) = _LETTER * len(text), side.shift
    middle = centre[0] + right + side.right * width / 2
    level = centre[1] - up - side.up * _LINE / 2
    return middle - width / 2, level - _LINE / 2, middle + width / 2, level + _LINE / 2


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
