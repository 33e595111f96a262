"""scenes-mini: scenes composed of the embedded Fashion-MNIST images, for detection and segmentation out of the box.

Derived data: every scene is a textured background with 1 to 8 garments on it, tinted, 8 to 64 pixels long (log-uniform)
on 128x128 pixels, partly in front of one another. An object is visible for at least half of its silhouette; its box and
its area are those of the visible part. Training, validation and test scenes share no garment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trials.data.config import DataConfig, Targets
from trials.data.content import Images
from trials.data.image_loading import load_data
from trials.data.items import Floats, Integers, SceneTable
from trials.data.pixels import Chunk, Notes, Pixels, cached_pixels
from trials.data.readers.published import FASHION_CLASSES
from trials.data.readers.scenes_mini.backgrounds import paint_background
from trials.data.readers.scenes_mini.sprites import Sprites, cut_out, render

CATEGORIES = FASHION_CLASSES
SCENES = {"train": 2000, "val": 400, "test": 500}

_STREAM = {"train": 0, "val": 1, "test": 2}
_MOST_OBJECTS = 8
_LENGTHS = (8.0, 64.0)  # pixels of the longer side, on
_REFERENCE_SIDE = 128
_LEAST_VISIBLE = 0.5  # of the silhouette; an object that is hidden more is put elsewhere, or left out
_TRIES = 10
_CHUNK = 64  # scenes a part
_CACHE_VERSION = 2  # raise it when composing changes, so that old entries are not used


@dataclass(frozen=True, eq=False)
class Scene:
    """One scene. image: uint8 [3, S, S]. owners: uint8 [S, S], 0 is background, k + 1 the visible part of object k.
    boxes: [K, 4], left, top, right, bottom in pixels. labels: [K]."""

    image: Images
    owners: Images
    boxes: Floats
    labels: Integers


def compose_split(
    split: str, positions: Integers, side: int, targets: Targets, announce: Callable[[str], None], seed: int = 0
) -> tuple[SceneTable, Pixels]:
    """The scenes of `split` ("train", "val" or "test") at `positions`, in that order, composed once and then cached.

    A scene depends on (seed, split, position) alone; at another `side` (in pixels) its objects are where they were.
    """
    count = len(positions)
    described = [_CACHE_VERSION, seed, split, side, targets, positions.tolist()]

    def chunks(notes: Notes) -> Iterator[Chunk]:
        announce(f"composing {count:,} scenes for {split} (once)")
        sprites = split_sprites(split)
        first: list[int] = [0]
        notes |= {"first": first, "boxes": [], "labels": [], "areas": []}
        for start in range(0, count, _CHUNK):
            places = positions[start : start + _CHUNK].tolist()
            scenes = [compose(sprites, (seed, _STREAM[split], place), side) for place in places]
            for scene in scenes:
                first.append(first[-1] + len(scene.labels))
                notes["boxes"] += scene.boxes.tolist()
                notes["labels"] += scene.labels.tolist()
                notes["areas"] += np.bincount(scene.owners.ravel(), minlength=len(scene.labels) + 1)[1:].tolist()
            yield np.stack([scene.image for scene in scenes]), _maps(scenes) if targets == "semantic" else None

    pixels = cached_pixels(f"scenes-{hashlib.sha256(json.dumps(described).encode()).hexdigest()[:32]}", chunks)
    table = SceneTable(
        files=tuple(f"{split}/{place:05}" for place in positions.tolist()),
        digests=(),
        sizes=np.full((count, 2), side, dtype=np.int64),
        first=np.array(pixels.notes["first"], dtype=np.int64),
        boxes=np.array(pixels.notes["boxes"], dtype=np.float64).reshape(-1, 4),
        labels=np.array(pixels.notes["labels"], dtype=np.int64),
        areas=np.array(pixels.notes["areas"], dtype=np.float64),
        crowd=np.zeros(len(pixels.notes["labels"]), dtype=np.bool_),
    )
    return table, pixels


def split_sprites(split: str) -> Sprites:
    """The garments of a split: those of the same split of fashion-mnist-mini, whose validation cut never changes."""
    garments = getattr(load_data(DataConfig()), split)
    return cut_out(garments.images[:, 0].numpy(), garments.labels.numpy())


def compose(sprites: Sprites, stream: tuple[int, ...], side: int) -> Scene:
    """One scene of `side` pixels, all of whose random numbers come from `stream`.

    Objects are placed from the front to the back, each behind those that are there: what is seen of one is settled
    when it is placed, and painting goes the other way round.
    """
    rng = np.random.default_rng(stream)
    image = paint_background(rng, side)
    owners = np.zeros((side, side), dtype=np.uint8)
    painted: list[tuple[slice, slice, NDArray[np.float32], NDArray[np.float32]]] = []
    labels: list[int] = []
    for _ in range(int(rng.integers(1, _MOST_OBJECTS + 1))):
        number = int(rng.integers(len(sprites.labels)))
        length = float(np.exp(rng.uniform(*np.log(_LENGTHS)))) * side / _REFERENCE_SIDE
        colours, alpha = render(sprites, number, length, rng)
        silhouette = alpha >= 0.5
        spare = np.array([side - silhouette.shape[0], side - silhouette.shape[1]])
        for corner in rng.uniform(size=(_TRIES, 2)):
            top, left = (corner * (spare + 1)).astype(int).tolist()
            place = slice(top, top + silhouette.shape[0]), slice(left, left + silhouette.shape[1])
            visible = silhouette & (owners[place] == 0)
            if visible.sum() >= _LEAST_VISIBLE * silhouette.sum():
                owners[place][visible] = len(labels) + 1
                painted.append((*place, colours, alpha))
                labels.append(int(sprites.labels[number]))
                break
    for rows, columns, colours, alpha in reversed(painted):
        behind = image[:, rows, columns]
        image[:, rows, columns] = behind + alpha * (colours - behind)
    pixels = np.rint(image.clip(0.0, 255.0)).astype(np.uint8)
    return Scene(pixels, owners, _boxes(owners, len(labels)), np.array(labels, dtype=np.int64))


def _boxes(owners: Images, count: int) -> Floats:
    boxes = np.empty((count, 4), dtype=np.float64)
    for number in range(count):
        visible = owners == number + 1
        rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
        boxes[number] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def _maps(scenes: list[Scene]) -> Images:
    """uint8 [n, S, S]: 0 is background, label + 1 a garment."""
    return np.stack([np.concatenate([[0], scene.labels + 1]).astype(np.uint8)[scene.owners] for scene in scenes])
