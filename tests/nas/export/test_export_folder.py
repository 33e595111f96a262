"""An export takes its place whole, and never that of somebody else's files."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from export_networks import trained_network

from nas.export import ExportError, export_network
from nas.export.folder import FILES, staged
from nas.export.hashes import NAME, named, write_hashes, wrong_hashes
from nas.export.trained import FORMAT
from search_spaces import InputSpec
from trials.errors import DiskFull


def write_export(folder, text: str) -> None:
    for name in FILES:
        (folder / name).write_text(text)
    (folder / "arch.json").write_text(json.dumps({"format": FORMAT, "text": text}))


def test_a_new_folder_and_an_empty_one_are_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "a" / "b", tmp_path / "empty"):
        with staged(out) as folder:
            write_export(folder, "new")
            assert not out.exists() or list(out.iterdir()) == []
        assert {path.name for path in out.iterdir()} == set(FILES)
        assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


def test_an_own_export_is_replaced_whole(tmp_path):
    out = tmp_path / "out"
    for text in ("old", "new"):
        with staged(out) as folder:
            write_export(folder, text)
    assert json.loads((out / "arch.json").read_text())["text"] == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_link_points_to_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with staged(tmp_path / "link") as folder:
        write_export(folder, "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "model.py").read_text() == "new"


def test_a_failure_leaves_the_earlier_export(tmp_path):
    out = tmp_path / "out"
    with staged(out) as folder:
        write_export(folder, "old")

    def fail_midway() -> None:
        with staged(out) as folder:
            (folder / "model.py").write_text("half")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail_midway()
    assert (out / "model.py").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    "files",
    [
        {"notes.txt": "mine"},
        {"model.py": "my own"},
        {"arch.json": "{}"},
        {"arch.json": "not json"},
        {"arch.json": "[]"},
        {"arch.json": json.dumps({"format": FORMAT}), "notes.txt": "mine"},
    ],
    ids=str,
)
def test_foreign_files_are_refused(tmp_path, files):
    out = tmp_path / "out"
    out.mkdir()
    for name, text in files.items():
        (out / name).write_text(text)
    with pytest.raises(ExportError, match="another folder"), staged(out):
        pytest.fail("not reached")
    assert {path.name: path.read_text() for path in out.iterdir()} == files


def test_files_that_appear_meanwhile_are_kept(tmp_path):
    out = tmp_path / "out"

    def write_while_she_works() -> None:
        with staged(out) as folder:
            write_export(folder, "new")
            out.mkdir()
            (out / "notes.txt").write_text("mine")

    with pytest.raises(ExportError, match=r"notes\.txt"):
        write_while_she_works()
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ExportError, match="is a file"), staged(tmp_path / "out"):
        pytest.fail("not reached")


def test_by_force_it_is_put_beside_what_stays_untouched(tmp_path):
    out = tmp_path / "out"
    (out / "code").mkdir(parents=True)
    (out / "code" / "mine.py").write_text("mine")
    (out / "notes.txt").write_text("mine")
    untouched = {name: (out / name).stat().st_ino for name in (".", "code", "code/mine.py", "notes.txt")}
    for text, names in (("old", [*FILES, "code/net.py"]), ("new", [*FILES])):
        with staged(out, force=True) as folder:
            write_export(folder, text)
            for name in names[len(FILES) :]:
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text(text)
            write_hashes(folder)
        assert (out / "model.py").read_text() == text
        assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
            *names, "code/mine.py", "notes.txt",
        }  # fmt: skip
    assert {name: (out / name).stat().st_ino for name in untouched} == untouched
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_takes_no_export_even_by_force(tmp_path):
    (tmp_path / "study.db").write_text("mine")
    with pytest.raises(ExportError, match="it is a run"), staged(tmp_path, force=True):
        pytest.fail("not reached")


def test_by_force_no_folder_of_a_files_name_is_replaced(tmp_path):
    out = tmp_path / "out"
    (out / "README.md").mkdir(parents=True)
    (out / "model.py").write_text("mine")

    def write() -> None:
        with staged(out, force=True) as folder:
            write_export(folder, "new")

    with pytest.raises(ExportError, match=r"README\.md cannot be written"):
        write()
    assert (out / "model.py").read_text() == "mine"


def killed(work) -> None:
    """Runs in a process of its own that ends by SIGKILL."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(3)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def kill(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("moment", ["while it is written", "between the renames", "before the old one is removed"])
def test_one_that_is_killed_leaves_the_earlier_and_the_next_removes_what_it_left(tmp_path, monkeypatch, moment):
    out = tmp_path / "out"
    (tmp_path / ".out.notes.partial").write_text("mine")
    with staged(out) as folder:
        write_export(folder, "old")

    def export() -> None:
        with staged(out) as folder:
            write_export(folder, "new")
            if moment == "while it is written":
                kill()
            elif moment == "between the renames":
                rename = Path.rename
                monkeypatch.setattr(Path, "rename", lambda path, to: kill() if to == out else rename(path, to))
            else:
                monkeypatch.setattr(shutil, "rmtree", kill)

    killed(export)
    left = sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".out.") and path.is_dir())
    assert len(left) == (2 if moment == "between the renames" else 1)
    if moment != "between the renames":
        text = {"while it is written": "old"}.get(moment, "new")
        assert {json.loads((out / "arch.json").read_text())["text"], (out / "model.py").read_text()} == {text}

    def fail() -> None:
        with staged(out):
            raise ExportError("another reason")

    with pytest.raises(ExportError, match="another reason"):
        fail()
    text = "new" if moment == "before the old one is removed" else "old"
    assert {path.name: path.read_text() for path in out.iterdir() if path.name != "arch.json"} == dict.fromkeys(
        {*FILES} - {"arch.json"}, text
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.notes.partial", "out"]


@pytest.mark.parametrize("most_bytes", [2_000, 200_000, 348_000])
def test_without_room_one_line_says_so_and_the_earlier_export_stays(tmp_path, most_bytes):
    trained = trained_network("resnet8", InputSpec(3, 16, 4), {})
    out = tmp_path / "out"
    with staged(out) as folder:
        write_export(folder, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        with pytest.raises(DiskFull, match="no room left on the disk: free some") as told:
            export_network(trained, out, formats=["py", "pt2"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(told.value)
    assert (out / "model.py").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_names_with_what_ends_a_line_for_text_are_hashed_as_any_other(tmp_path):
    for name in ("in\u2028two.py", "caf\udce9.py", "page\x0c.py"):
        (tmp_path / name).write_text(name, encoding="utf-8", errors="surrogateescape")
    write_hashes(tmp_path)
    assert wrong_hashes(tmp_path) == {}
    assert len(named(tmp_path)) == 3
    done = subprocess.run(["sha256sum", "-c", NAME], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
