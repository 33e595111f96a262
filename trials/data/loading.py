"""`load_data`: from a DataConfig to split, sized and measured images. The only way in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from trials.data.arrays import load_arrays
from trials.data.config import FOLDER_PREFIX, DataConfig
from trials.data.containers import ImageData, Split
from trials.data.content import Content, Images, Labels, fingerprint, measure
from trials.data.decoding import decode_files, settle_format
from trials.data.folder import list_folder
from trials.data.splitting import choose_subset, cut_validation

Part = tuple[Images, Labels, Content]
_RESIZE_CHUNK = 512  # images a step: float32 copies of a whole dataset would not fit


def load_data(config: DataConfig, announce: Callable[[str], None] = lambda _: None) -> ImageData:
    """Load the images `config` names, cut validation from the training part, and measure the train split.

    The same config on the same files gives the same splits, byte for byte. Folders are decoded once and then
    read from a cache (see `trials.data.decoding`).
    announce: takes one line at a time about what takes long or was decided (downloads, decoding, resizing).
    Raises DataError, one line, when the data cannot be had or do not fit the config.
    """
    if config.name.startswith(FOLDER_PREFIX):
        return _load_folder(config, announce)
    arrays = load_arrays(config, announce)
    train, val = cut_validation(arrays.train_labels, arrays.classes, config.val_fraction, config.split_seed)
    train = train[choose_subset(arrays.train_labels[train], arrays.classes, config.train_images, config.split_seed)]
    parts = {
        "train": (arrays.train_images[train], arrays.train_labels[train]),
        "val": (arrays.train_images[val], arrays.train_labels[val]),
        "test": (arrays.test_images, arrays.test_labels),
    }
    measured: dict[str, Part] = {}
    for split, (images, labels) in parts.items():
        sized = _resized(images, config.image_size)
        measured[split] = (sized, labels, measure(sized))
    return _assemble(config.name, arrays.classes, measured)


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
    parts: dict[str, Part] = {}
    for split, listing in chosen.items():
        images, content = decode_files(folder.root, listing.files, image_format, announce)
        parts[split] = (images, listing.labels, content)
    return _assemble(config.name, folder.classes, parts)


def _assemble(name: str, classes: tuple[str, ...], parts: dict[str, Part]) -> ImageData:
    splits = {
        split: Split(torch.from_numpy(images), torch.from_numpy(np.ascontiguousarray(labels)))
        for split, (images, labels, _) in parts.items()
    }
    content = parts["train"][2]
    described = [
        (split, parts[split][1], parts[split][2], parts[split][0].shape)
        for split in ("train", "val", "test")
        if split in parts
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
