"""Keeps what was made of a data set on disk, so that it is made once and shared by every process that maps it.

An entry is a folder of arrays, NAME.npy, and one notes.json, which says what arrays there must be.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from trials.data.config import DataError

_ABANDONED_S = 24 * 3600.0  # a half-written entry this old belongs to no living process
_DAMAGED = (OSError, ValueError, KeyError, TypeError, IndexError, EOFError)
_NOTES = "notes.json"


@dataclass(frozen=True, eq=False)
class Entry:
    """arrays: by name, mapped copy-on-write. notes: the JSON that its maker left with them."""

    arrays: Mapping[str, NDArray[Any]]
    notes: Mapping[str, Any]


class EntryWriter:
    """Fills a new entry. notes: JSON, under text keys, kept with the arrays."""

    def __init__(self, folder: Path) -> None:
        self.notes: dict[str, Any] = {}
        self._folder = folder
        self._written: dict[str, tuple[str, list[int]]] = {}  # dtype and shape
        self._streams: dict[str, IO[bytes]] = {}

    def append(self, name: str, chunk: NDArray[Any]) -> None:
        """Add rows to an array; all chunks have one dtype and one shape after the first dimension.

        Written as a stream and not through a mapping: a full disk is then an error and not a SIGBUS.
        """
        if name not in self._streams:
            self._streams[name] = (self._folder / f"{name}.npy").open("wb")
            self._written[name] = chunk.dtype.str, [0, *chunk.shape[1:]]
            self._write_header(name)
        self._written[name][1][0] += len(chunk)
        self._streams[name].write(np.ascontiguousarray(chunk).data)

    def finish(self) -> None:
        """Bring all to the disk, the notes last."""
        for name, file in self._streams.items():
            file.seek(0)
            self._write_header(name)  # numpy leaves room for any number of rows
            file.flush()
            os.fsync(file.fileno())
        text = json.dumps({"arrays": self._written, "notes": self.notes})
        (self._folder / _NOTES).write_text(text, encoding="utf-8")

    def close(self) -> None:
        """Close the files, whatever happened."""
        for file in self._streams.values():
            file.close()

    def _write_header(self, name: str) -> None:
        descr, shape = self._written[name]
        header = {"descr": descr, "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(self._streams[name], header)


def cache_root() -> Path:
    """$FUSION_NAS_CACHE/decoded, else ~/.cache/fusion-nas/decoded."""
    return Path(os.environ.get("FUSION_NAS_CACHE") or "~/.cache/fusion-nas").expanduser().absolute() / "decoded"


def cached(
    key: str, write: Callable[[EntryWriter], None], holds: Callable[[Entry], bool] = lambda entry: True
) -> Entry:
    """The entry `key`; where there is none, it is damaged or no longer `holds`, `write` fills a new one first.

    Entries appear whole or not at all (written aside, then renamed); of several processes on one machine that want
    the same new entry, one writes while the others wait. Arrays are mapped, copy-on-write: processes share their
    pages, and none can change the file. Pages that are not in use are the kernel's to take back, so that images may be
    more than there is memory.
    Raises DataError when the cache cannot be written, and passes on what else `write` raises.
    """
    root = cache_root()
    entry = root / key
    with suppress(*_DAMAGED):
        return _holding(_read(entry), holds)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _lock(root / f"{key}.lock"):
            try:
                return _holding(_read(entry), holds)  # made by another process while this one waited
            except _DAMAGED:
                _sweep(root)
                shutil.rmtree(entry, ignore_errors=True)
                _replace(entry, write)
        return _read(entry)
    except OSError as error:
        raise DataError(
            f"cannot keep decoded images in {root}: {error.strerror or error}; "
            "name a folder with room in the environment variable FUSION_NAS_CACHE"
        ) from error


def _read(entry: Path) -> Entry:
    known = json.loads((entry / _NOTES).read_text(encoding="utf-8"))
    arrays = {}
    for name, (descr, shape) in known["arrays"].items():
        # "c", not "r": torch warns about a read-only array, and writing to its tensor would kill the process.
        # There is nothing to map in an array without rows.
        array = np.load(entry / f"{name}.npy", mmap_mode="c" if all(shape) else None, allow_pickle=False)
        if array.dtype.str != descr or list(array.shape) != shape:
            raise ValueError(f"{entry / name} holds {array.dtype} {array.shape}")
        arrays[name] = array
    return Entry(arrays, dict(known["notes"]))


def _holding(entry: Entry, holds: Callable[[Entry], bool]) -> Entry:
    if not holds(entry):
        raise ValueError("what was kept is no longer so")
    return entry


def _write(folder: Path, write: Callable[[EntryWriter], None]) -> None:
    writer = EntryWriter(folder)
    try:
        write(writer)
        writer.finish()
    finally:
        writer.close()


def _replace(entry: Path, write: Callable[[EntryWriter], None]) -> None:
    workshop = entry.parent / f".{entry.name}-{uuid.uuid4().hex}"
    workshop.mkdir()
    try:
        _write(workshop, write)
        try:
            workshop.replace(entry)
        except OSError:
            # Something is there. Where locks do not work it may be another process's good copy; else it is damaged.
            try:
                _read(entry)
            except _DAMAGED:
                shutil.rmtree(entry, ignore_errors=True)
                workshop.replace(entry)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold an advisory lock where the system has them; it only saves work, correctness does not hang on it."""
    with path.open("ab") as file:
        if sys.platform != "win32":
            import fcntl

            with suppress(OSError):  # some network file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file releases the lock


def _sweep(root: Path) -> None:
    """Remove what killed processes left half written long ago."""
    for left in root.glob(".*-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)
