"""What `--fresh` puts aside: a run that nobody is searching, whatever clocks say."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.session.admission import put_aside
from trials.errors import RunInUse
from trials.record import file as record_file
from trials.record import lease
from trials.record.file import FILE_NAME, is_active
from trials.record.store import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    Store.create(folder / FILE_NAME, {}).close()
    return folder


def test_a_run_that_another_machine_with_another_clock_searches_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.5)
    with Store.open_for_writing(folder / FILE_NAME), monkeypatch.context() as elsewhere:
        elsewhere.setattr(lease, "_machine", lambda: ("another boot", "pid:[1]"))
        elsewhere.setattr(record_file, "LOCK_NAME", ".lock-of-another-machine")
        elsewhere.setattr(lease.Lease, "active", property(lambda self: False))
        assert not is_active(folder)
        with pytest.raises(RunInUse, match="is being searched by process"):
            put_aside(folder, print)
        assert (folder / FILE_NAME).exists()
    said = list[str]()
    put_aside(folder, said.append)
    assert said == [f"put the earlier run aside: {folder}.old-1"]
    assert not folder.exists()


def test_a_damaged_run_is_put_aside(folder: Path) -> None:
    (folder / FILE_NAME).write_bytes(b"garbage" * 1000)
    put_aside(folder, print)
    assert (folder.with_name("run.old-1") / FILE_NAME).read_bytes() == b"garbage" * 1000
