"""Brings images, masks and maps to one square size: longer sides are fitted, the rest is padded."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trials.data.config import DataError
from trials.data.decoding import thread_count
from trials.data.keeping import kept
from trials.scenes.config import Targets
from trials.scenes.masks import IGNORED, load_map
from trials.scenes.prepared import Part, Pixels, Prepared, read_prepared, write_prepared
from trials.scenes.rle import Mask, decode, encode
from trials.scenes.table import Integers, SceneTable

PAD_GREY = 114  # of 255, near the mean of photographs, so that normalised padding is near zero
_CHUNK = 32  # images a task
_ANNOUNCE_EVERY_S = 3.0
_CACHE_VERSION = 1  # raise it when fitting changes, so that old entries are not used


@dataclass(frozen=True)
class Form:
    """The form that a split is brought to: `side` in pixels. foreground: as in `Reading`."""

    side: int
    targets: Targets
    foreground: bool


def fitted_sizes(sizes: Integers, side: int) -> Integers:
    """Heights and widths [N, 2] in pixels after the longer side has become `side`; at least 1."""
    longer = sizes.max(axis=1, keepdims=True)
    fitted: Integers = np.maximum(np.rint(sizes * side / longer), 1).astype(np.int64)
    return fitted


def fit_split(root: Path, table: SceneTable, form: Form, announce: Callable[[str], None]) -> Prepared:
    """The images of `table` in `form`, from the cache where it has them.

    Images are resized antialiased; orientation tags are not applied. Maps keep the nearest value; a pixel belongs to a
    mask when the mask covers half of it. Padding is grey in images and ignored in maps.
    Raises DataError naming an image that cannot be read any more.
    """
    count = len(table)

    def write(entry: Path) -> None:
        write_prepared(entry, count, form.side, form.targets, _parts(root, table, form, announce))

    return kept(_key(root, table, form), lambda entry: read_prepared(entry, count, form.side, form.targets), write)


def _key(root: Path, table: SceneTable, form: Form) -> str:
    """Of content and not of names: the same images elsewhere need not be decoded again."""
    digest = hashlib.sha256(json.dumps([_CACHE_VERSION, form.side, form.targets, form.foreground]).encode())
    digest.update(json.dumps([table.digests, table.sizes.tolist(), table.first.tolist()]).encode())
    for file in table.map_files or ():
        try:
            status = (root / file).stat()
        except OSError as error:
            raise DataError(f"cannot read map {root / file}: {error.strerror}; it was readable before") from error
        digest.update(f"{root}/{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    if form.targets != "boxes":
        digest.update(table.labels.tobytes())
        for counts in table.counts or ():
            digest.update(counts + b"\0")
    return f"scenes-{digest.hexdigest()[:32]}"


def _parts(root: Path, table: SceneTable, form: Form, announce: Callable[[str], None]) -> Iterator[Part]:
    """In the order of the table; PIL and pycocotools let go of the interpreter lock while they work."""
    done, last = 0, time.monotonic()
    spans = [np.arange(start, min(start + _CHUNK, len(table))) for start in range(0, len(table), _CHUNK)]
    threads = thread_count()
    with ThreadPoolExecutor(threads, thread_name_prefix="fit") as pool:
        # A few spans at a time: a slow disk must not let decoded images pile up.
        for start in range(0, len(spans), 2 * threads):
            for part in pool.map(
                lambda span: _fit_part(root, table.take(span), form), spans[start : start + 2 * threads]
            ):
                yield part
                done += len(part.images)
                if time.monotonic() - last >= _ANNOUNCE_EVERY_S and done < len(table):
                    last = time.monotonic()
                    announce(f"decoding images: {done:,} of {len(table):,}")


def _fit_part(root: Path, table: SceneTable, form: Form) -> Part:
    side = form.side
    images = np.full((len(table), 3, side, side), PAD_GREY, dtype=np.uint8)
    maps = np.full((len(table), side, side), IGNORED, dtype=np.uint8) if form.targets == "semantic" else None
    counts: list[bytes] = []
    fitted = fitted_sizes(table.sizes, side)
    for place, file in enumerate(table.files):
        height, width = fitted[place].tolist()
        images[place, :, :height, :width] = _fit_image(root / file, width, height)
        if maps is not None and table.map_files is not None:
            maps[place, :height, :width] = _fit_map(root / table.map_files[place], width, height, form.foreground)
        elif form.targets != "boxes":
            masks = [_fit_mask(mask, width, height) for mask in _masks(table, place)]
            if maps is not None:
                maps[place, :height, :width] = _paint(masks, table.take(np.array([place])), width, height)
            else:
                counts += [encode(_padded(mask, side)) for mask in masks]
    return Part(images, maps, counts)


def _fit_image(path: Path, width: int, height: int) -> Pixels:
    """One image file as uint8 [3, height, width]."""
    try:
        with Image.open(path) as opened:
            # Large JPEGs are decoded at a fraction of their size, at least twice the size asked for.
            opened.draft(None, (2 * width, 2 * height))
            image: Image.Image = opened
            if image.mode in ("P", "PA") and "transparency" in image.info:
                image = image.convert("RGBA")  # PIL warns when such a palette goes straight to RGB
            image = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
            return np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)
    except Exception as error:  # PIL's decoders raise nearly anything on damaged files
        reason = " ".join(str(error).replace(str(path), "it").split())
        raise DataError(
            f"cannot read image {path}: {reason or type(error).__name__}; it was readable before"
        ) from error


def _fit_map(path: Path, width: int, height: int, foreground: bool) -> Pixels:
    values = load_map(path)
    if foreground:
        values = (values == IGNORED).astype(np.uint8)
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST), dtype=np.uint8)


def _masks(table: SceneTable, place: int) -> Iterator[Mask]:
    height, width = table.sizes[place].tolist()
    counts = table.counts or ()
    for each in range(table.first[place], table.first[place + 1]):
        yield decode(counts[each], height, width)


def _fit_mask(mask: Mask, width: int, height: int) -> Mask:
    """uint8 [height, width] of 0 and 1, never without a pixel."""
    covered = np.asarray(Image.fromarray(mask * 255).resize((width, height), Image.Resampling.BILINEAR))
    fitted = (covered >= 128).astype(np.uint8)
    if not fitted.any():  # too thin for the size: its middle stands for it
        rows, columns = np.nonzero(mask)
        row, column = int(np.median(rows)) * height // mask.shape[0], int(np.median(columns)) * width // mask.shape[1]
        fitted[row, column] = 1
    return fitted


def _paint(masks: list[Mask], table: SceneTable, width: int, height: int) -> Pixels:
    """Classes from objects: 0 is background, label + 1 an object; the smaller of two that overlap is in front."""
    painted = np.zeros((height, width), dtype=np.uint8)
    for place in np.argsort(-table.areas, kind="stable"):
        painted[masks[place] > 0] = table.labels[place] + 1
    return painted


def _padded(mask: Mask, side: int) -> Mask:
    return np.pad(mask, ((0, side - mask.shape[0]), (0, side - mask.shape[1])))
