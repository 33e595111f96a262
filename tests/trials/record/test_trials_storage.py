"""Weights elsewhere: copied as they are kept, got back on a new disk, never another run's."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import fsspec
import pytest

from trials.record.storage import Storage


def record(folder: Path, began: float) -> Path:
    """A run's folder with what of its record says when it began."""
    (folder / "weights").mkdir(parents=True)
    with sqlite3.connect(folder / "study.db") as connection:
        connection.execute("CREATE TABLE sessions (id INTEGER PRIMARY KEY, started_at TEXT)")
        connection.execute("INSERT INTO sessions (started_at) VALUES (?)", (str(began),))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
        return "memory://bucket/nas"
    return str(tmp_path / "elsewhere")


def test_what_is_kept_is_copied_and_the_same_run_on_a_new_disk_has_it_again(tmp_path: Path, place: str) -> None:
    said: list[str] = []
    run = record(tmp_path / "run", 1.5)
    with Storage(run, place, said.append, every_s=0.01):
        (run / "weights" / "trial-00000.safetensors").write_bytes(b"first")
        (run / "parent.safetensors").write_bytes(b"parent")
    with Storage(run, place, said.append, every_s=0.01):  # another session
        (run / "weights" / "final-abc-3-9.safetensors").write_bytes(b"second")
        (run / "weights" / "trial-00000.safetensors").unlink()  # no room here: it stays there
    new = record(tmp_path / "new disk" / "run", 1.5)
    with Storage(new, place, said.append):
        pass
    assert contents(new) == {
        "trial-00000.safetensors": b"first", "parent.safetensors": b"parent", "final-abc-3-9.safetensors": b"second",
    }  # fmt: skip
    assert (new / "parent.safetensors").is_file()
    other = record(tmp_path / "other" / "run", 2.5)
    with Storage(other, place, said.append):
        pass
    assert contents(other) == {}
    assert said == []


def test_what_leads_out_of_the_folder_or_broke_off_is_not_fetched(tmp_path: Path) -> None:
    run = record(tmp_path / "run", 1.5)
    place = tmp_path / "elsewhere"
    with Storage(run, str(place), print, every_s=0.01):
        (run / "weights" / "trial-00000.safetensors").write_bytes(b"first")
    (there,) = place.iterdir()
    (there / "trial-00001.safetensors.new").write_bytes(b"half")
    (there / "..safetensors").write_bytes(b"no")
    (there / "study.db").write_bytes(b"no")
    shutil.rmtree(run / "weights")
    with Storage(run, str(place), print):
        pass
    assert [path.name for path in (run / "weights").iterdir()] == ["trial-00000.safetensors"]
    assert (run / "study.db").read_bytes() != b"no"


@pytest.mark.parametrize("place", ["nosuch://bucket", "/dev/null/nowhere"])
def test_a_place_that_cannot_be_written_is_said_once_and_ends_nothing(tmp_path: Path, place: str) -> None:
    said: list[str] = []
    run = record(tmp_path / "run", 1.5)
    (run / "weights" / "trial-00000.safetensors").write_bytes(b"first")
    with Storage(run, place, said.append, every_s=0.01):
        (run / "weights" / "trial-00001.safetensors").write_bytes(b"second")
    (line,) = said
    assert line.startswith(f"weights cannot be kept at {place} (")
    assert line.endswith(f"): they stay in {run}")
