"""A comparison that is ended goes on where it stopped, to the same result; another one's searches are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from bench_tables import invented

from nas.bench.arena.compare import Comparison, Setting, compare, comparison_of
from nas.bench.arena.kept import NAME, Kept, table_hash
from nas.bench.arena.methods import OPTIONAL
from nas.bench.errors import BenchError
from nas.bench.table import Table

COMPARISON = Comparison(("random-loss", "local-search"), (Setting(1.05, 6, 1),), 3)


class Killed(Exception):
    pass


def told(done: int, total: int) -> None:
    """Nothing."""


@pytest.fixture(scope="module")
def table() -> Table:
    return Table(invented())


def lines_of(folder: Path) -> list[str]:
    return (folder / NAME).read_text().splitlines()


def test_what_was_finished_is_not_searched_again(table: Table, tmp_path: Path) -> None:
    def killed(done: int, total: int) -> None:
        if done == 7:
            raise Killed

    with pytest.raises(Killed):
        compare(table, COMPARISON, 1, killed, tmp_path)
    before = lines_of(tmp_path)
    assert len(before) == 1 + 7
    with (tmp_path / NAME).open("a") as file:
        file.write(before[3][:40])  # a kill while a line was written
    counts: list[int] = []
    found = compare(table, COMPARISON, 1, lambda done, total: counts.append(done), tmp_path)
    assert counts == list(range(7, 19))
    assert lines_of(tmp_path)[:8] == before
    again = compare(table, COMPARISON, 1, told, tmp_path)
    assert again == found, "all of it from the file, own seconds too"
    whole = compare(table, COMPARISON, 1, told)
    for one, other in zip(whole.truths, found.truths, strict=True):
        own = [replace(line, own_seconds=0.0) for line in one.lines]
        assert own == [replace(line, own_seconds=0.0) for line in other.lines]


def test_methods_and_seeds_may_become_more(table: Table, tmp_path: Path) -> None:
    compare(table, COMPARISON, 1, told, tmp_path)
    counts: list[int] = []
    more = replace(COMPARISON, methods=(*COMPARISON.methods, "halving"), seeds=4)
    compare(table, more, 2, lambda done, total: counts.append(done), tmp_path)
    assert counts[0] == 18
    assert len(lines_of(tmp_path)) == 1 + 3 * 3 * 4


def test_another_comparison_is_refused(table: Table, tmp_path: Path) -> None:
    compare(table, COMPARISON, 1, told, tmp_path)
    with pytest.raises(BenchError, match="holds searches of another table"):
        compare(Table(invented(noise=0.2)), COMPARISON, 1, told, tmp_path)
    with pytest.raises(BenchError, match="holds searches of another truths"):
        compare(table, replace(COMPARISON, truths=("inherit-9",)), 1, told, tmp_path)
    with pytest.raises(BenchError, match="holds searches of another settings"):
        compare(table, replace(COMPARISON, settings=(Setting(1.05, 8, 1),)), 1, told, tmp_path)
    assert table_hash(table) == table_hash(Table(invented()))
    (tmp_path / NAME).write_text('{"format": "something"}\n')
    with pytest.raises(BenchError, match="holds no searches of nas bench compare"):
        compare(table, COMPARISON, 1, told, tmp_path)


def test_a_damaged_line_is_named(table: Table, tmp_path: Path) -> None:
    compare(table, COMPARISON, 1, told, tmp_path)
    lines = lines_of(tmp_path)
    line = json.loads(lines[2])
    del line["judged"]["scratch-18"]["gain"]
    (tmp_path / NAME).write_text("\n".join([*lines[:2], json.dumps(line), *lines[3:]]) + "\n")
    with pytest.raises(BenchError, match=r"line 3: no search can be read"):
        compare(table, COMPARISON, 1, told, tmp_path)


def test_a_folder_serves_one_comparison_at_a_time(table: Table, tmp_path: Path) -> None:
    kept = Kept(tmp_path, {})
    with pytest.raises(BenchError, match="is in use"):
        Kept(tmp_path, {})
    kept.close()
    Kept(tmp_path, {}).close()
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="give another folder"):
        Kept(tmp_path / "file", {})


@pytest.mark.parametrize("name", [name for name, entry in OPTIONAL.items() if entry.takes is not None])
def test_a_method_without_its_library_says_what_to_install(name: str) -> None:
    if not OPTIONAL[name].lacking():
        pytest.skip(f"{name} can be played here")
    with pytest.raises(BenchError, match=rf"method '{name}' takes \w+, which is not installed: "):
        comparison_of(True, [name, "halving"])
    assert name not in comparison_of(False).methods
