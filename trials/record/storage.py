"""Copies of a run's trained weights elsewhere, as they are kept: another disk, or whatever fsspec can write to.

The same run on a new disk gets back those that it needs. What fails is said once and ends nothing.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType

from trials.record.elsewhere import Place, began, place_of
from trials.record.file import FILE_NAME, PARENT_NAME

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
        self._tried(self._look)
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
                self._say(f"weights cannot be kept at {self._given} ({_said(error)}): they stay in {self._folder}")
            self._failed = True

    def _look(self) -> None:
        """What is there already is not sent again."""
        self._there = _weights(_place(self._folder, self._given))

    def _send(self) -> None:
        new = [path for path in self._here() if self._there.get(path.name) != _size(path)]
        if not new:
            return
        place = _place(self._folder, self._given)
        for path in new:
            try:
                size = path.stat().st_size
                place.put(path.name, path)
            except FileNotFoundError:
                if path.exists():
                    raise  # it is the place that is not there
                continue  # let go of meanwhile, for want of room
            self._there[path.name] = size

    def _here(self) -> Iterator[Path]:
        yield from sorted((self._folder / "weights").glob("*.safetensors"))
        if (parent := self._folder / PARENT_NAME).is_file():
            yield parent


def fetch(
    folder: Path, place: str, wanted: Callable[[], Iterable[Path]], most_bytes: int, say: Callable[[str], None]
) -> None:
    """What is there and not here, of the files that are `wanted` in the run's folder: a new disk has the record alone.

    In their order while all of them, those that are here too, take at most `most_bytes`. They are asked for only where
    anything is missing. What fails is said and ends nothing.
    """
    try:
        elsewhere = _place(folder, place)
        there = _weights(elsewhere)
        if all(_in(folder, name).exists() for name in there):
            return
        left = most_bytes
        for here in dict.fromkeys(wanted()):
            size = here.stat().st_size if here.exists() else there.get(here.name)
            if size is None or here != _in(folder, here.name) or size > left:
                continue
            left -= size
            if not here.exists():
                elsewhere.fetch(here.name, here)
    except Exception as error:  # whatever a place elsewhere does, a search goes on
        say(f"weights cannot be fetched from {place} ({_said(error)}): {folder} goes on with those that it has")


def _size(path: Path) -> int | None:
    """None of what is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _in(folder: Path, name: str) -> Path:
    return folder / (name if name == PARENT_NAME else f"weights/{name}")


def _place(folder: Path, given: str) -> Place:
    """Raises ImportError and ValueError as `place_of`."""
    when = began(folder / FILE_NAME)
    if when is None:
        raise ValueError(f"{folder / FILE_NAME} has no session yet")
    return place_of(f"{given.rstrip('/')}/{folder.resolve().name}-{when}", when)


def _weights(place: Place) -> dict[str, int]:
    """Bytes of the weights that are there, by name; not of what broke off, or is nobody's."""
    return {name: size for name, size in place.sizes().items() if _NAME.fullmatch(name)}


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


#: Weights as a run names them: nothing that leads out of its folder.
_NAME = re.compile(r"[\w-]+\.safetensors")
