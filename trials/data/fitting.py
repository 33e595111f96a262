"""Brings images and maps to one square size: longer sides are fitted, the rest is padded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trials.data.config import DataError, Targets
from trials.data.content import Images
from trials.data.decoding import decode_fitted, in_threads
from trials.data.items import Integers, SceneTable
from trials.data.orientation import AS_IT_LIES, turned_mask
from trials.data.pixels import Chunk, Notes, Pixels, cached_pixels
from trials.data.problems import reason_of
from trials.data.readers.masks import IGNORED, load_map
from trials.data.readers.run_lengths import Mask, decode
from trials.data.survey import files_key

PAD_GREY = 114  # of 255, near the mean of photographs, so that normalised padding is near zero
_CHUNK = 32  # images a task
_CACHE_VERSION = 4  # raise it when fitting changes, so that old entries are not used


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


def fit_split(root: Path, table: SceneTable, form: Form, announce: Callable[[str], None]) -> Pixels:
    """The images of `table` in `form`, from the cache where it has them.

    Images are turned as their EXIF orientation says and resized antialiased. Maps keep the nearest
    value; a pixel belongs to an object when its mask covers half of it. Padding is grey in images and ignored in maps.
    Raises DataError naming an image that cannot be read any more.
    """

    def chunks(_: Notes) -> Iterator[Chunk]:
        def fitted(start: int, end: int) -> Chunk:
            return _fit_part(root, table.take(np.arange(start, end)), form)

        return in_threads(fitted, len(table), _CHUNK, announce, "decoding images")

    return cached_pixels(_key(root, table, form), chunks)


def _key(root: Path, table: SceneTable, form: Form) -> str:
    """Of content and not of names: the same images elsewhere need not be decoded again."""
    described: list[object] = [_CACHE_VERSION, form.side, form.targets, form.foreground]
    described += [table.digests, table.sizes.tolist(), table.first.tolist()]
    described.append(None if table.turns is None else table.turns.tolist())
    if form.targets == "semantic":
        described += [table.labels.tolist(), [counts.decode() for counts in table.counts or ()]]
    key, _ = files_key(described, root if table.map_files else Path(), table.map_files or ())
    return f"scenes-{key}"


def _fit_part(root: Path, table: SceneTable, form: Form) -> Chunk:
    side = form.side
    images = np.full((len(table), 3, side, side), PAD_GREY, dtype=np.uint8)
    maps = np.full((len(table), side, side), IGNORED, dtype=np.uint8) if form.targets == "semantic" else None
    for place, (height, width) in enumerate(fitted_sizes(table.sizes, side).tolist()):
        path = root / table.files[place]
        try:
            images[place, :, :height, :width] = decode_fitted(path, width, height)
            if maps is None:
                continue
            if table.map_files is not None:
                path = root / table.map_files[place]
                orientation = AS_IT_LIES if table.turns is None else int(table.turns[place])
                painted = _fit_map(path, width, height, form.foreground, orientation)
            else:
                painted = _paint(table.take(np.array([place])), width, height)
        except Exception as error:  # PIL's decoders raise nearly anything on damaged files
            if isinstance(error, DataError):
                raise
            raise DataError(f"cannot read {path}: {reason_of(error, path)}; it was readable before") from error
        maps[place, :height, :width] = painted
    return images, maps


def _fit_map(path: Path, width: int, height: int, foreground: bool, orientation: int) -> Images:
    values = turned_mask(load_map(path), orientation)
    if foreground:
        values = (values == IGNORED).astype(np.uint8)
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST), dtype=np.uint8)


def _fit_mask(mask: Mask, width: int, height: int) -> Mask:
    """uint8 [height, width] of 0 and 1, never without a pixel."""
    covered = np.asarray(Image.fromarray(mask * 255).resize((width, height), Image.Resampling.BILINEAR))
    fitted = (covered >= 128).astype(np.uint8)
    if not fitted.any():  # too thin for the size: its middle stands for it
        rows, columns = np.nonzero(mask)
        row, column = int(np.median(rows)) * height // mask.shape[0], int(np.median(columns)) * width // mask.shape[1]
        fitted[row, column] = 1
    return fitted


def _paint(table: SceneTable, width: int, height: int) -> Images:
    """Classes from the objects of one image: 0 is background, label + 1 an object; the smaller of two that overlap is
    in front."""
    painted = np.zeros((height, width), dtype=np.uint8)
    rows, columns = table.sizes[0].tolist()
    for place in np.argsort(-table.areas, kind="stable"):
        mask = decode((table.counts or ())[place], rows, columns)
        painted[_fit_mask(mask, width, height) > 0] = table.labels[place] + 1
    return painted
