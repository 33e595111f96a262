"""Copies of a record elsewhere: of one instant, whole or not at all, and never in the way of a search."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from trials_results import result

from search_spaces.errors import UserError
from trials.record import backups, elsewhere
from trials.record.backups import Backup, why_not
from trials.record.file import FILE_NAME, PARENT_NAME, copy_record
from trials.record.store import Store

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "first").mkdir()
    store = Store.create(tmp_path / "first" / FILE_NAME, {"space": "resnet8"})
    store.begin_session({})
    return store


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def numbers(path: Path) -> list[int]:
    with Store.open(path) as copy:
        return [one.number for one in copy.results()]


def test_a_copy_is_made_at_once_now_and_then_and_at_the_end(store: Store, tmp_path: Path) -> None:
    copy, said = tmp_path / "elsewhere" / "first" / FILE_NAME, list[str]()
    with store:
        store.append(result(0))
        with Backup(store.path, str(tmp_path / "elsewhere"), 0.05, said.append):
            until(copy.is_file)
            store.append(result(1))
            until(lambda: numbers(copy) == [0, 1])
            for number in range(2, 40):
                store.append(result(number))
        assert numbers(copy) == list(range(40))
        assert [file.name for file in copy.parent.iterdir()] == [FILE_NAME], "nothing half written"
    assert said == []
    with Store.open_for_writing(copy) as restored:
        restored.append(result(40))


def test_a_name_that_ends_in_db_is_the_file(store: Store, tmp_path: Path) -> None:
    with store, Backup(store.path, str(tmp_path / "nightly.db"), 60, print):
        pass
    assert numbers(tmp_path / "nightly.db") == []


@pytest.mark.parametrize("address", ["memory://bucket/runs", "file://{folder}/remote"])
def test_addresses_of_fsspec(store: Store, tmp_path: Path, address: str) -> None:
    place, said = address.format(folder=tmp_path), list[str]()
    with store:
        for number in range(3):
            store.append(result(number))
            with Backup(store.path, place, 60, said.append):
                pass
    files, path = fsspec.core.url_to_fs(f"{place}/first/{FILE_NAME}")
    files.get_file(path, str(tmp_path / "back.db"))
    assert numbers(tmp_path / "back.db") == [0, 1, 2]
    assert [Path(name).name for name in files.ls(str(Path(path).parent), detail=False)] == [FILE_NAME]
    assert said == []
    files.rm(path)


@pytest.mark.parametrize("address", ["{folder}", "memory://of-another", "file://{folder}"])
def test_what_another_run_has_left_there_is_put_aside(store: Store, tmp_path: Path, address: str) -> None:
    place, said = address.format(folder=tmp_path / "elsewhere"), list[str]()
    other = tmp_path / "others" / "first" / FILE_NAME
    other.parent.mkdir(parents=True)
    with Store.create(other, {}) as another:
        another.begin_session({})
        another.append(result(7))
        with Backup(other, place, 60, said.append):
            pass
    with store:
        store.append(result(0))
        with Backup(store.path, place, 60, said.append):
            pass
    whole = f"{place}/first/{FILE_NAME}"
    assert said == [f"{whole} was of another run: it is {whole}.old-1 now"]
    for name, found in ((whole, [0]), (f"{whole}.old-1", [7])):
        files, path = fsspec.core.url_to_fs(name)
        files.get_file(path, str(tmp_path / "back.db"))
        assert numbers(tmp_path / "back.db") == found
        files.rm(path)


@pytest.mark.parametrize("address", ["{folder}", "memory://with-a-parent", "{folder}/nightly.db"])
def test_what_trainings_start_from_is_copied_beside_it(store: Store, tmp_path: Path, address: str) -> None:
    place, said = address.format(folder=tmp_path / "elsewhere"), list[str]()
    record = f"{place}/first/{FILE_NAME}" if not place.endswith(".db") else place
    name = record.removesuffix(FILE_NAME) + PARENT_NAME if record.endswith(FILE_NAME) else f"{place[:-3]}.{PARENT_NAME}"
    files, path = fsspec.core.url_to_fs(name)

    def there() -> bytes | None:
        files.invalidate_cache()
        return files.cat_file(path) if files.exists(path) else None

    parent = store.path.with_name(PARENT_NAME)
    with store:
        with Backup(store.path, place, 0.02, said.append):
            until(lambda: files.exists(fsspec.core.url_to_fs(record)[1]))
            assert there() is None, "no run starts from one before it is made"
            parent.write_bytes(b"one")
            until(lambda: there() == b"one")
            parent.with_suffix(".new").write_bytes(b"another")
            parent.with_suffix(".new").replace(parent)
        assert there() == b"another", "as it is at the end"
        other = tmp_path / "others" / "first" / FILE_NAME
        other.parent.mkdir(parents=True)
        with Store.create(other, {}) as another:
            another.begin_session({})
            with Backup(other, place, 60, said.append):
                pass
        assert there() is None, "another run's record never stands beside it"
        assert files.cat_file(f"{path}.old-1") == b"another"
        for one in files.ls(str(Path(path).parent), detail=False):
            files.rm(one)
    assert said == [f"{record} was of another run: it is {record}.old-1 now"]


@pytest.mark.parametrize(
    ("place", "said"),
    [("/dev/null/there", "NotADirectoryError"), ("nowhere://bucket", "Protocol not known: nowhere"), ("/dev/full", "")],
)
def test_a_failing_copy_is_said_once_and_ends_nothing(store: Store, place: str, said: str) -> None:
    lines: list[str] = []
    with store, Backup(store.path, place, 0.01, lines.append):
        for number in range(10):
            store.append(result(number))
            time.sleep(0.02)
    (line,) = lines
    assert line.startswith(f"{store.path} could not be copied to {place} (")
    assert line.endswith("the search goes on without")
    assert said in line


@pytest.mark.slow
def test_a_place_that_hangs_does_not_hold_up_the_end(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(backups, "LAST_S", 0.1)
    monkeypatch.setattr(backups, "copy_record", lambda source, target: time.sleep(2) or copy_record(source, target))
    with store, Backup(store.path, str(tmp_path), 60, said.append) as backup:
        pass
    assert said == [f"the last copy of {store.path} to {tmp_path} takes more than 0 s: not waited for"]
    backup._thread.join()


@pytest.mark.parametrize(
    "given",
    ["{folder}", "{folder}/first/study.db", "file://{folder}", "local://{folder}/first/study.db", "{folder}/link"],
)
def test_the_record_itself_is_never_written_over(store: Store, tmp_path: Path, given: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    place, said, before = given.format(folder=tmp_path), list[str](), store.path.stat().st_ino
    assert "the record itself" in (why_not(place, store.path) or "")
    assert why_not(f"{tmp_path}/elsewhere", store.path) is None
    assert why_not("nowhere://bucket", store.path) is None
    with store:
        with Backup(store.path, place, 0.01, said.append):
            store.append(result(0))
        store.append(result(1))
    assert (numbers(store.path), store.path.stat().st_ino) == ([0, 1], before)
    (line,) = said
    assert "is the record itself" in line


@pytest.mark.parametrize("address", ["{folder}", "file://{folder}", "{folder}/first/study.db"])
def test_a_runs_folder_is_no_place_for_a_copy(store: Store, tmp_path: Path, address: str) -> None:
    """Its record would lose what a killed writer has left beside it, and the copy would read that."""
    other = tmp_path / "shared" / "first" / FILE_NAME
    other.parent.mkdir(parents=True)
    place, said = address.format(folder=tmp_path / "shared"), list[str]()
    with store, Store.create(other, {}) as another:
        another.append(result(7))
        assert "is the folder of a run" in (why_not(place, store.path) or "")
        with Backup(store.path, place, 60, said.append):
            pass
        another.append(result(8))
    assert numbers(other) == [7, 8]
    (line,) = said
    assert "is the folder of a run" in line


@pytest.mark.parametrize("address", ["{folder}", "memory://of-two", "file://{folder}"])
def test_of_two_runs_under_way_neither_writes_over_the_others_copy(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    place, said = address.format(folder=tmp_path / "elsewhere"), list[str]()
    for kind in (elsewhere._Local, elsewhere._Remote):  # a put that comes long after it was asked whose that is
        monkeypatch.setattr(kind, "put", lambda *given, plain=kind.put: time.sleep(0.1) or plain(*given))
    files, path = fsspec.core.url_to_fs(f"{place}/first/{FILE_NAME}")
    other = tmp_path / "others" / "first" / FILE_NAME
    other.parent.mkdir(parents=True)

    def there() -> list[int] | None:
        files.invalidate_cache()
        try:
            files.get_file(path, str(tmp_path / "back.db"))
            return numbers(tmp_path / "back.db")
        except (OSError, sqlite3.Error, UserError):
            return None

    with store, Store.create(other, {}) as another:
        another.begin_session({})
        another.append(result(7))
        with Backup(store.path, place, 0.02, said.append):
            until(lambda: there() == [])
            with Backup(other, place, 60, print):
                until(lambda: there() == [7])
            until(lambda: bool(said))
            store.append(result(0))
    assert there() == [7]
    (line,) = said
    assert f"{place}/first/{FILE_NAME} is of another run now, and stays" in line
