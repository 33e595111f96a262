"""Images of one size, with maps of classes where there are some: written to the cache chunk by chunk, then mapped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trials.data.content import Content, ContentMeter, Images
from trials.data.disk_cache import EntryWriter, cached

Notes = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images uint8 [N, C, H, W], mapped; `maps` uint8 [N, H, W] of classes; what the images contain, and the JSON that
    was noted with them. sha256: digest of images and maps."""

    images: Images
    maps: Images | None
    content: Content
    notes: Mapping[str, Any]
    sha256: str


Chunk = tuple[Images, Images | None]


def cached_pixels(
    key: str,
    chunks: Callable[[Notes], Iterator[Chunk]],
    holds: Callable[[Mapping[str, Any]], bool] = lambda notes: True,
) -> Pixels:
    """The pixels kept under `key`; where there are none, those of `chunks(notes)` (at least one) are written there.

    holds: of the notes that were kept with them, whether they are to be taken still.
    What `chunks` has put into `notes` when it ends (JSON, under text keys) is kept with them.
    Raises what `trials.data.disk_cache.cached` does, and passes on what `chunks` raises.
    """

    def write(entry: EntryWriter) -> None:
        notes: Notes = {}
        digest = hashlib.sha256()
        meter = None
        for images, maps in chunks(notes):
            meter = meter or ContentMeter(images.shape[1])
            meter.update(images)
            entry.append("images", images)
            if maps is not None:
                digest.update(np.ascontiguousarray(maps).data)
                entry.append("maps", maps)
        assert meter is not None
        content = meter.content()
        digest.update(json.dumps([content.sha256, [0]]).encode())  # [0]: as in the runs of before
        entry.append("digests", content.digests)
        described = {"sha256": content.sha256, "mean": content.mean, "std": content.std}
        entry.notes |= {"content": described, "sha256": digest.hexdigest(), "notes": notes}

    entry = cached(key, write, lambda entry: holds(entry.notes["notes"]))
    known, arrays = entry.notes["content"], entry.arrays
    mean, std = (tuple(map(float, known[name])) for name in ("mean", "std"))
    content = Content(str(known["sha256"]), mean, std, arrays["digests"])
    return Pixels(arrays["images"], arrays.get("maps"), content, entry.notes["notes"], entry.notes["sha256"])
