"""`load_data`: from a DataConfig to split, sized and measured images. The only way in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from trials.data.config import DataConfig, DataError
from trials.data.content import Content, Images, Labels, fingerprint, measure
from trials.data.findings import Finding, Names, find_equal, find_unread, listed, of_few_levels, unseen
from trials.data.image_files import choose_format, decode_files
from trials.data.images import ImageData, Split
from trials.data.pixels import Chunk, Notes, cached_pixels
from trials.data.problems import DataRefused, Problem
from trials.data.readers import READERS
from trials.data.readers.folder import ImageFolder
from trials.data.readers.published import ArraySet, ArraySource
from trials.data.splitting import choose_subset, cut_test, cut_validation
from trials.data.survey import FileStates, files_key

_RESIZE_CHUNK = 512  # images a step: float32 copies of a whole dataset would not fit
_CACHE_VERSION = 2  # raise it when reading, cutting or resizing change, so that old entries are not used


@dataclass(frozen=True, eq=False)
class _Part:
    """A split: images, labels, what the images contain, what they are called, which files were left out, which were
    turned by their EXIF orientation, and the largest values of those that had 16 bits a pixel."""

    images: Images
    labels: Labels
    content: Content
    names: Names
    unreadable: tuple[Problem, ...] = ()
    turned: tuple[str, ...] = ()
    deep: Mapping[str, int] = field(default_factory=dict)


def load_data(config: DataConfig, announce: Callable[[str], None] = lambda _: None) -> ImageData:
    """Load the images `config` names, cut validation from the training part, and measure the train split.

    The same config on the same files gives the same splits, byte for byte. Folders and published datasets are
    decoded once and then mapped from a cache (see `trials.data.disk_cache`), whose pages all processes share.
    announce: takes one line at a time about what takes long or was decided (downloads, decoding, resizing).
    Raises DataError, one line, when the data cannot be had or do not fit the config.
    """
    found = READERS[config.form].load().find(config, announce)
    if isinstance(found, ImageFolder):
        return _load_folder(config, found, announce)
    return _load_published(config, found) if found.files else _load_embedded(config, found)


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

    def chunks(split: str, notes: Notes) -> Iterator[Chunk]:
        images, labels, positions = read()[split]
        notes |= {"classes": list(arrays().classes), "labels": labels[positions].tolist()}
        for start in range(0, len(positions), _RESIZE_CHUNK):
            yield _resized(images[positions[start : start + _RESIZE_CHUNK]], config.image_size), None

    parts, classes = {}, ()
    for split in ("train", "val", "test"):
        kept = cached_pixels(_key(config, split, source.files), partial(chunks, split))
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


def _key(config: DataConfig, split: str, files: tuple[Path, ...]) -> str:
    """The cache key of a split of these files; it changes with whatever changes the split."""
    decides: list[object] = [_CACHE_VERSION, config.name, split, config.image_size]
    if split != "test":
        decides += [config.val_fraction, config.split_seed]
    if split == "train":
        decides.append(config.train_images)
    folder = files[0].parent
    return files_key(decides, folder, [path.name for path in files])[0]


def _load_folder(config: DataConfig, folder: ImageFolder, announce: Callable[[str], None]) -> ImageData:
    # File lists first: split and subset are chosen before anything is decoded, so a short run on a huge folder
    # decodes only what it uses.
    states = FileStates(folder.root)
    image_format = choose_format(folder, config.image_size, announce, states)
    chosen = dict(folder.splits)
    if "test" not in chosen and config.test_fraction:
        labels, validated = chosen["train"].labels, "val" in chosen
        train, test = cut_test(labels, folder.classes, config.test_fraction, config.split_seed, validated)
        chosen["train"], chosen["test"] = chosen["train"].take(train), chosen["train"].take(test)
    if "val" not in chosen:
        train, val = cut_validation(chosen["train"].labels, folder.classes, config.val_fraction, config.split_seed)
        chosen["train"], chosen["val"] = chosen["train"].take(train), chosen["train"].take(val)
    subset = choose_subset(chosen["train"].labels, folder.classes, config.train_images, config.split_seed)
    chosen["train"] = chosen["train"].take(subset)
    parts = {}
    refused: list[Problem] = []
    for split, listing in chosen.items():
        try:
            kept, unreadable, turned = decode_files(
                folder.root, listing.files, image_format, config.drop_unreadable, announce, states
            )
        except DataRefused as error:
            refused += error.problems  # those of all splits are named at once
            continue
        turned_files = tuple(listing.files[place] for place in turned)
        deep = {listing.files[place]: int(peak) for place, peak in kept.notes["deep"]}
        left = np.delete(np.arange(len(listing.files)), list(unreadable))
        listing = listing.take(left)
        empty = set(range(len(folder.classes))) - set(listing.labels.tolist())
        if empty:
            few = listed((repr(folder.classes[number]) for number in sorted(empty)), len(empty))
            raise DataError(f"{folder.root}: none of the {split} images of class {few} can be read: mend them")
        parts[split] = _Part(
            kept.images,
            listing.labels,
            kept.content,
            listing.files.__getitem__,
            tuple(unreadable.values()),
            turned_files,
            deep,
        )
    if refused:
        raise DataRefused(config.name, refused)
    return _assemble(config.name, folder.classes, parts, folder.aside)


def _assemble(
    name: str, classes: tuple[str, ...], parts: dict[str, _Part], aside: Mapping[str, Sequence[str]] | None = None
) -> ImageData:
    splits = {
        split: Split(torch.from_numpy(part.images), torch.from_numpy(np.ascontiguousarray(part.labels)))
        for split, part in parts.items()
    }
    content = parts["train"].content
    deep = {file: peak for part in parts.values() for file, peak in part.deep.items()}
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
        findings=replace(
            find_equal({split: (part.content.digests, part.names) for split, part in parts.items()}),
            unreadable=Finding.listing([str(problem) for part in parts.values() for problem in part.unreadable]),
            turned=Finding.of([file for part in parts.values() for file in part.turned]),
            deep=Finding.of([*deep]),
            remarks=of_few_levels(deep.values()),
            not_read=find_unread(aside or {}),
        ),
        unseen=torch.from_numpy(unseen({split: part.content.digests for split, part in parts.items()})),
    )


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
