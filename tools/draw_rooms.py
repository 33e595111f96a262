"""Prints who imports whom between the rooms of `nas` and of `trials`, read from the code.

    python -m tools.draw_rooms            a drawing: the rooms from the top, each with what it uses below it
    python -m tools.draw_rooms --write    writes the rooms and what each is for into docs/how-it-is-built.md

Ends with exit code 1 where an import goes upwards, or two rooms import each other.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-it-is-built.md"
BEGIN, END = "<!-- rooms: generated -->\n", "\n<!-- /rooms -->"
PACKAGES = ("nas", "trials")


def rooms(package: str) -> list[str]:
    """The rooms of a package: its folders and the files beside them, as modules."""
    found = {path.parent.name if path.name == "__init__.py" else path.stem for path in _files(ROOT / package)}
    return sorted(f"{package}.{name}" for name in found)


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.glob("*.py") if not path.name.startswith("__"))
    yield from folder.glob("*/__init__.py")


def uses(package: str) -> dict[str, set[str]]:
    """Each room with the other rooms of its package that it imports from."""
    graph = grimp.build_graph(*PACKAGES, "reports", "search_spaces")
    found: dict[str, set[str]] = {}
    for room in rooms(package):
        inside = {room, *graph.find_descendants(room)}
        imported = {other for module in inside for other in graph.find_modules_directly_imported_by(module)}
        homes = {".".join(module.split(".")[:2]) for module in imported if module.startswith(f"{package}.")}
        found[room] = homes - {room, package}
    return found


def ordered(graph: dict[str, set[str]]) -> list[str]:
    """The rooms from the top: each before all that it uses. Raises CycleError when there is no such order."""
    always_alike = {room: sorted(graph[room]) for room in sorted(graph)}
    return list(TopologicalSorter(always_alike).static_order())[::-1]


def purpose(room: str) -> str:
    """What a room is for: the first line of its docstring."""
    path = ROOT.joinpath(*room.split("."))
    source = path.joinpath("__init__.py") if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def table() -> str:
    """The rooms as the docs have them, in Markdown."""
    lines = ["| room | what it is for |", "| --- | --- |"]
    for package in PACKAGES:
        lines += [f"| `{room.replace('.', '/')}` | {purpose(room)} |" for room in ordered(uses(package))]
    return "\n".join(lines)


def with_table(page: str) -> str:
    """The page with the table in its place."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


def drawing(package: str) -> str:
    """The rooms from the top, with an arrow to each that they use, all of which stand below."""
    graph = uses(package)
    short = {room: room.partition(".")[2] for room in graph}
    width = max(map(len, short.values()))
    order = ordered(graph)
    rows = [
        f"  {short[room]:<{width}}  {'→ ' if graph[room] else ''}"
        + ", ".join(short[other] for other in order if other in graph[room])
        for room in order
    ]
    return "\n".join([f"{package}/", *(row.rstrip() for row in rows)])


def main() -> int:
    if sys.argv[1:] not in ([], ["--write"]):
        print(f"draw_rooms: given {' '.join(sys.argv[1:])}; expected nothing or --write", file=sys.stderr)
        return 2
    try:
        if sys.argv[1:]:
            PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        else:
            print("\n\n".join(map(drawing, PACKAGES)))
    except CycleError as error:
        print(f"draw_rooms: rooms that import each other: {' → '.join(error.args[1])}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
