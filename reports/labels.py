"""Where to write the few labels of a scatter plot, so that none covers a mark or another label."""

from __future__ import annotations

from collections.abc import Sequence

Box = tuple[float, float, float, float]
#: The inside of a plot on a phone, in pixels: what fits there fits on any screen.
_WIDTH, _HEIGHT = 300.0, 250.0
_LETTER, _LINE, _MARK, _GAP = 6.2, 13.0, 5.0, 8.0
_POSITIONS = ("top center", "bottom center", "middle right", "middle left", "top right", "top left", "bottom right", "bottom left")


def place(
    labels: Sequence[tuple[float, float, str]],
    marks: Sequence[tuple[float, float]],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> list[str | None]:
    """Plotly's `textposition` of each label (x, y, text), None where there is no room for it.

    Earlier labels take their place first. `marks` are the points that no label may cover.
    """

    def pixels(x: float, y: float) -> tuple[float, float]:
        return (
            _WIDTH * (x - x_range[0]) / (x_range[1] - x_range[0]),
            _HEIGHT * (y_range[1] - y) / (y_range[1] - y_range[0]),
        )

    taken = [_around(*pixels(x, y), _MARK) for x, y in marks]
    found: list[str | None] = []
    for x, y, text in labels:
        centre = pixels(x, y)
        for position in _POSITIONS:
            box = _box(centre, text, position)
            inside = box[0] >= 0 and box[1] >= 0 and box[2] <= _WIDTH and box[3] <= _HEIGHT
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                found.append(position)
                break
        else:
            found.append(None)
    return found


def _around(x: float, y: float, radius: float) -> Box:
    return x - radius, y - radius, x + radius, y + radius


def _box(centre: tuple[float, float], text: str, position: str) -> Box:
    """The text's box beside `centre`: left, top, right, bottom, in pixels from the top left."""
    vertical, horizontal = position.split()
    width, (x, y) = _LETTER * len(text), centre
    left = {"center": x - width / 2, "right": x + _GAP, "left": x - _GAP - width}[horizontal]
    top = {"top": y - _GAP - _LINE, "middle": y - _LINE / 2, "bottom": y + _GAP}[vertical]
    return left, top, left + width, top + _LINE


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
