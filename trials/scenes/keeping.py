"""Keeps what was made of a data set on disk, so that it is made once and shared by every process that maps it."""

from __future__ import annotations

import shutil
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from trials.data.cache import _lock as lock
from trials.data.cache import _sweep as sweep
from trials.data.cache import cache_root
from trials.data.config import DataError

T = TypeVar("T")

_DAMAGED = (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile)


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
        with lock(root / f"{key}.lock"):
            try:
                return read(entry)  # made by another process while this one waited
            except _DAMAGED:
                sweep(root)
                _replace(entry, write)
        return read(entry)
    except OSError as error:
        raise DataError(
            f"cannot keep decoded images in {root}: {error.strerror or error}; "
            "name a folder with room in the environment variable FUSION_NAS_CACHE"
        ) from error


def _replace(entry: Path, write: Callable[[Path], None]) -> None:
    workshop = entry.parent / f".{entry.name}-{uuid.uuid4().hex}"
    workshop.mkdir()
    try:
        write(workshop)
        shutil.rmtree(entry, ignore_errors=True)  # it is damaged, or not there
        workshop.replace(entry)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
