"""Keeps decoded images on disk, so that they are decoded once and shared by every process that maps them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from trials.data.content import Content, ContentMeter, Images
from trials.data.keeping import kept

_IMAGES, _DIGESTS, _CONTENT = "images.npy", "digests.npy", "content.json"

Notes = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Kept:
    """An entry: images uint8 [N, C, H, W], mapped, what they contain, and the JSON that its maker noted with them."""

    images: Images
    content: Content
    notes: Notes


def cached(key: str, chunks: Callable[[Notes], Iterator[Images]]) -> Kept:
    """The images kept under `key`; where there are none, those of `chunks(notes)` (at least one) are written there.

    What `chunks` has put into `notes` when it ends (JSON, under text keys) is kept with the images.
    The array is mapped, copy-on-write: processes share its pages, and none can change the file. Pages that are not
    in use are the kernel's to take back, so that images may be more than there is memory.
    Raises DataError when the folder cannot be written, and passes on what `chunks` raises.
    """
    return kept(key, _read, lambda workshop: _write(workshop, chunks))


def _read(entry: Path) -> Kept:
    content = json.loads((entry / _CONTENT).read_text(encoding="utf-8"))
    mean, std = (tuple(map(float, content[name])) for name in ("mean", "std"))
    digests = np.load(entry / _DIGESTS, allow_pickle=False)
    # "c", not "r": torch warns about a read-only array, and writing to its tensor would kill the process
    images = np.load(entry / _IMAGES, mmap_mode="c", allow_pickle=False)
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[:2] != (len(digests), len(mean)):
        raise ValueError(f"{entry}: {images.dtype} {images.shape} do not fit {len(digests)} images")
    return Kept(images, Content(str(content["sha256"]), mean, std, digests), dict(content["notes"]))


def _write(folder: Path, chunks: Callable[[Notes], Iterator[Images]]) -> None:
    notes: Notes = {}
    made = chunks(notes)
    first = next(made)
    meter, shape = ContentMeter(first.shape[1]), first.shape[1:]
    # Written as a stream and not through a mapping: a full disk is then an error and not a SIGBUS.
    with (folder / _IMAGES).open("wb") as file:
        _write_header(file, (0, *shape))
        for chunk in chain((first,), made):
            file.write(np.ascontiguousarray(chunk).data)
            meter.update(chunk)
        content = meter.content()
        file.seek(0)
        _write_header(file, (len(content.digests), *shape))  # numpy leaves room for any number of images
        file.flush()
        os.fsync(file.fileno())
    np.save(folder / _DIGESTS, content.digests, allow_pickle=False)
    known = {"sha256": content.sha256, "mean": content.mean, "std": content.std, "notes": notes}
    (folder / _CONTENT).write_text(json.dumps(known), encoding="utf-8")


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
