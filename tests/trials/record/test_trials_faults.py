"""What gets in the way of a record is told as what it is: damage, a lock, a full disk, a newer version."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event
from trials_results import ROOT, end, line, process, result

from trials.errors import DiskFull, StoreBusy, StoreDamaged, StoreError, StoreUnreachable
from trials.record import engine as record_engine
from trials.record import faults, schema
from trials.record import file as record_file
from trials.record.file import FILE_NAME
from trials.record.store import Store

LOCK = """
import sqlite3
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA locking_mode=EXCLUSIVE")
connection.execute("BEGIN EXCLUSIVE")
connection.execute("INSERT INTO meta (key, value) VALUES ('locked', '1')")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
connection.close()
"""
OPENINGS = [Store.open, Store.open_for_writing]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / FILE_NAME
    with Store.create(path, {}) as store:
        store.append(result(0))
    return path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


# ---- a newer version


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE rungs (id INTEGER PRIMARY KEY)",),
        ("DROP TABLE measurements",),
        ("ALTER TABLE meta RENAME TO about", "PRAGMA user_version = 99"),
        ("CREATE TABLE rungs (id INTEGER PRIMARY KEY)", "DROP TABLE trials", "DROP TABLE trainings"),
    ],
)
def test_a_newer_version_is_told_whatever_its_tables_are(
    path: Path, statements: tuple[str, ...], opening: Callable[[Path], Store]
) -> None:
    change(path, "UPDATE meta SET value = '99' WHERE key = 'schema_version'", *statements)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"by a newer fusion-nas \(schema version 99, .*\): update it") as caught:
        opening(path)
    assert not isinstance(caught.value, StoreDamaged)
    assert path.read_bytes() == before


def test_a_known_version_that_lacks_a_table_is_damaged(path: Path) -> None:
    change(path, "DROP TABLE trials")
    with pytest.raises(StoreDamaged, match="no such table: trials"):
        Store.open(path)


def test_the_version_is_in_the_header_too(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)


# ---- a lock


@pytest.mark.parametrize("opening", OPENINGS)
def test_a_locked_record_is_busy_and_not_damaged(
    path: Path, opening: Callable[[Path], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (faults, record_file, record_engine):
        monkeypatch.setattr(module, "BUSY_S", 0.3)
    other = process(LOCK, path)
    try:
        assert line(other) == "locked"
        with pytest.raises(StoreBusy, match=r"is busy: locked by another process .*; try again") as caught:
            opening(path)
        assert caught.value.exit_code == 1
    finally:
        end(other)
    with opening(path) as store:
        assert store.results() == (result(0),)


def test_a_lock_of_five_seconds_is_waited_for() -> None:
    assert faults.BUSY_S >= 10


def test_what_locks_the_record_under_its_writer_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_engine, "BUSY_S", 0.3)
    with Store.open_for_writing(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="is busy"):
            store.append(result(1))
        other.execute("ROLLBACK")
        store.append(result(1))


# ---- every kind of fault


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (sqlite3.SQLITE_CORRUPT, StoreDamaged, "is damaged"),
        (sqlite3.SQLITE_NOTADB, StoreDamaged, "is damaged"),
        (sqlite3.SQLITE_CORRUPT_INDEX, StoreDamaged, "is damaged"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreBusy, "is busy"),
        (sqlite3.SQLITE_LOCKED, StoreBusy, "is busy"),
        (sqlite3.SQLITE_FULL, DiskFull, "no room left"),
        (sqlite3.SQLITE_IOERR_WRITE, StoreUnreachable, "cannot be read or written now"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, StoreUnreachable, "cannot be written to"),
        (sqlite3.SQLITE_CANTOPEN, StoreUnreachable, "cannot be opened"),
        (sqlite3.SQLITE_ERROR, StoreUnreachable, "cannot be read or written now"),
    ],
)
def test_only_damage_is_damage(tmp_path: Path, code: int, kind: type[StoreError], said: str) -> None:
    error = sqlite3.OperationalError("it is\nso")
    error.sqlite_errorcode = code
    told = faults.fault(tmp_path / FILE_NAME, error)
    assert type(told) is kind
    assert said in str(told)
    assert "\n" not in str(told)
    assert told.exit_code == (5 if kind is StoreDamaged else 1), "what a machine does is no bad usage"


def test_a_file_that_may_not_be_read_is_not_damaged(path: Path) -> None:
    if os.geteuid() == 0:
        command = f"""
