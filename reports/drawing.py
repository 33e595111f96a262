"""Architectures as strips of coloured cells: one cell a fusion point, one colour an operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from reports.view import RunView
from search_spaces.architecture import Architecture, FusionChoice

_ADD = "#a3acb9"
# Okabe and Ito's colours, told apart with every common colour blindness, then some of Tol's muted ones.
_COLOURS = (
    "#56b4e9", "#009e73", "#e69f00", "#cc79a7", "#0072b2", "#d55e00", "#f0e442",
    "#332288", "#88ccee", "#882255", "#999933", "#117733",
)  # fmt: skip
#: With more fusion points than this, the labels are in the cells' titles only.
_LABELLED = 6


@dataclass(frozen=True)
class Colour:
    """An operator's colour, the text colour that reads on it, and whether it is striped.

    Stripes tell apart operators that must share a colour because there are more of them than colours.
    """

    operator: str
    fill: str
    ink: str
    striped: bool


@dataclass(frozen=True)
class Cell:
    """One fusion point of a strip: `colour` is the index of its operator in the palette."""

    point: str
    label: str
    colour: int


@dataclass(frozen=True)
class Stage:
    """The consecutive cells whose points share the name before the first dot."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Strip:
    """An architecture in forward order. `text` says the same in words."""

    stages: tuple[Stage, ...]
    labelled: bool
    text: str


class Palette:
    """The run's operators, each with its colour; add is grey, for it is what the others are held against."""

    def __init__(self, operators: Iterable[str]) -> None:
        self.operators = tuple(dict.fromkeys(operators))
        self._index = {name: i for i, name in enumerate(self.operators)}

    @classmethod
    def of(cls, view: RunView) -> Palette:
        """Every operator on offer in the space, then any other one that a trial used."""
        offered = [str(name) for name in (view.description.get("space") or {}).get("operators", ())]
        used = [choice.op for result in view.results for choice in result.architecture.choices.values()]
        return cls([*offered, *used])

    @property
    def colours(self) -> tuple[Colour, ...]:
        fills = iter(range(len(self.operators)))
        return tuple(_colour(name, 0 if name == "add" else next(fills)) for name in self.operators)

    def strip(self, architecture: Architecture) -> Strip:
        """The architecture's strip. A point without a stage, such as `head`, is a stage of its own."""
        cells = [Cell(point, str(choice), self._index[choice.op]) for point, choice in architecture.choices.items()]
        stages = tuple(
            Stage(name, tuple(group)) for name, group in groupby(cells, key=lambda cell: stage_of(cell.point))
        )
        return Strip(stages, len(cells) <= _LABELLED, choices_text(architecture.choices))


def stage_of(point: str) -> str:
    """`layer1` of `layer1.0`."""
    return point.partition(".")[0]


def choices_text(choices: Mapping[str, FusionChoice], separator: str = "; ") -> str:
    """The choices by stage, runs of equal ones counted: `layer1: aff/4 ×3, add; layer2: se/8`."""
    stages = []
    for name, points in groupby(choices, key=stage_of):
        runs = [(label, len(list(run))) for label, run in groupby(str(choices[point]) for point in points)]
        stages.append(f"{name}: " + ", ".join(f"{label} ×{n}" if n > 1 else label for label, n in runs))
    return separator.join(stages)


@dataclass(frozen=True)
class DrawnPoint:
    """A fusion point of the network, with the choice of the architecture that is drawn (None: no such one)."""

    name: str
    cell: Cell | None


@dataclass(frozen=True)
class DrawnStage:
    """Fusion points in a row that merge maps of one shape in one way. `title` is the stage's name, or the point's."""

    title: str
    kind: str
    merges: str
    shape: str
    points: tuple[DrawnPoint, ...]


def network(points: Iterable[Mapping[str, Any]], strip: Strip | None) -> tuple[DrawnStage, ...]:
    """The network in forward order, coloured by `strip`. A stage is parted where its maps change shape or their number.

    The parts of a stage, such as the levels of a pyramid, are told apart by their points' names.
    """
    cells = {cell.point: cell for stage in strip.stages for cell in stage.cells} if strip else {}

    def parts(point: Mapping[str, Any]) -> tuple[str, str, str, str]:
        return stage_of(_name(point)), str(point.get("kind") or ""), merges_text(point), shape_text(point)

    groups = [(key, [_name(point) for point in group]) for key, group in groupby(points, key=parts)]
    stages = Counter(stage for (stage, *_), _ in groups)
    return tuple(
        DrawnStage(
            stage if stages[stage] == 1 else names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}",
            kind, merges, shape, tuple(DrawnPoint(name, cells.get(name)) for name in names),
        )
        for (stage, kind, merges, shape), names in groups
    )  # fmt: skip


def _name(point: Mapping[str, Any]) -> str:
    return str(point.get("name") or "")


def merges_text(point: Mapping[str, Any]) -> str:
    """`2 maps` that are summed, or the channels of concatenated ones: `64 + 128 + 32 + 32`; empty where not known."""
    inputs = point.get("inputs")
    if not isinstance(inputs, Sequence) or not inputs:
        return ""
    return " + ".join(map(str, inputs)) if point.get("merge") == "cat" else f"{len(inputs)} maps"


def shape_text(point: Mapping[str, Any]) -> str:
    """`16 channels, 32×32 px`, as far as it is known."""
    parts = []
    if point.get("channels") is not None:
        parts.append(f"{point['channels']} channel{'' if point['channels'] == 1 else 's'}")
    if point.get("height") is not None and point.get("width") is not None:
        parts.append(f"{point['height']}×{point['width']} px")
    return ", ".join(parts)


def _colour(name: str, index: int) -> Colour:
    fill = _ADD if name == "add" else _COLOURS[index % len(_COLOURS)]
    red, green, blue = (int(fill[i : i + 2], 16) / 255 for i in (1, 3, 5))
    # Relative luminance, near enough: the ink is whichever of black and white contrasts more.
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    return Colour(name, fill, "#10151c" if luminance > 0.18 else "#ffffff", index >= len(_COLOURS))
