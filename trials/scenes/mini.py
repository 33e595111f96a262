"""scenes-mini: scenes composed of the embedded Fashion-MNIST images, for detection and segmentation out of the box.

Derived data: every scene is a textured background with 1 to 8 garments on it, tinted, 8 to 64 pixels long (log-uniform)
on 128x128 pixels, partly in front of one another. An object is visible for at least half of its silhouette; its mask,
its box and its area are those of the visible part. Training, validation and test scenes share no garment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trials.data.arrays import FASHION_CLASSES
from trials.data.config import DataConfig
from trials.data.keeping import kept
from trials.data.loading import load_data
from trials.scenes.backgrounds import paint_background
from trials.scenes.config import Targets
from trials.scenes.prepared import Part, Pixels, Prepared, read_prepared, write_prepared
from trials.scenes.rle import encode
from trials.scenes.sprites import Sprites, cut_out, render
from trials.scenes.table import Floats, Integers

CATEGORIES = FASHION_CLASSES
SCENES = {"train": 2000, "val": 400, "test": 500}

_STREAM = {"train": 0, "val": 1, "test": 2}
_MOST_OBJECTS = 8
_LENGTHS = (8.0, 64.0)  # pixels of the longer side, on
_REFERENCE_SIDE = 128
_LEAST_VISIBLE = 0.5  # of the silhouette; an object that is hidden more is put elsewhere, or left out
_TRIES = 10
_CHUNK = 64  # scenes a part
_CACHE_VERSION = 1  # raise it when composing changes, so that old entries are not used


@dataclass(frozen=True, eq=False)
class Scene:
    """One scene. image: uint8 [3, S, S]. owners: uint8 [S, S], 0 is background, k + 1 the visible part of object k.
    boxes: [K, 4], left, top, right, bottom in pixels. labels: [K]."""

    image: Pixels
    owners: Pixels
    boxes: Floats
    labels: Integers


@dataclass(frozen=True, eq=False)
class Composed:
    """Some scenes of a split; the objects of scene i are at `first[i]` to `first[i + 1]`; areas in pixels."""

    prepared: Prepared
    first: Integers
    boxes: Floats
    labels: Integers
    areas: Floats


def load_mini(
    split: str, positions: Integers, side: int, targets: Targets, announce: Callable[[str], None], seed: int = 0
) -> Composed:
    """The scenes of `split` ("train", "val" or "test") at `positions`, in that order, composed once and then cached.

    A scene depends on (seed, split, position) alone; at another `side` (in pixels) its objects are where they were.
    """
    count = len(positions)
    described = [_CACHE_VERSION, seed, split, side, targets, positions.tolist()]
    key = f"scenes-{hashlib.sha256(json.dumps(described).encode()).hexdigest()[:32]}"

    def write(entry: Path) -> None:
        announce(f"composing {count:,} scenes for {split} (once)")
        sprites = split_sprites(split)
        scenes = (compose(sprites, (seed, _STREAM[split], int(place)), side) for place in positions)
        boxes: list[Floats] = []
        labels: list[Integers] = []
        areas: list[Integers] = []

        def parts() -> Iterator[Part]:
            chunk: list[Scene] = []
            for number, scene in enumerate(scenes, start=1):
                chunk.append(scene)
                boxes.append(scene.boxes)
                labels.append(scene.labels)
                areas.append(np.bincount(scene.owners.ravel(), minlength=len(scene.labels) + 1)[1:])
                if len(chunk) == _CHUNK or number == count:
                    yield _part(chunk, targets)
                    chunk = []

        write_prepared(entry, count, side, targets, parts())
        np.savez(
            entry / "objects.npz",
            first=np.cumsum([0, *(len(each) for each in labels)]),
            boxes=np.concatenate(boxes),
            labels=np.concatenate(labels),
            areas=np.concatenate(areas).astype(np.float64),
        )

    def read(entry: Path) -> Composed:
        with np.load(entry / "objects.npz", allow_pickle=False) as arrays:
            objects = {name: arrays[name] for name in ("first", "boxes", "labels", "areas")}
        return Composed(prepared=read_prepared(entry, count, side, targets), **objects)

    return kept(key, read, write)


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


def _boxes(owners: Pixels, count: int) -> Floats:
    boxes = np.empty((count, 4), dtype=np.float64)
    for number in range(count):
        visible = owners == number + 1
        rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
        boxes[number] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def _part(scenes: list[Scene], targets: Targets) -> Part:
    images = np.stack([scene.image for scene in scenes])
    if targets == "semantic":
        classes = [np.concatenate([[0], scene.labels + 1]).astype(np.uint8)[scene.owners] for scene in scenes]
        return Part(images, maps=np.stack(classes))
    if targets == "instances":
        return Part(
            images,
            counts=[
                encode((scene.owners == number + 1).astype(np.uint8))
                for scene in scenes
                for number in range(len(scene.labels))
            ],
        )
    return Part(images)
