"""Weights elsewhere: copied as they are kept, got back on a new disk, never another run's."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from trials.record.storage import Storage, fetch
from trials.whole_files import remove_unfinished


def record(folder: Path, began: float) -> Path:
    """A run's folder with what of its record says when it began."""
    (folder / "weights").mkdir(parents=True)
    with sqlite3.connect(folder / "study.db") as connection:
        connection.execute("CREATE TABLE sessions (id INTEGER PRIMARY KEY, started_at TEXT)")
        connection.execute("INSERT INTO sessions (started_at) VALUES (?)", (str(began),))
    return folder


def get_back(run: Path, place: str, names: list[str], most_bytes: int = 1000) -> list[str]:
    """What is said while those are fetched, and then kept."""
    said: list[str] = []
    paths = [run / name if name.startswith("parent") else run / "weights" / name for name in names]
    fetch(run, place, lambda: paths, most_bytes, said.append)
    with Storage(run, place, said.append):
        pass
    return said


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
    said += get_back(new, place, ["parent.safetensors", "trial-00000.safetensors", "final-abc-3-9.safetensors"])
    assert contents(new) == {
        "trial-00000.safetensors": b"first", "parent.safetensors": b"parent", "final-abc-3-9.safetensors": b"second",
    }  # fmt: skip
    assert (new / "parent.safetensors").is_file()
    other = record(tmp_path / "other" / "run", 2.5)
    said += get_back(other, place, ["parent.safetensors", "trial-00000.safetensors"])
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
    names = ["trial-00000.safetensors", "trial-00001.safetensors.new", "..safetensors", "../study.db"]
    assert get_back(run, str(place), names) == []
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


def test_what_was_let_go_of_meanwhile_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, said = record(tmp_path / "run", 1.5), list[str]()
    names = [f"trial-{number:05}.safetensors" for number in range(3)]
    for name in names:
        (run / "weights" / name).write_bytes(b"some")
    kept = Storage(run, str(tmp_path / "elsewhere"), said.append)
    plain = kept._here

    def here() -> Iterator[Path]:
        found = list(plain())
        (run / "weights" / names[1]).unlink(missing_ok=True)  # by Weights.prune, between the look and the copy
        yield from found

    monkeypatch.setattr(kept, "_here", here)
    kept._tried(kept._send)
    assert said == []
    assert list(contents(tmp_path / "elsewhere")) == [names[0], names[2]]


def test_only_what_is_needed_comes_back_and_only_while_there_is_room_for_it(tmp_path: Path, place: str) -> None:
    run = record(tmp_path / "run", 1.5)
    for number in range(5):
        (run / "weights" / f"trial-{number:05d}.safetensors").write_bytes(bytes(100))
    with Storage(run, place, print):
        pass
    for number in range(1, 5):
        (run / "weights" / f"trial-{number:05d}.safetensors").unlink()
    needed = [f"trial-{number:05d}.safetensors" for number in (3, 0, 4, 1, 9)]
    assert get_back(run, place, needed, most_bytes=350) == []
    assert sorted(contents(run)) == [f"trial-{number:05d}.safetensors" for number in (0, 3, 4)]


def test_what_breaks_off_is_said_and_what_a_kill_leaves_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, place = record(tmp_path / "run", 1.5), str(tmp_path / "elsewhere")
    weights = run / "weights" / "trial-00000.safetensors"
    weights.write_bytes(b"first")
    with Storage(run, place, print):
        pass
    weights.unlink()

    def killed(here: Path, target: Path) -> None:
        monkeypatch.undo()
        shutil.copy(here, f"{here}.kept")  # as it lies there at a kill, which unlinks nothing
        raise OSError("the disk is gone")

    monkeypatch.setattr(Path, "replace", killed)
    said: list[str] = []
    fetch(run, place, lambda: [weights], 1000, said.append)
    (left,) = (run / "weights").iterdir()
    left.rename(left.with_name(left.name.removesuffix(".kept")))
    remove_unfinished(run)
    assert list((run / "weights").iterdir()) == []
    (line,) = said
    assert line.startswith(f"weights cannot be fetched from {place} (OSError: the disk is gone)")
