"""One writer, also where the folder's lock is not seen: on another machine, or on a file system that has none."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from trials_results import end, line, process, result

from trials.errors import LeaseLost, RunInUse, StoreError
from trials.record import file as record_file
from trials.record import lease
from trials.record.file import FILE_NAME, copy_record, is_active
from trials.record.making import is_unfinished
from trials.record.store import Store

#: Seconds between two beats of these tests, on machines that are busy.
BEAT_S = 0.5
#: Records a trial for each line that it is given, and says what came of it.
WRITER = f"""
from pathlib import Path
from trials.record import lease
lease.HEARTBEAT_S = {BEAT_S}
from trials.record.making import is_unfinished
from trials.record.store import Store
from trials_results import result
from search_spaces.errors import UserError
with Store.open_for_writing(Path(sys.argv[1])) as store:
    print("open", flush=True)
    for number in sys.stdin:
        try:
            store.append(result(int(number)))
            print("recorded", flush=True)
        except UserError as error:
            print(type(error).__name__, error.exit_code, error, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / FILE_NAME
    Store.create(path, {}).close()
    return path


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is on another machine, which does not see the locks of the others."""
    monkeypatch.setattr(lease, "_machine", lambda: ("another boot", "pid:[1]"))
    monkeypatch.setattr(record_file, "LOCK_NAME", ".lock-of-another-machine")
    monkeypatch.setattr(lease, "HEARTBEAT_S", BEAT_S)


def tell(writer: Any, number: int) -> str:
    writer.stdin.write(f"{number}\n")
    writer.stdin.flush()
    return line(writer)


def held(path: Path) -> lease.Lease | None:
    with closing(sqlite3.connect(path)) as connection:
        return lease.Lease.read(connection)


def test_a_writer_leaves_who_it_is_and_lets_go(path: Path) -> None:
    with Store.open_for_writing(path) as store:
        found = held(path)
        assert found is not None
        assert (found.pid, found.host, found.alive) == (os.getpid(), os.uname().nodename, True)
        store.check_held()
    assert held(path) is None


def test_a_living_writer_on_another_machine_is_not_taken_over(path: Path, elsewhere: None) -> None:
    writer = process(WRITER, path)
    said: list[str] = []
    try:
        assert line(writer) == "open"
        assert is_active(path.parent)
        with pytest.raises(RunInUse, match=f"being searched by process {writer.pid} on {os.uname().nodename}: wait"):
            Store.open_for_writing(path, said.append)
        assert tell(writer, 0) == "recorded"
    finally:
        end(writer)
    holder = f"process {writer.pid} on {os.uname().nodename}"
    assert said == [f"{path.parent} was last searched by {holder}: waiting 3 s for a sign of it"]


def test_a_writer_that_was_killed_on_another_machine_is_waited_for_and_taken_over(path: Path, elsewhere: None) -> None:
    writer = process(WRITER, path)
    assert line(writer) == "open"
    assert tell(writer, 0) == "recorded"
    end(writer)
    before = time.monotonic()
    with Store.open_for_writing(path) as store:
        assert time.monotonic() - before >= lease.expires_s()
        store.append(result(1))
        assert [one.number for one in store.results()] == [0, 1]


def test_a_writer_that_was_paused_finds_that_another_took_over_and_writes_nothing(path: Path, elsewhere: None) -> None:
    writer = process(WRITER, path)
    try:
        assert line(writer) == "open"
        assert tell(writer, 0) == "recorded"
        os.kill(writer.pid, signal.SIGSTOP)
        with Store.open_for_writing(path) as store:
            store.append(result(1))
            os.kill(writer.pid, signal.SIGCONT)
            for _ in range(2):
                said = tell(writer, 2)
                assert said.startswith(f"LeaseLost 1 {path.parent} is being searched by process {os.getpid()} on ")
                assert said.endswith("it writes nothing more; what it recorded before is kept")
            assert writer.communicate(timeout=60)[0] == "", "it ends in peace"
            assert [one.number for one in store.results()] == [0, 1]
            store.append(result(2))
            found = held(path)
            assert found is not None, "who has lost a lease does not let go of that of another"
            assert found.pid == os.getpid()
    finally:
        end(writer)


@pytest.mark.parametrize("seconds", [pytest.param(-1e9, marks=pytest.mark.slow), 1e9])
def test_clocks_that_jump_or_disagree_do_not_matter(
    path: Path, elsewhere: None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = process(WRITER, path)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)
    try:
        assert line(writer) == "open"
        with pytest.raises(RunInUse):
            Store.open_for_writing(path)
    finally:
        end(writer)
    with Store.open_for_writing(path) as store:
        store.append(result(0))


def test_a_lease_that_its_holder_goes_on_with_lasts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.05)
    with Store.open_for_writing(path) as store:
        first = held(path)
        deadline = time.monotonic() + 60
        while (found := held(path)) == first:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert first is not None
        assert found is not None
        assert (found.token, found.beat > first.beat) == (first.token, True)
        store.append(result(0))


def test_a_number_of_a_process_that_another_one_has_now_is_not_it(path: Path) -> None:
    mine = lease.Lease.mine()
    assert mine.alive
    with closing(sqlite3.connect(path)) as connection, connection:
        lease.Lease(**{**vars(mine), "started": "1"}).write(connection)
    found = held(path)
    assert found is not None
    assert found.alive is False
    Store.open_for_writing(path).close()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_gone_on_with_by_the_lease(
    path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: object, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    said: list[str] = []
    with Store.open_for_writing(path, said.append) as store:
        store.append(result(0))
        assert is_active(path.parent)
        with pytest.raises(RunInUse, match=f"being searched by process {os.getpid()} on "):
            Store.open_for_writing(path)
        store.append(result(1))
    assert said == [
        f"{path.parent} is on a file system without locks: its record's own lease keeps a second search away"
    ]
    assert not is_active(path.parent)
    other = path.parent / "other" / FILE_NAME
    other.parent.mkdir()
    Store.create(other, {}, said.append).close()
    assert len(said) == 2


def test_a_copy_of_a_record_is_held_by_nobody(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with Store.open_for_writing(path) as store:
        store.append(result(0))
        copy_record(path, copy)
    assert held(copy) is None
    assert sorted(file.name for file in tmp_path.glob("copy*")) == ["copy.db"]
    with Store.open(copy) as store:
        assert store.results() == (result(0),)


def test_of_two_that_make_a_record_at_the_same_time_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / FILE_NAME
    path.parent.mkdir()
    first, exists = Store.create(path, {"a": 1}), Path.exists
    monkeypatch.setattr(record_file, "LOCK_NAME", ".lock-of-another-machine")
    monkeypatch.setattr(Path, "exists", lambda self: False if self == path else exists(self))
    with pytest.raises(StoreError, match="exists already"):
        Store.create(path, {"a": 2})
    monkeypatch.undo()
    first.append(result(0))
    assert first.get("a") == 1
    first.close()


def test_two_machines_make_a_record_in_files_of_their_own(tmp_path: Path) -> None:
    others = tmp_path / f"{FILE_NAME}.another-machine-{os.getpid()}.new"
    others.write_bytes(b"half of it")
    assert is_unfinished(others.name)
    assert not is_unfinished("cat.new")
    Store.create(tmp_path / FILE_NAME, {}).close()
    assert others.read_bytes() == b"half of it"


def test_a_kill_at_the_last_step_of_making_a_record_leaves_it_under_one_name(path: Path) -> None:
    second = path.with_name(f"{FILE_NAME}.another-machine-12.new")
    second.hardlink_to(path)
    with Store.open_for_writing(path) as store:
        store.append(result(0))
    assert not second.exists()
    with Store.open(path) as store:
        assert store.results() == (result(0),)


def test_losing_a_lease_is_no_damage() -> None:
    assert LeaseLost.exit_code == 1
