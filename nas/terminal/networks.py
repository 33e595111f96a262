"""Spaces, their fusion points, and what was discovered, as a person reads them in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from reports.drawing import merges_text, stage_of
from reports.formatting import format_size
from search_spaces.discovery import DiscoveredSpace

Point = Mapping[str, Any]


def points_table(points: Sequence[Point]) -> Table:
    """A row a point: what is merged there, and what is on offer; what decides it, where points are tied."""
    tied = any(point["variable"] != point["name"] for point in points)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("point", "kind", "merges", "channels", "size", "stride", *(["decided by"] if tied else []), "choices"):
        number = name in ("channels", "size", "stride")
        table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=name != "choices")
    for point in points:
        table.add_row(
            point["name"], point["kind"], merges_text(point), str(point["channels"]),
            f"{point['height']}x{point['width']}", str(point["stride"]),
            *([point["variable"]] if tied else []), choices_on_offer(point["choices"]),
        )  # fmt: skip
    return table


def notes(points: Sequence[Point]) -> list[str]:
    """Which ratios are one choice and which operators are left out, each with the points where that is so."""
    merged: dict[str, list[str]] = {}
    left_out: dict[str, list[str]] = {}
    for point in points:
        for text in _merged_texts(point["merged"]):
            merged.setdefault(text, []).append(point["name"])
        for text in _left_out_texts(point["left_out"]):
            left_out.setdefault(text, []).append(point["name"])
    names = [point["name"] for point in points]
    lines = []
    for heading, found in (("one choice, by the same bottleneck width:", merged), ("left out:", left_out)):
        lines += [heading] if found else []
        lines += [f"  {text}: {places_text(where, names)}" for text, where in found.items()]
    return lines


def not_varied(places: Sequence[Mapping[str, str]]) -> list[str]:
    """The merges of an ordinary network that are no fusion points, by reason; nothing where there are none."""
    reasons: dict[str, list[str]] = {}
    for place in places:
        reasons.setdefault(place["reason"], []).append(place["location"])
    lines = [f"not varied: {len(places)}"] if places else []
    for reason, locations in reasons.items():
        lines += [f"  {reason}:", f"    {', '.join(locations)}"]
    return lines


def choices_on_offer(choices: Iterable[str]) -> str:
    """The ratios of an operator together: `add se/4,8`; a point of one choice does not vary: `add (fixed)`."""
    ratios: dict[str, list[str]] = {}
    for choice in choices:
        op, _, ratio = choice.partition("/")
        ratios.setdefault(op, []).extend([ratio] if ratio else [])
    text = " ".join(f"{op}/{','.join(offered)}" if offered else op for op, offered in ratios.items())
    return f"{text} (fixed)" if sum(map(len, ratios.values())) <= 1 and len(ratios) == 1 else text


def places_text(where: Iterable[str], points: Sequence[str]) -> str:
    """Points by name; a stage of several that are all among them, by the stage's; all of several points as such."""
    chosen = set(where)
    if len(chosen) == len(points) > 1:
        return "every point"
    stages: dict[str, list[str]] = {}
    for name in points:
        stages.setdefault(stage_of(name), []).append(name)
    parts = []
    for stage, members in stages.items():
        inside = [name for name in members if name in chosen]
        parts += [stage] if len(inside) == len(members) > 1 else inside
    return ", ".join(parts)


def _merged_texts(merged: Mapping[str, str]) -> list[str]:
    """`/8, /16 = /4 of se, aff`: operators whose ratios merge alike, together."""
    by_operator: dict[str, dict[str, list[str]]] = {}
    for choice, kept in merged.items():
        op, _, ratio = choice.partition("/")
        by_operator.setdefault(op, {}).setdefault(kept.partition("/")[2], []).append(f"/{ratio}")
    alike: dict[str, list[str]] = {}
    for op, kept_ratios in by_operator.items():
        text = ", ".join(f"{', '.join(dropped)} = /{kept}" for kept, dropped in kept_ratios.items())
        alike.setdefault(text, []).append(op)
    return [f"{text} of {', '.join(operators)}" for text, operators in alike.items()]


def _left_out_texts(left_out: Mapping[str, str]) -> list[str]:
    """`se, aff (fuses 2 maps, not 3)`: operators that are left out for one reason, together."""
    alike: dict[str, list[str]] = {}
    for choice, reason in left_out.items():
        alike.setdefault(reason.removeprefix(f"{choice!r} "), []).append(choice)
    return [f"{', '.join(choices)} ({reason})" for reason, choices in alike.items()]


def print_spaces(console: Console, found: Iterable[Mapping[str, Any]]) -> None:
    """A line for each named space, see `search_spaces.listing`."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("space", "points", "choices", "architectures", "input", "network"):
        table.add_column(name, justify="right" if name in ("points", "architectures") else "left")
    for space in found:
        low, high = min(space["choices"]), max(space["choices"])
        shape = f"{space['input']['channels']}x{space['input']['size']}x{space['input']['size']}"
        choices = str(low) if low == high else f"{low} to {high}"
        table.add_row(space["name"], str(space["points"]), choices, format_size(space["size"]), shape, space["summary"])
    console.print(table)


def print_discovered(console: Console, space: DiscoveredSpace) -> None:
    """The points, then what is not varied by reason."""
    console.print(f"{space.name}: {len(space.points)} points, {format_size(space.size)} architectures")
    if space.points:
        points = [point.to_json() for point in space.points]
        console.print(points_table(points))
        for line in notes(points):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in not_varied([place.to_json() for place in space.not_varied]):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for note in space.notes:
        console.print(f"note: {note}", highlight=False)


def print_survey(console: Console, rows: Iterable[dict[str, Any]]) -> None:
    """One line for each network, see `search_spaces.discovery.survey`."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("model", "merges", "varied", "architectures", "max |diff|", "not varied, and why"):
        table.add_column(name, justify="right" if name in ("merges", "architectures", "max |diff|") else "left")
    for row in rows:
        if "error" in row:
            table.add_row(row["model"], "-", "-", "-", "-", row["error"])
            continue
        varied = ", ".join(f"{count} {kind}" for kind, count in row["points"].items()) or "none"
        why = "; ".join(f"{count}: {reason}" for reason, count in row["not_varied"].items()) or "-"
        worst = f"{max(row['difference'].values()):.1g}"
        table.add_row(row["model"], str(row["merges"]), varied, format_size(row["size"]), worst, why)
    console.print(table)
    console.print("max |diff|: all-add against the original on two random images, in evaluation and in training")
