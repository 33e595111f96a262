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
from pathlib import Path

import numpy as np

from trials.data.config import DataError
from trials.data.content import Content, ContentMeter, Images

_IMAGES, _CONTENT = "images.npy", "content.json"
_ABANDONED_S = 24 * 3600.0  # a half-written entry this old belongs to no living process


def cache_root() -> Path:
    """$FUSION_NAS_CACHE/decoded, else ~/.cache/fusion-nas/decoded."""
    return Path(os.environ.get("FUSION_NAS_CACHE") or "~/.cache/fusion-nas").expanduser().absolute() / "decoded"


def cached(
    key: str, shape: tuple[int, int, int, int], chunks: Callable[[], Iterator[Images]]
) -> tuple[Images, Content]:
    """The images [N, C, H, W] kept under `key`; where there are none, `chunks()` is written there first.

    The array is mapped, copy-on-write: processes share its pages, and none can change the file. Entries appear
    whole or not at all (written aside, then renamed); of several processes on one machine that want the same
    new entry, one decodes while the others wait. A damaged entry is made again.
    Raises DataError when the folder cannot be written, and passes on what `chunks` raises.
    """
    root = cache_root()
    entry = root / key
    found = _read(entry, shape)
    if found is not None:
        return found
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _lock(root / f"{key}.lock"):
            found = _read(entry, shape)  # made by another process while this one waited
            if found is None:
                _sweep(root)
                _write(entry, shape, chunks())
                found = _read(entry, shape)
    except OSError as error:
        raise DataError(
            f"cannot keep decoded images in {root}: {error.strerror or error}; "
            "name a folder with room in the environment variable FUSION_NAS_CACHE"
        ) from error
    if found is None:
        raise DataError(f"{entry} cannot be read back: delete it, or name another place in FUSION_NAS_CACHE")
    return found


def _read(entry: Path, shape: tuple[int, ...]) -> tuple[Images, Content] | None:
    try:
        kept = json.loads((entry / _CONTENT).read_text(encoding="utf-8"))
        content = Content(str(kept["sha256"]), tuple(map(float, kept["mean"])), tuple(map(float, kept["std"])))
        # "c", not "r": torch warns about a read-only array, and writing to its tensor would kill the process
        images = np.load(entry / _IMAGES, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if images.shape != shape or images.dtype != np.uint8 or len(content.mean) != shape[1]:
        return None
    return images, content


def _write(entry: Path, shape: tuple[int, int, int, int], chunks: Iterator[Images]) -> None:
    workshop = entry.parent / f".{entry.name}-{uuid.uuid4().hex}"
    workshop.mkdir()
    try:
        meter, count = ContentMeter(shape[1]), 0
        # Written as a stream and not through a mapping: a full disk is then an error and not a SIGBUS.
        with (workshop / _IMAGES).open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for chunk in chunks:
                file.write(chunk.data)
                meter.update(chunk)
                count += len(chunk)
            file.flush()
            os.fsync(file.fileno())
        if count != shape[0]:
            raise ValueError(f"{count} images were decoded, {shape[0]} expected")
        content = meter.content()
        kept = {"sha256": content.sha256, "mean": content.mean, "std": content.std}
        (workshop / _CONTENT).write_text(json.dumps(kept), encoding="utf-8")
        try:
            workshop.replace(entry)
        except OSError:
            # Something is there. Where locks do not work it may be another process's good copy; else it is damaged.
            if _read(entry, shape) is None:
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
