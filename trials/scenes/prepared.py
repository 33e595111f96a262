"""Images and pixel targets of one split at training size, as they lie in the cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from trials.data.content import ContentMeter
from trials.scenes.config import Targets

Pixels = NDArray[np.uint8]

_IMAGES, _MAPS, _MASKS, _ENDS, _CONTENT = "images.npy", "maps.npy", "masks.bin", "masks_end.npy", "content.json"


@dataclass(frozen=True, eq=False)
class Part:
    """Some images of a split, in order: uint8 [n, 3, S, S], with what the targets need: maps of classes
    uint8 [n, S, S], or the run lengths of the masks of all their objects."""

    images: Pixels
    maps: Pixels | None = None
    counts: Sequence[bytes] = ()


@dataclass(frozen=True, eq=False)
class Prepared:
    """All images of a split, mapped from the cache, as in `Part`; maps and counts only where the targets need them.

    mean, std: per channel, of images scaled to 0..1, padding included. sha256: digest of all that is here.
    """

    images: Pixels
    maps: Pixels | None
    counts: tuple[bytes, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str


def write_prepared(folder: Path, count: int, side: int, targets: Targets, parts: Iterable[Part]) -> None:
    """Write the `parts` of `count` images as they come. As streams: a full disk is then an error and not a SIGBUS."""
    meter, digest = ContentMeter(3), hashlib.sha256()
    ends: list[int] = [0]
    with ExitStack() as stack:

        def stream(name: str, shape: tuple[int, ...] | None) -> IO[bytes]:
            file = stack.enter_context((folder / name).open("wb"))
            if shape is not None:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            return file

        images = stream(_IMAGES, (count, 3, side, side))
        maps = stream(_MAPS, (count, side, side)) if targets == "semantic" else None
        masks = stream(_MASKS, None) if targets == "instances" else None
        for part in parts:
            images.write(np.ascontiguousarray(part.images).data)
            meter.update(part.images)
            if maps is not None and part.maps is not None:
                values = np.ascontiguousarray(part.maps).data
                maps.write(values)
                digest.update(values)
            if masks is not None:
                for counts in part.counts:
                    masks.write(counts)
                    digest.update(counts)
                    ends.append(ends[-1] + len(counts))
        for file in (images, maps, masks):
            if file is not None:
                file.flush()
                os.fsync(file.fileno())
    content = meter.content()
    digest.update(json.dumps([content.sha256, ends]).encode())
    if targets == "instances":
        np.save(folder / _ENDS, np.array(ends, dtype=np.int64))
    kept = {"mean": content.mean, "std": content.std, "sha256": digest.hexdigest()}
    (folder / _CONTENT).write_text(json.dumps(kept), encoding="utf-8")


def read_prepared(folder: Path, count: int, side: int, targets: Targets) -> Prepared:
    """What `write_prepared` wrote; raises ValueError and its like when it is not all there."""
    content = json.loads((folder / _CONTENT).read_text(encoding="utf-8"))
    masks = None
    if targets == "instances":
        text, ends = (folder / _MASKS).read_bytes(), np.load(folder / _ENDS, allow_pickle=False).tolist()
        masks = tuple(text[start:end] for start, end in pairwise(ends))
        if len(text) != ends[-1]:
            raise ValueError(f"{folder / _MASKS} was cut short")
    return Prepared(
        images=_mapped(folder / _IMAGES, (count, 3, side, side)),
        maps=_mapped(folder / _MAPS, (count, side, side)) if targets == "semantic" else None,
        counts=masks,
        mean=tuple(map(float, content["mean"])),
        std=tuple(map(float, content["std"])),
        sha256=str(content["sha256"]),
    )


def _mapped(path: Path, shape: tuple[int, ...]) -> Pixels:
    """Mapped copy-on-write: torch warns about a read-only array, and writing to its tensor would kill the process."""
    array: Pixels = np.load(path, mmap_mode="c", allow_pickle=False)
    if array.dtype != np.uint8 or array.shape != shape:
        raise ValueError(f"{path} holds {array.dtype} {array.shape}")
    return array
