"""Copies of a record that is written to, elsewhere: another disk, or whatever fsspec can write to.

Each is the record as of one instant, taken by SQLite beside the writer, and appears whole or not at all. Beside it
stands what the run's trainings start from, for without just that a run cannot go on: trained anew it need not be the
same to the bit. What fails is said once and ends nothing.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from types import TracebackType

from trials.record.elsewhere import Place, began, place_of
from trials.record.file import FILE_NAME, LOCK_NAME, PARENT_NAME, copy_record

#: Seconds that the end of a search waits for its last copy.
LAST_S = 60.0
#: What SQLite keeps beside a database that is written to, or whose writer was killed.
_SIDE_FILES = ("-wal", "-shm", "-journal")


def copy_at(given: str, run: str) -> tuple[str, str]:
    """The folder and the name of a copy: `PATH/RUN` and `study.db`, or those of PATH itself where that ends in .db;
    PATH is a local path or an address that fsspec knows."""
    if PurePosixPath(given.partition("://")[2] or given).suffix != ".db":
        return f"{given.rstrip('/')}/{run}", FILE_NAME
    folder, between, name = given.rpartition("/")
    return (folder or "/" if between else "."), name


def parent_at(name: str) -> str:
    """The name of the parent's copy, beside that of a record's copy."""
    return PARENT_NAME if name == FILE_NAME else f"{name.removesuffix('.db')}.{PARENT_NAME}"


def is_the_record(place: Place, name: str, record: Path) -> bool:
    """Whether a copy put there would take the place of the record itself, by whatever name."""
    if place.here is None:
        return False
    there = place.here / name
    return there.resolve() == record.resolve() or (there.exists() and record.exists() and there.samefile(record))


def of_a_run(place: Place, name: str) -> bool:
    """Whether the folder is a run's: its record would lose what its side files hold, and the copy would read them."""
    return not place.sizes().keys().isdisjoint((LOCK_NAME, *(f"{name}{ending}" for ending in _SIDE_FILES)))


def why_not(given: str, record: Path) -> str | None:
    """Why no copy can be kept there: it would take the place of the record itself, or of another run's. None where it
    can, and where that cannot be known yet, as the place is not to be reached: the copying says so then."""
    folder, name = copy_at(given, record.resolve().parent.name)
    try:
        place = place_of(folder, "nobody")
        if is_the_record(place, name, record):
            return f"it leads to {record}, the record itself"
        return f"{place.name} is the folder of a run" if of_a_run(place, name) else None
    except Exception:  # whatever a place elsewhere does
        return None


class Backup:
    """Copies the record at `record`, and the parent beside it, to a place now, every `every_s` seconds, and at the end.
    A context manager.

    The copying is done in a thread of its own, beside the writer. What another run has left in that place before is
    renamed; where another one puts its copies there meanwhile, those stay, and this run has none from then on. That
    takes a place whose locks hold between the two, see `Place.alone`: in an object store a copy that is under way just
    then still lands over the other's, which then is the one that has none from then on.
    """

    def __init__(self, record: Path, place: str, every_s: float, say: Callable[[str], None]) -> None:
        self._record, self._given, self._every_s, self._say = record, place, every_s, say
        self._ours = False  # the copy that is there, since this run has put one there
        self._parent: tuple[int, int] | None = None  # which one is there, by its time and size
        self._failed = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backup", daemon=True)

    def __enter__(self) -> Backup:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(LAST_S)
        if self._thread.is_alive():
            self._say(
                f"the last copy of {self._record} to {self._given} takes more than {LAST_S:.0f} s: not waited for"
            )

    def _run(self) -> None:
        while True:
            last = self._over.is_set()
            try:
                self._copy()
                self._failed = False
            except Exception as error:  # whatever a place elsewhere does, a search goes on
                if not self._failed:
                    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
                    self._say(
                        f"{self._record} could not be copied to {self._given} ({said}): the search goes on without"
                    )
                self._failed = True
            if last:
                return
            self._over.wait(self._every_s)

    def _copy(self) -> None:
        with tempfile.TemporaryDirectory(prefix="fusion-nas-backup-") as scratch:
            copy, there = Path(scratch) / FILE_NAME, Path(scratch) / "there.db"
            copy_record(self._record, copy)
            own = began(copy)
            folder, name = copy_at(self._given, self._record.resolve().parent.name)
            place = place_of(folder, own or "nobody")
            if is_the_record(place, name, self._record):
                raise FileExistsError(f"{place.name}/{name} is the record itself")
            if of_a_run(place, name):
                raise FileExistsError(f"{place.name} is the folder of a run")
            with place.alone():
                if place.fetch(name, there) and began(there) != own:
                    if self._ours:
                        raise FileExistsError(
                            f"{place.name}/{name} is of another run now, and stays: give another place"
                        )
                    self._say(f"{place.name}/{name} was of another run: it is {place.put_aside(name)} now")
                    if parent_at(name) in place.sizes():
                        place.put_aside(parent_at(name))
                self._ours = True
                self._copy_parent(place, parent_at(name))
                place.put(name, copy)

    def _copy_parent(self, place: Place, name: str) -> None:
        """Before the record, which may speak of it already."""
        parent = self._record.with_name(PARENT_NAME)
        if not parent.is_file():
            return
        found = parent.stat()
        seen = (found.st_mtime_ns, found.st_size)
        if seen != self._parent:
            place.put(name, parent)
            self._parent = seen
