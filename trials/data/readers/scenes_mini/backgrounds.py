"""Textured backgrounds: clouds of several octaves around a colour, stripes, and the grain of a sensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_OCTAVES = (2, 4, 8, 16, 32)  # cells across; the first is a gradient
_GRAIN = 4.0  # standard deviation, of 255


def paint_background(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """float32 [3, side, side] around 0 to 255, by `rng` alone; the same layout at every `side`, but for the grain."""
    colour = rng.uniform(40.0, 215.0, (3, 1, 1)).astype(np.float32)
    strength = rng.uniform(0.3, 1.0)
    finer = rng.uniform(0.15, 0.45)  # share of each next octave: from smooth to busy
    cloud: Image.Image | None = None
    for cells in _OCTAVES:
        octave = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        if cloud is not None:
            octave = Image.blend(cloud.resize((cells, cells), Image.Resampling.BICUBIC), octave, finer)
        cloud = octave
    clouds = np.asarray(octave.resize((side, side), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    # one plane for what all colours share: stripes on half of the backgrounds, and grain on all
    grain = rng.spawn(1)[0]  # so that its share of random numbers, which grows with the side, moves nothing else
    shared = grain.standard_normal((side, side), dtype=np.float32) * np.float32(_GRAIN)
    angle, waves, phase, height = rng.uniform([0.0, 2.0, 0.0, -35.0], [np.pi, 16.0, 2 * np.pi, 35.0])
    if height > 0:
        place = np.arange(side, dtype=np.float32) * np.float32(2 * np.pi * waves / side)
        along = np.float32(np.cos(angle)) * place[None, :] + np.float32(np.sin(angle)) * place[:, None]
        shared += np.float32(height) * np.sin(along + np.float32(phase))
    image: NDArray[np.float32] = clouds * np.float32(strength) + (colour - np.float32(127.5 * strength)) + shared
    return image