import os, sys
sys.path[:0] = [{str(ROOT)!r}]
from pathlib import Path
from trials.record.store import Store
os.setuid(65534)
try:
    Store.open(Path({str(path)!r}))
except Exception as error:
    print(type(error).__name__, error)
"""
        for folder in [path.parent, *path.parent.parents][:3]:
            folder.chmod(0o755)
        path.chmod(0o600)
        done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
        assert done.stdout.startswith(f"StoreUnreachable {path} cannot be "), done
        return
    path.chmod(0)
    with pytest.raises(StoreError, match="cannot be") as caught:
        Store.open(path)
    assert not isinstance(caught.value, StoreDamaged)


# ---- no write-ahead log


def test_an_answer_that_is_no_write_ahead_log_is_said_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite has none where it cannot share memory, as with this way of locking."""
    connect = sqlite3.connect

    def without_shared_memory(database: str, **given: object) -> sqlite3.Connection:
        if str(database).endswith(FILE_NAME):
            return connect(f"file:{database}?vfs=unix-dotfile", **{**given, "uri": True})  # type: ignore[call-overload, no-any-return]
        return connect(database, **given)  # type: ignore[call-overload, no-any-return]

    made = record_engine.create_engine

    def creating(address: object, **given: object) -> object:
        engine = made(address, **given)  # type: ignore[call-overload]

        @event.listens_for(engine, "do_connect")
        def do_connect(dialect: object, record: object, arguments: list[str], options: dict[str, object]) -> object:
            return without_shared_memory(arguments[0], **options) if arguments else None

        return engine

    monkeypatch.setattr(record_engine, "create_engine", creating)
    said: list[str] = []
    path = tmp_path / FILE_NAME
    with Store.create(path, {}, said.append) as store:
        store.append(result(0))
        assert said == [f"{path}: SQLite has no WAL journal here, it goes on with delete: readers may have to wait"]
        assert store.results() == (result(0),)


# ---- a full disk

FULL = """
from pathlib import Path
from trials.errors import DiskFull
from trials.record.store import Store
from trials_results import result
folder, recorded = Path(sys.argv[1]), 0
try:
    with Store.create(folder / "study.db", {"config": {"a": "x" * 2000}}) as store:
        while recorded < 3:
            store.append(result(recorded))
            recorded += 1
except DiskFull as error:
    assert "no room left on the disk" in str(error)
(folder / "filler").unlink()
if not (folder / "study.db").exists():
    assert recorded == 0
    assert {path.name for path in folder.iterdir()} <= {".lock"}
    Store.create(folder / "study.db", {}).close()
with Store.open_for_writing(folder / "study.db") as store:
    found = store.results()
    assert found[:recorded] == tuple(result(number) for number in range(recorded)), found
    store.append(result(len(found)))
print(recorded)
"""


def test_a_disk_that_is_full_from_the_start_or_soon_is_one_line_and_nothing_is_half_written(tmp_path: Path) -> None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("mounts a small disk, which takes root")
    script = tmp_path / "full.py"
    script.write_text(f"import sys\nsys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent.parent)!r}]\n{FULL}")
    disk = tmp_path / "disk"
    disk.mkdir()
    recorded = []
    for pages in (0, 1, 4, 13, 15, 16, 17, 18, 20, 22, 24, 26, 32, 48):
        fill = f"head -c $((1048576 - {pages} * 4096)) /dev/zero > {disk}/filler"
        mount = f"mount -t tmpfs -o size=1m tmpfs {disk} && {fill} && {sys.executable} {script} {disk}"
        done = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (pages, done.stderr)
        recorded.append(int(done.stdout))
    assert recorded[0] == 0
    assert recorded[-1] == 3
    assert recorded == sorted(recorded)
