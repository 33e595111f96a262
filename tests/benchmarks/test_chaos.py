"""The short edition of `make chaos`: the same harness with few points, in a process of its own, for it forks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def chaos(place: Path, *arguments: object) -> dict[str, Any]:
    """What came of `python -m benchmarks chaos …`."""
    command = [sys.executable, "-m", "benchmarks", "chaos", "--json", place / "found.json", *arguments]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads((place / "found.json").read_text())
    return found


def parts(found: dict[str, Any]) -> dict[str, Any]:
    """Of each kind of kill, as they were kept one after the other."""
    return {f"{kind}, {number}": one for kind, ones in found["kills"].items() for number, one in enumerate(ones)}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    arguments = "--points", 20, "--ray", 0, "--faults", 0, "--broken", "none", "--seed", 1
    return parts(chaos(tmp_path_factory.mktemp("kills"), *arguments))


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    arguments = "--points", 0, "--ray", 0, "--faults", 3, "--broken", "local"
    return chaos(tmp_path_factory.mktemp("faults"), *arguments)["faults"]


def test_a_killed_search_goes_on_and_nothing_is_lost_twice_or_left(killed: dict[str, Any]) -> None:
    assert sum(one["points"] for one in killed.values()) >= 20
    for kind, one in killed.items():
        found = one["findings"]
        wrong = {name: found[name] for name in ("lost", "twice", "zombies", "unsound", "unfinished", "rubbish")}
        assert not any(wrong.values()), (kind, wrong, found["notes"])


def test_a_killed_search_proposes_what_it_would_have_proposed(killed: dict[str, Any]) -> None:
    assert not any(one["findings"]["other"] for one in killed.values())


@pytest.mark.long
@pytest.mark.parametrize(
    "fault",
    [
        "disk full, at each write",
        "disk full, a small one",
        "read-only folder",
        "file truncated",
        "file with a bit flipped",
        "newer schema",
        "clock steps",
        "clock steps, time limited",
        "NaN, local",
        "inf, local",
        "exception, local",
        "out of memory, local",
        "hang, local",
    ],
)
def test_a_fault_is_answered(answered: dict[str, Any], fault: str) -> None:
    one = answered[fault]
    if one["skipped"]:
        pytest.skip(one["skipped"])
    assert one["tried"] > 0
    assert one["right"] == one["tried"], one["notes"]


@pytest.mark.long
def test_a_locked_database_is_waited_for(answered: dict[str, Any]) -> None:
    assert answered["database locked"]["right"] == answered["database locked"]["tried"]


@pytest.mark.long
def test_a_driver_that_is_killed_leaves_no_actor_of_ray(tmp_path: Path) -> None:
    arguments = "--points", 2, "--ray", 2, "--faults", 0, "--broken", "none"
    for one in parts(chaos(tmp_path, *arguments)).values():
        found = {name: value for name, value in one["findings"].items() if name not in ("other", "notes")}
        assert not any(found.values()), one["findings"]
