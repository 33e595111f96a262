"""What can be read of a damaged record is brought into a new one: nothing made up, and the old file left as it is."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from trials_results import architecture, end, line, process, result

from trials.errors import StoreDamaged, StoreError
from trials.record.file import FILE_NAME
from trials.record.pages import Pages
from trials.record.salvage import salvage
from trials.record.store import Store
from trials.record.training import Training
from trials.trial import TrialResult, TrialState

TRIALS = 60
PAGE = 4096
META = {"config": {"training": {"epochs": 3}}, "description": {"long": "é" * 900}, "baseline": None, "constraints": []}
BESIDE = tuple(Training(architecture(k), 7, 3, score=0.25) for k in range(5))
WRITE = """
from pathlib import Path
from trials.record.store import Store
from trials_results import result
with Store.open_for_writing(Path(sys.argv[1])) as store:
    for number in range(int(sys.argv[2]), int(sys.argv[3])):
        store.append(result(number))
    print("written", flush=True)
    sys.stdin.read()
"""


def recorded(number: int) -> TrialResult:
    if number % 10 == 9:
        return result(number, TrialState.GATED, score=None, error="over the budget" * 400)  # longer than a page
    return result(number, TrialState.FAILED if number % 10 == 5 else TrialState.COMPLETE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / FILE_NAME
    with Store.create(path, META) as store:
        session = store.begin_session({"engine": "local"})
        for number in range(TRIALS):
            store.append(recorded(number))
        for training in BESIDE:
            store.append_training(training)
        store.end_session(session, "complete")
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    (tmp_path / "old").mkdir()
    return Path(shutil.copy(whole, tmp_path / "old" / FILE_NAME))


@pytest.fixture
def new(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    return tmp_path / "new" / FILE_NAME


def overwritten(path: Path, *numbers: int, by: bytes = b"\xff" * PAGE) -> None:
    content = bytearray(path.read_bytes())
    for number in numbers:
        content[(number - 1) * PAGE : number * PAGE] = by
    path.write_bytes(content)


def leaves(path: Path) -> list[int]:
    return [number for number, page in Pages.read(path).pages.items() if page[0] == 0x0D and number > 1]


def roots(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, rootpage FROM sqlite_master"))


def check(new: Path) -> tuple[TrialResult, ...]:
    """Every row is one that was there; a trial that lost its training is to be trained again."""
    with Store.open_for_writing(new) as store:
        found = store.results()
        for one in found:
            lost = one.state is TrialState.STOPPED
            assert lost or one == recorded(one.number)
            assert one.architecture == recorded(one.number).architecture
        for training in store.trainings_beside():
            assert training in BESIDE or training in [Training.of(recorded(k)) for k in range(TRIALS)]
        store.append(result(TRIALS + 1))
    return found


def test_a_whole_record_comes_over_whole(path: Path, new: Path) -> None:
    before = path.read_bytes()
    saved = salvage(path, new)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [FILE_NAME]
    assert (saved.rows["trials"], saved.rows["sessions"], saved.conflicting, saved.untrained) == (TRIALS, 1, 0, [])
    assert saved.missing == {"trials": [], "trainings": []}
    assert saved.needed == []
    with Store.open(new) as store:
        assert store.trainings_beside() == BESIDE
        assert {key: store.get(key) for key in META} == META
        assert store.get("recovered")["from"] == str(path)
        assert store.sessions()[0].outcome == "complete"
    assert check(new) == tuple(recorded(number) for number in range(TRIALS))


def test_pages_are_read_as_sqlite_reads_them(path: Path) -> None:
    """Without SQLite: every row of the record, long ones over several pages, but for what its schema adds to them."""
    read = [values for _, values in Pages.read(path).rows()]
    with closing(sqlite3.connect(path)) as connection:
        for table in ("trials", "meta", "sessions", "trainings"):
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
            stored = [row if table == "meta" else (None, *row[1:]) for row in rows]
            assert all(row in read for row in stored)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "garbled header": lambda path: path.write_bytes(b"\x00" * 100 + path.read_bytes()[100:]),
    "first page": lambda path: overwritten(path, 1),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "broken off in a page": lambda path: path.write_bytes(path.read_bytes()[:-5000]),
    "roots": lambda path: overwritten(path, *(roots(path)[table] for table in ("trials", "trainings"))),
    "indexes": lambda path: overwritten(
        path, *(page for name, page in roots(path).items() if "once" in name or "auto" in name), by=bytes(PAGE)
    ),
    "a leaf": lambda path: overwritten(path, leaves(path)[len(leaves(path)) // 2]),
    "two leaves": lambda path: overwritten(path, leaves(path)[3], leaves(path)[-3]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_can_be_read_is_brought_over(path: Path, new: Path, damage: str) -> None:
    DAMAGES[damage](path)
    with pytest.raises(StoreDamaged, match=rf"nas recover {path.parent} --out NEW"):
        Store.open(path)
    before = path.read_bytes()
    saved = salvage(path, new)
    assert path.read_bytes() == before
    found = check(new)
    assert saved.rows["trials"] == len(found)
    whole = [one for one in found if one.state is not TrialState.STOPPED]
    if damage in ("garbled header", "first page", "roots", "indexes"):
        assert len(whole) == TRIALS, "no page with a row on it was lost"
        assert saved.missing == {"trials": [], "trainings": []}
    elif damage == "half":
        assert 0 < len(found) < TRIALS
    else:
        assert len(whole) >= TRIALS - 20
    if saved.rows["trials"] < TRIALS and damage == "a leaf":
        assert saved.missing["trials"]
    assert [one.number for one in found if one.state is TrialState.STOPPED] == saved.untrained


def test_what_stands_in_the_log_of_a_killed_writer_is_brought_over(path: Path, new: Path) -> None:
    writer = process(WRITE, path, TRIALS, TRIALS + 10)
    assert line(writer) == "written"
    end(writer)
    assert path.with_name(f"{FILE_NAME}-wal").stat().st_size > 0
    path.write_bytes(b"\x00" * 100 + path.read_bytes()[100:])
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}  # the log's own index included
    saved = salvage(path, new)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
    assert saved.rows["trials"] == TRIALS + 10
    with Store.open(new) as store:
        assert store.results()[TRIALS:] == tuple(result(number) for number in range(TRIALS, TRIALS + 10))


def test_random_damage_makes_nothing_up(whole: Path, tmp_path: Path) -> None:
    pages = whole.stat().st_size // PAGE
    kept = 0
    for seed in range(25):
        draw = random.Random(seed)
        folder = tmp_path / str(seed)
        (folder / "new").mkdir(parents=True)
        path, new = folder / FILE_NAME, folder / "new" / FILE_NAME
        shutil.copy(whole, path)
        content = bytearray(path.read_bytes())
        for _ in range(draw.randint(1, 6)):
            start = draw.randrange(pages) * PAGE
            if draw.random() < 0.5:
                content[start : start + PAGE] = draw.randbytes(PAGE)
            else:  # the head of a page, where its rows are found
                content[start : start + 64] = draw.randbytes(64)
        path.write_bytes(content[: draw.choice([len(content), draw.randrange(PAGE, len(content))])])
        try:
            salvage(path, new)
        except StoreDamaged:
            continue
        kept += len(check(new))
    assert kept > 25 * TRIALS / 3


def test_a_record_of_an_earlier_schema_is_brought_over_and_carried_over(tmp_path: Path, new: Path) -> None:
    old = Path(__file__).parents[2] / "nas" / "session" / "schema_1" / FILE_NAME
    path = Path(shutil.copy(old, tmp_path / FILE_NAME))
    path.write_bytes(b"\x00" * 100 + path.read_bytes()[100:])
    saved = salvage(path, new)
    assert saved.needed == []
    with Store.open(old) as before, Store.open(new) as after:
        assert after.results() == before.results()
        assert after.trainings_beside() == before.trainings_beside()
        assert after.measurements() == before.measurements()


@pytest.mark.parametrize("content", [b"", b"garbage" * 5000, bytes(8 * PAGE)])
def test_what_holds_nothing_is_said_to(path: Path, new: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreDamaged, match="holds nothing that can be read"):
        salvage(path, new)
    assert list(new.parent.iterdir()) == []


def test_a_run_that_is_searched_now_is_left_alone(path: Path, new: Path) -> None:
    with Store.open_for_writing(path), pytest.raises(StoreError, match="is being searched now"):
        salvage(path, new)


def test_the_shell_of_sqlite_finds_nothing_wrong_with_the_new_one(path: Path, new: Path) -> None:
    shell = shutil.which("sqlite3")
    if shell is None:
        pytest.skip("no sqlite3 here")
    overwritten(path, leaves(path)[4])
    salvage(path, new)
    done = subprocess.run([shell, str(new), "PRAGMA integrity_check"], capture_output=True, text=True, check=True)
    assert done.stdout == "ok\n"
