"""The rooms of `nas` and `trials`: no circle among them, no file upwards, and the page that describes them is right."""

from __future__ import annotations

import importlib
import pkgutil

import grimp
import pytest

from nas import registry
from tools import draw_rooms

PACKAGES = ("nas", "reports", "trials", "search_spaces")


def test_no_two_files_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph(*PACKAGES)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    draw_rooms.ordered(imports)  # raises CycleError


@pytest.mark.parametrize("package", draw_rooms.PACKAGES)
def test_a_room_stands_above_all_that_it_uses(package: str) -> None:
    uses = draw_rooms.uses(package)
    order = draw_rooms.ordered(uses)
    assert all(order.index(room) < order.index(other) for room, used in uses.items() for other in used)
    drawn = draw_rooms.drawing(package).splitlines()
    assert [line.split()[0] for line in drawn[1:]] == [room.partition(".")[2] for room in order]


def test_the_page_has_the_rooms_as_they_are() -> None:
    page = draw_rooms.PAGE.read_text(encoding="utf-8")
    assert page == draw_rooms.with_table(page), "python -m tools.draw_rooms --write brings it up to date"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_says_what_it_is_for(package: str) -> None:
    top = importlib.import_module(package)
    for module in pkgutil.walk_packages(top.__path__, f"{package}."):
        if module.ispkg:
            assert importlib.import_module(module.name).__doc__, module.name


def test_what_the_registry_names_is_there() -> None:
    for places in (registry.ENGINES, registry.PROPOSERS, registry.STAGES, registry.LOOKS):
        assert all(callable(registry.load(place)) for place in places.values())
