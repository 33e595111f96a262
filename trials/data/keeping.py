"""Keeps what was made of a data set on disk, so that it is made once and shared by every process that maps it."""

from __future__ import annotations

import os
import shutil
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from trials.data.config import DataError

T = TypeVar("T")

_ABANDONED_S = 24 * 3600.0  # a half-written entry this old belongs to no living process

_DAMAGED = (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile)


def cache_root() -> Path:
    """$FUSION_NAS_CACHE/decoded, else ~/.cache/fusion-nas/decoded."""
    return Path(os.environ.get("FUSION_NAS_CACHE") or "~/.cache/fusion-nas").expanduser().absolute() / "decoded"


def kept(key: str, read: Callable[[Path], T], write: Callable[[Path], None]) -> T:
    """What `read(folder)` makes of the entry `key`; where there is none, `write(folder)` fills a new folder first.

    Entries appear whole or not at all (written aside, then renamed); of several processes on one machine that want
    the same new entry, one writes while the others wait. An entry
    that `read` finds damaged or missing, by one of `_DAMAGED`, is made again.
    Raises DataError when the cache cannot be written, and passes on what else `write` raises.
    """
    root = cache_root()
    entry = root / key
    try:
        return read(entry)
    except _DAMAGED:
        pass
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _lock(root / f"{key}.lock"):
            try:
                return read(entry)  # made by another process while this one waited
            except _DAMAGED:
                _sweep(root)
                _replace(entry, read, write)
        return read(entry)
    except OSError as error:
        raise DataError(
            f"cannot keep decoded images in {root}: {error.strerror or error}; "
            "name a folder with room in the environment variable FUSION_NAS_CACHE"
        ) from error


def _replace(entry: Path, read: Callable[[Path], T], write: Callable[[Path], None]) -> None:
    workshop = entry.parent / f".{entry.name}-{uuid.uuid4().hex}"
    workshop.mkdir()
    try:
        write(workshop)
        try:
            workshop.replace(entry)
        except OSError:
            # Something is there. Where locks do not work it may be another process's good copy; else it is damaged.
            try:
                read(entry)
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
