"""Copies of a run's trained weights elsewhere, as they are kept: another disk, or whatever fsspec can write to.

The same run on a new disk gets them back. What fails is said once and ends nothing.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

from trials.record.file import FILE_NAME, PARENT_NAME, reading_address

#: Seconds that the end of a search waits for the last weights.
LAST_S = 120.0
#: Seconds between two looks at what is new.
EVERY_S = 10.0


class Storage:
    """Keeps `PLACE/RUN-BEGAN/` like the weights of the run in `folder`, in a thread of its own. A context manager.

    BEGAN is when the run's first session began, so that two runs of one name never share a folder. Nothing is deleted
    there: what the run's own folder has no room for any more stays.
    """

    def __init__(self, folder: Path, place: str, say: Callable[[str], None], every_s: float = EVERY_S) -> None:
        self._folder, self._given, self._every_s, self._say = folder, place, every_s, say
        self._there: dict[str, int] = {}  # bytes by name
        self._failed = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storage", daemon=True)

    def __enter__(self) -> Storage:
        self._tried(self._fetch)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(LAST_S)
        if self._thread.is_alive():
            self._say(f"the last weights take more than {LAST_S:.0f} s to {self._given}: they are not waited for")

    def _run(self) -> None:
        last = False
        while not last:
            self._over.wait(self._every_s)
            last = self._over.is_set()
            self._tried(self._send)

    def _tried(self, do: Callable[[], None]) -> None:
        try:
            do()
            self._failed = False
        except Exception as error:  # whatever a place elsewhere does, a search goes on
            if not self._failed:
                said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                self._say(f"weights cannot be kept at {self._given} ({said}): they stay in {self._folder}")
            self._failed = True

    def _place(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs  # with what it needs for this kind of address

        whole = f"{self._given.rstrip('/')}/{self._folder.resolve().name}-{_began(self._folder / FILE_NAME)}"
        files, path = url_to_fs(whole)
        return files, str(path)

    def _fetch(self) -> None:
        """What is there and not here: a new disk has the record alone."""
        files, place = self._place()
        if not files.exists(place):
            return
        for entry in files.ls(place, detail=True):
            name = str(entry["name"]).rpartition("/")[2]
            if not _NAME.fullmatch(name):  # of an upload that broke off, or nobody's
                continue
            self._there[name] = int(entry["size"])
            here = self._folder / (name if name == PARENT_NAME else f"weights/{name}")
            if not here.exists():
                here.parent.mkdir(exist_ok=True)
                unfinished = here.with_name(f".{name}.new")
                files.get_file(f"{place}/{name}", str(unfinished))
                unfinished.replace(here)

    def _send(self) -> None:
        new = [path for path in self._here() if self._there.get(path.name) != path.stat().st_size]
        if not new:
            return
        files, place = self._place()
        files.makedirs(place, exist_ok=True)
        for path in new:
            size = path.stat().st_size
            files.put_file(str(path), f"{place}/{path.name}.new")
            files.mv(f"{place}/{path.name}.new", f"{place}/{path.name}")
            self._there[path.name] = size

    def _here(self) -> Iterator[Path]:
        yield from sorted((self._folder / "weights").glob("*.safetensors"))
        if (parent := self._folder / PARENT_NAME).is_file():
            yield parent


#: Weights as a run names them: nothing that leads out of its folder.
_NAME = re.compile(r"[\w-]+\.safetensors")


def _began(record: Path) -> str:
    """When the first session of a record began, in letters that any place takes. Raises sqlite3.Error, ValueError."""
    with closing(sqlite3.connect(reading_address(record), uri=True)) as connection:
        found = connection.execute("SELECT started_at FROM sessions ORDER BY id LIMIT 1").fetchone()
    if found is None:
        raise ValueError(f"{record} has no session yet")
    return re.sub(r"\W", "", str(found[0]))[:20]
