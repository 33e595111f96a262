"""Digest and channel statistics of uint8 images in one pass, and the fingerprint of a dataset."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Digests = NDArray[np.uint64]

_SMALLEST_STD = 1.0 / 255.0  # a constant channel must not divide by zero
_CHUNK = 4096  # images a step: keeps the temporaries of the statistics small


@dataclass(frozen=True)
class Content:
    """What is to be known of an array of images [N, C, H, W] without keeping it.

    sha256: digest of the bytes. mean, std: per channel, images scaled to 0..1; std is at least 1/255.
    digests: uint64 [N], BLAKE2b of each image's bytes, by which equal images are found: among a million different
        ones, two share a digest with a probability of 3e-8.
    """

    sha256: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digests: Digests = field(compare=False)


class ContentMeter:
    """Builds a `Content` from chunks of images in order; the result does not depend on how they were cut."""

    def __init__(self, channels: int) -> None:
        self._digest = hashlib.sha256()
        self._histograms = np.zeros((channels, 256), dtype=np.int64)
        self._each: list[bytes] = []

    def update(self, images: Images) -> None:
        """Take in a chunk, uint8 [n, C, H, W]."""
        images = np.ascontiguousarray(images)
        self._digest.update(images.data)
        self._each += [blake2b(image.data, digest_size=8).digest() for image in images]
        for channel, histogram in enumerate(self._histograms):
            histogram += np.bincount(images[:, channel].ravel(), minlength=256)

    def content(self) -> Content:
        """The digest and statistics of everything taken in (at least one image)."""
        means, stds = [], []
        for histogram in self._histograms.tolist():  # Python integers: exact sums, whatever the size
            count = sum(histogram)
            total = sum(value * times for value, times in enumerate(histogram))
            squares = sum(value * value * times for value, times in enumerate(histogram))
            means.append(total / count / 255.0)
            stds.append(max(math.sqrt(count * squares - total * total) / count / 255.0, _SMALLEST_STD))
        digests = np.frombuffer(b"".join(self._each), dtype="<u8").astype(np.uint64)
        return Content(self._digest.hexdigest(), tuple(means), tuple(stds), digests)


def measure(images: Images) -> Content:
    """The `Content` of images already in memory, uint8 [N, C, H, W] with N >= 1."""
    meter = ContentMeter(images.shape[1])
    for start in range(0, len(images), _CHUNK):
        meter.update(images[start : start + _CHUNK])
    return meter.content()


def fingerprint(classes: Iterable[str], splits: Iterable[tuple[str, Labels, Content, tuple[int, ...]]]) -> str:
    """16 hex digits over class names and, per split, its name, labels, image digest and image shape."""
    digest = hashlib.sha256(json.dumps(list(classes)).encode())
    for name, labels, content, shape in splits:
        digest.update(json.dumps([name, content.sha256, list(shape)]).encode())
        digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return digest.hexdigest()[:16]
