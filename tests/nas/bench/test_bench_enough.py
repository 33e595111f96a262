"""When our own search stops early, in worlds whose truth is known."""

from __future__ import annotations

import pytest
from bench_tables import SPACE, invented

from nas.bench.arena import Brief, brief_of, table_world
from nas.bench.arena.house import House
from nas.bench.arena.playing import Play
from nas.bench.arena.worlds import World
from nas.bench.table import Table


@pytest.fixture(scope="module")
def world() -> World:
    return table_world(Table(invented(noise=0.02)))


def played(world: World, early_stop: str) -> tuple[Brief, Play]:
    brief = brief_of(world, None, "inherit-3", 40 * world.images("inherit-3"), 1, 0)
    return brief, House("ehvi", early_stop=early_stop)(brief, world, 0)


def test_where_all_are_equal_a_search_stops_early_and_alike_each_time(world: World) -> None:
    whole, stopped, again = (played(world.null(), how)[1] for how in ("never", "auto", "auto"))
    assert 16 <= len(stopped.events) < len(whole.events)
    asked = [event.ask for event in stopped.events]
    assert asked == [event.ask for event in whole.events][: len(asked)]
    assert asked == [event.ask for event in again.events]


def test_where_something_is_left_to_find_it_is_found_before_a_search_stops(world: World) -> None:
    brief, stopped = played(world, "auto")
    best = max(SPACE.enumerate(), key=world.true_accuracy)
    assert stopped.recommended is not None
    missed = 100 * (world.true_accuracy(best) - world.true_accuracy(stopped.recommended))
    assert missed <= 0.5, "of 2.4 points"
    assert brief.feasible(stopped.recommended)
