"""Looks at image files before they are used: do they open, how large are they, are two of them the same."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from trials.data.decoding import thread_count
from trials.scenes.config import LARGEST_STRIDE
from trials.scenes.entries import contained
from trials.scenes.problems import SIZE, UNREADABLE, BadEntry

_MOST_PIXELS = 80_000_000  # below PIL's own limit, which warns first and raises at twice that
_CHUNK = 64  # images a task
_ANNOUNCE_EVERY_S = 3.0


@dataclass(frozen=True)
class Picture:
    """An image file that can be decoded: its size in pixels, the digest of its bytes, and PIL's mode."""

    height: int
    width: int
    digest: str
    mode: str


def look_at(root: Path, files: Sequence[str], announce: Callable[[str], None]) -> dict[str, Picture | BadEntry]:
    """What is to be known of each file of `root`, or why it cannot be used; every file is decoded once, in threads."""
    names = list(dict.fromkeys(files))
    parts = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    seen: dict[str, Picture | BadEntry] = {}
    last = time.monotonic()
    with ThreadPoolExecutor(thread_count(), thread_name_prefix="look") as pool:
        for looked in pool.map(lambda part: [_look(root, name) for name in part], parts):
            seen.update(zip(names[len(seen) :], looked, strict=False))
            if time.monotonic() - last >= _ANNOUNCE_EVERY_S and len(seen) < len(names):
                last = time.monotonic()
                announce(f"checking images: {len(seen):,} of {len(names):,}")
    return seen


def _look(root: Path, file: str) -> Picture | BadEntry:
    try:
        return _inspect(contained(root, file))
    except BadEntry as bad:
        return bad


def _inspect(path: Path) -> Picture:
    try:
        raw = path.read_bytes()
        with Image.open(BytesIO(raw)) as image:
            width, height = image.size
            mode = image.mode
            if width * height <= _MOST_PIXELS:
                image.draft(None, (width // 8, height // 8))  # JPEGs at an eighth: all of the stream is read still
                image.load()
    except Exception as error:  # PIL's decoders raise nearly anything on damaged files
        reason = " ".join(str(error).replace(str(path), "it").split())[:120]
        raise BadEntry(f"the image cannot be decoded ({reason or type(error).__name__})", UNREADABLE) from error
    if width * height > _MOST_PIXELS:
        raise BadEntry(f"the image has {width}x{height} pixels: at most {_MOST_PIXELS:,} are read", SIZE)
    if mode.startswith(("I", "F")):
        raise BadEntry(f"mode {mode} has more than 8 bits a pixel: convert it to 8-bit grey or RGB", UNREADABLE)
    if min(width, height) < LARGEST_STRIDE:
        raise BadEntry(
            f"the image has {width}x{height} pixels: smaller than {LARGEST_STRIDE}, the largest stride of the networks",
            SIZE,
        )
    return Picture(height, width, hashlib.sha256(raw).hexdigest()[:32], mode)
