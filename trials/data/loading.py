"""`load_data`: from a DataConfig to split, sized and measured images. The only way in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from trials.data.arrays import ArraySet, ArraySource, find_arrays
from trials.data.cache import Notes, cached
from trials.data.config import FOLDER_PREFIX, DataConfig, DataError
from trials.data.containers import ImageData, Split
from trials.data.content import Content, Images, Labels, fingerprint, measure
from trials.data.decoding import decode_files, settle_format
from trials.data.findings import Finding, Findings, Names, listed, repeated, shared
from trials.data.folder import list_folder
from trials.data.splitting import choose_subset, cut_validation
from trials.data.unreadable import Unreadable, UnreadableImages

_RESIZE_CHUNK = 512  # images a step: float32 copies of a whole dataset would not fit
_CACHE_VERSION = 1  # raise it when reading, cutting or resizing change, so that old entries are not used


@dataclass(frozen=True, eq=False)
class _Part:
    """A split: images, labels, what the images contain, what they are called, and which files were left out."""

    images: Images
    labels: Labels
    content: Content
    names: Names
    unreadable: tuple[Unreadable, ...] = ()


def load_data(config: DataConfig, announce: Callable[[str], None] = lambda _: None) -> ImageData:
    """Load the images `config` names, cut validation from the training part, and measure the train split.

    The same config on the same files gives the same splits, byte for byte. Folders and published datasets are
    decoded once and then mapped from a cache (see `trials.data.cache`), whose pages all processes share.
    announce: takes one line at a time about what takes long or was decided (downloads, decoding, resizing).
    Raises DataError, one line, when the data cannot be had or do not fit the config.
    """
    if config.name.startswith(FOLDER_PREFIX):
        return _load_folder(config, announce)
    source = find_arrays(config, announce)
    return _load_embedded(config, source) if not source.files else _load_published(config, source)


def _load_embedded(config: DataConfig, source: ArraySource) -> ImageData:
    """Unpacked from the package each time: it is small, and needs no folder that can be written."""
    arrays = source.read()
    parts = {}
    for split, (images, labels, positions) in _cut(config, arrays).items():
        sized = _resized(images[positions], config.image_size)
        parts[split] = _Part(sized, labels[positions], measure(sized), _numbered(split))
    return _assemble(config.name, arrays.classes, parts)


def _load_published(config: DataConfig, source: ArraySource) -> ImageData:
    read = cache(lambda: _cut(config, arrays()))  # once for all splits, and not at all where all are kept
    arrays = cache(source.read)

    def chunks(split: str, notes: Notes) -> Iterator[Images]:
        images, labels, positions = read()[split]
        notes |= {"classes": list(arrays().classes), "labels": labels[positions].tolist()}
        for start in range(0, len(positions), _RESIZE_CHUNK):
            yield _resized(images[positions[start : start + _RESIZE_CHUNK]], config.image_size)

    parts, classes = {}, ()
    for split in ("train", "val", "test"):
        kept = cached(_key(config, split, source.files), partial(chunks, split))
        labels = np.asarray(kept.notes["labels"], dtype=np.int64)
        parts[split] = _Part(kept.images, labels, kept.content, _numbered(split))
        classes = tuple(kept.notes["classes"])
    return _assemble(config.name, classes, parts)


def _numbered(split: str) -> Names:
    return lambda place: f"{split}[{place}]"


def _cut(config: DataConfig, arrays: ArraySet) -> dict[str, tuple[Images, Labels, Labels]]:
    """By split: the images and labels that it is taken from, and at which positions."""
    train, val = cut_validation(arrays.train_labels, arrays.classes, config.val_fraction, config.split_seed)
    train = train[choose_subset(arrays.train_labels[train], arrays.classes, config.train_images, config.split_seed)]
    return {
        "train": (arrays.train_images, arrays.train_labels, train),
        "val": (arrays.train_images, arrays.train_labels, val),
        "test": (arrays.test_images, arrays.test_labels, np.arange(len(arrays.test_labels))),
    }


def _key(config: DataConfig, split: str, files: Iterable[Path]) -> str:
    """The cache key of a split of these files; it changes with whatever changes the split."""
    decides: list[object] = [_CACHE_VERSION, config.name, split, config.image_size]
    if split != "test":
        decides += [config.val_fraction, config.split_seed]
    if split == "train":
        decides.append(config.train_images)
    states = ((path, path.stat()) for path in files)
    decides += [[str(path), state.st_size, state.st_mtime_ns] for path, state in states]
    return hashlib.sha256(json.dumps(decides).encode(errors="surrogateescape")).hexdigest()[:32]


def _load_folder(config: DataConfig, announce: Callable[[str], None]) -> ImageData:
    # File lists first: split and subset are settled before anything is decoded, so a short run on a huge folder
    # decodes only what it uses.
    folder = list_folder(config.name.removeprefix(FOLDER_PREFIX), announce)
    image_format = settle_format(folder, config.image_size, announce)
    chosen = dict(folder.splits)
    if "val" not in chosen:
        train, val = cut_validation(chosen["train"].labels, folder.classes, config.val_fraction, config.split_seed)
        chosen["train"], chosen["val"] = chosen["train"].take(train), chosen["train"].take(val)
    subset = choose_subset(chosen["train"].labels, folder.classes, config.train_images, config.split_seed)
    chosen["train"] = chosen["train"].take(subset)
    parts = {}
    refused: list[Unreadable] = []
    for split, listing in chosen.items():
        try:
            kept, unreadable = decode_files(folder.root, listing.files, image_format, config.drop_unreadable, announce)
        except UnreadableImages as error:
            refused += error.found  # those of all splits are named at once
            continue
        left = np.delete(np.arange(len(listing.files)), [one.place for one in unreadable])
        listing = listing.take(left)
        empty = set(range(len(folder.classes))) - set(listing.labels.tolist())
        if empty:
            few = listed((repr(folder.classes[number]) for number in sorted(empty)), len(empty))
            raise DataError(f"{folder.root}: none of the {split} images of class {few} can be read: mend them")
        parts[split] = _Part(kept.images, listing.labels, kept.content, listing.files.__getitem__, unreadable)
    if refused:
        raise UnreadableImages(refused)
    return _assemble(config.name, folder.classes, parts)


def _assemble(name: str, classes: tuple[str, ...], parts: dict[str, _Part]) -> ImageData:
    splits = {
        split: Split(torch.from_numpy(part.images), torch.from_numpy(np.ascontiguousarray(part.labels)))
        for split, part in parts.items()
    }
    content = parts["train"].content
    described = [
        (split, part.labels, part.content, part.images.shape)
        for split in ("train", "val", "test")
        if (part := parts.get(split)) is not None
    ]
    return ImageData(
        name=name,
        classes=classes,
        train=splits["train"],
        val=splits["val"],
        test=splits.get("test"),
        mean=content.mean,
        std=content.std,
        fingerprint=fingerprint(classes, described),
        findings=_findings(parts),
    )


def _findings(parts: dict[str, _Part]) -> Findings:
    train = parts["train"]

    def in_train(split: str) -> Finding:
        part = parts.get(split)
        if part is None:
            return Finding()
        return shared(part.content.digests, part.names, train.content.digests, train.names)

    unreadable = Finding.of([str(one) for part in parts.values() for one in part.unreadable])
    return Findings(in_train("val"), in_train("test"), repeated(train.content.digests, train.names), unreadable)


def _resized(images: Images, side: int | None) -> Images:
    """Square images uint8 [N, C, H, H] at `side` pixels, antialiased bilinear; as they are when None or equal."""
    if side is None or side == images.shape[-1]:
        return images
    out = np.empty((*images.shape[:2], side, side), dtype=np.uint8)
    for start in range(0, len(images), _RESIZE_CHUNK):
        chunk = torch.from_numpy(images[start : start + _RESIZE_CHUNK]).to(torch.float32)
        sized = functional.interpolate(chunk, (side, side), mode="bilinear", align_corners=False, antialias=True)
        out[start : start + _RESIZE_CHUNK] = sized.round_().clamp_(0, 255).to(torch.uint8).numpy()
    return out
