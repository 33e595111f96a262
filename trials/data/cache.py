"""Keeps decoded images on disk, so that they are decoded once and shared by every process that maps them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from trials.data.config import DataError
from trials.data.content import Content, ContentMeter, Images

_IMAGES, _DIGESTS, _CONTENT = "images.npy", "digests.npy", "content.json"
_ABANDONED_S = 24 * 3600.0  # a half-written entry this old belongs to no living process

Notes = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Kept:
    """An entry: images uint8 [N, C, H, W], mapped, what they contain, and the JSON that its maker noted with them."""

    images: Images
    content: Content
    notes: Notes


def cache_root() -> Path:
    """$FUSION_NAS_CACHE/decoded, else ~/.cache/fusion-nas/decoded."""
    return Path(os.environ.get("FUSION_NAS_CACHE") or "~/.cache/fusion-nas").expanduser().absolute() / "decoded"


def cached(key: str, chunks: Callable[[Notes], Iterator[Images]]) -> Kept:
    """The images kept under `key`; where there are none, those of `chunks(notes)` (at least one) are written there.

    What `chunks` has put into `notes` when it ends (JSON, under text keys) is kept with the images.
    The array is mapped, copy-on-write: processes share its pages, and none can change the file. Pages that are not
    in use are the kernel's to take back, so that images may be more than there is memory. Entries appear
    whole or not at all (written aside, then renamed); of several processes on one machine that want the same
    new entry, one decodes while the others wait. A damaged entry is made again.
    Raises DataError when the folder cannot be written, and passes on what `chunks` raises.
    """
    root = cache_root()
    entry = root / key
    found = _read(entry)
    if found is not None:
        return found
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _lock(root / f"{key}.lock"):
            found = _read(entry)  # made by another process while this one waited
            if found is None:
                _sweep(root)
                _write(entry, chunks)
                found = _read(entry)
    except OSError as error:
        raise DataError(
            f"cannot keep decoded images in {root}: {error.strerror or error}; "
            "name a folder with room in the environment variable FUSION_NAS_CACHE"
        ) from error
    if found is None:
        raise DataError(f"{entry} cannot be read back: delete it, or name another place in FUSION_NAS_CACHE")
    return found


def _read(entry: Path) -> Kept | None:
    try:
        kept = json.loads((entry / _CONTENT).read_text(encoding="utf-8"))
        mean, std = (tuple(map(float, kept[name])) for name in ("mean", "std"))
        digests = np.load(entry / _DIGESTS, allow_pickle=False)
        # "c", not "r": torch warns about a read-only array, and writing to its tensor would kill the process
        images = np.load(entry / _IMAGES, mmap_mode="c", allow_pickle=False)
        found = Kept(images, Content(str(kept["sha256"]), mean, std, digests), dict(kept["notes"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    fits = images.ndim == 4 and images.dtype == np.uint8 and images.shape[:2] == (len(digests), len(mean))
    return found if fits else None


def _write(entry: Path, chunks: Callable[[Notes], Iterator[Images]]) -> None:
    workshop = entry.parent / f".{entry.name}-{uuid.uuid4().hex}"
    workshop.mkdir()
    try:
        notes: Notes = {}
        made = chunks(notes)
        first = next(made)
        meter, shape = ContentMeter(first.shape[1]), first.shape[1:]
        # Written as a stream and not through a mapping: a full disk is then an error and not a SIGBUS.
        with (workshop / _IMAGES).open("wb") as file:
            _write_header(file, (0, *shape))
            for chunk in chain((first,), made):
                file.write(np.ascontiguousarray(chunk).data)
                meter.update(chunk)
            content = meter.content()
            file.seek(0)
            _write_header(file, (len(content.digests), *shape))  # numpy leaves room for any number of images
            file.flush()
            os.fsync(file.fileno())
        np.save(workshop / _DIGESTS, content.digests, allow_pickle=False)
        kept = {"sha256": content.sha256, "mean": content.mean, "std": content.std, "notes": notes}
        (workshop / _CONTENT).write_text(json.dumps(kept), encoding="utf-8")
        try:
            workshop.replace(entry)
        except OSError:
            # Something is there. Where locks do not work it may be another process's good copy; else it is damaged.
            if _read(entry) is None:
                shutil.rmtree(entry, ignore_errors=True)
                workshop.replace(entry)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


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
