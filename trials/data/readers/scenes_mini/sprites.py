"""Garments cut out of Fashion-MNIST images, and one of them at a size, tinted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trials.data.content import Images, Labels

_BLACK = 16  # of 255: darker pixels that are joined to the border are background
_SHORTEST = 3  # pixels of a side
_DARKEST = 0.3  # of the tint: black garments are seen too


@dataclass(frozen=True, eq=False)
class Sprites:
    """K garments. grey: uint8 [K, 28, 28]. inside: bool [K, 28, 28], the silhouettes with their dark parts. boxes:
    int64 [K, 4], left, top, right, bottom of the silhouettes. labels: int64 [K]."""

    grey: Images
    inside: NDArray[np.bool_]
    boxes: NDArray[np.int64]
    labels: Labels


def cut_out(grey: Images, labels: Labels) -> Sprites:
    """The sprites in images uint8 [K, H, W] on black."""
    dark = grey < _BLACK
    outside = np.zeros_like(dark)
    outside[:, [0, -1], :] = dark[:, [0, -1], :]
    outside[:, :, [0, -1]] |= dark[:, :, [0, -1]]
    while True:  # the background grows from the border until it meets garment everywhere
        grown = outside.copy()
        grown[:, 1:] |= outside[:, :-1]
        grown[:, :-1] |= outside[:, 1:]
        grown[:, :, 1:] |= outside[:, :, :-1]
        grown[:, :, :-1] |= outside[:, :, 1:]
        grown &= dark
        if np.array_equal(grown, outside):
            break
        outside = grown
    inside = ~outside
    rows: NDArray[np.bool_] = np.any(inside, axis=2)
    columns: NDArray[np.bool_] = np.any(inside, axis=1)
    boxes = np.stack(
        [
            columns.argmax(axis=1),
            rows.argmax(axis=1),
            columns.shape[1] - columns[:, ::-1].argmax(axis=1),
            rows.shape[1] - rows[:, ::-1].argmax(axis=1),
        ],
        axis=1,
    )
    usable = inside.any(axis=(1, 2))
    return Sprites(grey[usable], inside[usable], boxes[usable], labels[usable])


def render(
    sprites: Sprites, number: int, length: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colours float32 [3, h, w] from 0 to 255 and coverage float32 [h, w] from 0 to 1 of one garment.

    Its longer side is `length` pixels, rounded; it is tinted with one colour and mirrored or not, by `rng`.
    """
    left, top, right, bottom = sprites.boxes[number].tolist()
    scale = length / max(right - left, bottom - top)
    size = (max(round((right - left) * scale), _SHORTEST), max(round((bottom - top) * scale), _SHORTEST))
    tint = rng.uniform(48.0, 255.0, (3, 1, 1)).astype(np.float32)
    mirrored = rng.random() < 0.5
    pair = np.stack([sprites.grey[number], sprites.inside[number].astype(np.uint8) * 255], axis=2)
    pair = pair[top:bottom, left:right, :]
    if mirrored:
        pair = pair[:, ::-1]
    # "LA" is resized with its colours weighted by coverage, so that the black around does not bleed in
    resized = np.asarray(Image.fromarray(np.ascontiguousarray(pair), "LA").resize(size, Image.Resampling.BILINEAR))
    shade = _DARKEST + (1.0 - _DARKEST) * resized[:, :, 0].astype(np.float32) / 255.0
    return tint * shade, resized[:, :, 1].astype(np.float32) / 255.0
