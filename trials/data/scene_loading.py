"""`load_scenes`: from a SceneConfig to split and fitted scenes; `check_scenes`: what is wrong with a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch

from trials.data.checking import apply_policies, check_folder, without_objects
from trials.data.config import DataError, SceneConfig
from trials.data.findings import Finding, find_equal, find_unread, of_few_levels, unseen
from trials.data.fitting import Form, fit_split, fitted_sizes
from trials.data.items import SceneTable
from trials.data.pixels import Pixels
from trials.data.problems import Problem, counted, counts
from trials.data.readers import READERS
from trials.data.readers.masks import IGNORED
from trials.data.scenes import SceneData, SceneSplit
from trials.data.splitting import cut_by_content, subset_by_content

Announce = Callable[[str], None]
_SMALL_BOX = 2.0  # pixels: boxes with a shorter side than this are hard for any stride

_Built = tuple[SceneSplit, Pixels]


def load_scenes(config: SceneConfig, announce: Announce = lambda _: None) -> SceneData:
    """Load the scenes that `config` names, split and brought to one size; folders are checked and decoded once.

    The same config on the same files gives the same splits, byte for byte.
    announce: takes one line at a time about what takes long or was decided.
    Raises DataRefused for bad entries under the policy "refuse", DataError when the data cannot be had.
    """
    if not READERS[config.form].folder:
        return _load_composed(config, announce)
    checked = check_folder(config, announce)
    categories = checked.categories
    if config.targets == "semantic" and config.form != "masks":
        categories = ("background", *categories)
    if config.targets == "semantic" and len(categories) > IGNORED:
        raise DataError(
            f"{config.name} has {len(categories)} classes, background included: maps of classes hold {IGNORED} at "
            "most; put rare categories together, or search detectors (targets 'boxes')"
        )
    tables, dropped = apply_policies(config, checked)
    if dropped:
        announce(f"{config.name}: left out {counted(dropped)}")
    if "test" not in tables and config.test_fraction:
        whole = tables["train"]
        train, test = cut_by_content(whole.digests, config.test_fraction, config.split_seed, "test")
        tables["train"], tables["test"] = whole.take(train), whole.take(test)
    if "val" not in tables:
        whole = tables["train"]
        train, val = cut_by_content(whole.digests, config.val_fraction, config.split_seed)
        tables["train"], tables["val"] = whole.take(train), whole.take(val)
    chosen = subset_by_content(tables["train"].digests, config.train_images, config.split_seed)
    tables["train"] = tables["train"].take(chosen)
    form = Form(config.side, config.targets, checked.foreground)
    splits = {
        split: _built(table, fit_split(checked.root, table, form, announce), form.side)
        for split, table in tables.items()
    }
    data = _assemble(config, categories, splits, counts(dropped))
    noted = checked.noted
    findings = replace(
        data.findings,
        dropped=Finding.listing([str(problem) for problem in dropped]),
        left_out=Finding.listing(noted.left_out),
        turned=Finding.of(noted.turned),
        deep=Finding.of([*noted.deep]),
        areas=Finding.of(noted.areas),
        not_read=find_unread(checked.aside),
        remarks=(*noted.remarks, *of_few_levels(noted.deep.values())),
    )
    data = replace(data, findings=findings)
    _announce_oddities(data, announce)
    return data


def check_scenes(config: SceneConfig, announce: Announce = lambda _: None) -> tuple[Problem, ...]:
    """Everything that is wrong with the entries of the folder that `config` names, whatever its policies.

    Images without objects come last, under a kind of their own: they are good data unless the config says otherwise.
    Raises DataError for a folder that is not of the form at all. scenes-mini has no problems.
    """
    if not READERS[config.form].folder:
        return ()
    checked = check_folder(config, announce)
    return (*checked.problems, *without_objects(config, checked.splits))


def _load_composed(config: SceneConfig, announce: Announce) -> SceneData:
    reader = READERS[config.form].load()
    splits: dict[str, _Built] = {}
    for split, count in reader.SCENES.items():
        names = [f"{split}/{place:05}" for place in range(count)]
        positions = subset_by_content(names, config.train_images if split == "train" else None, config.split_seed)
        table, pixels = reader.compose_split(split, positions, config.side, config.targets, announce)
        splits[split] = _built(table, pixels, config.side)
    categories = ("background", *reader.CATEGORIES) if config.targets == "semantic" else reader.CATEGORIES
    return _assemble(config, categories, splits, {})


def _built(table: SceneTable, pixels: Pixels, side: int) -> _Built:
    """The split of a table whose images were brought to `side`; its objects go along, unless maps stand for them."""
    scales = fitted_sizes(table.sizes, side) / table.sizes
    with_objects = pixels.maps is None
    owner = np.repeat(np.arange(len(table)), np.diff(table.first)) if with_objects else np.empty(0, dtype=np.int64)
    objects = slice(None) if with_objects else slice(0)
    boxes = table.boxes[objects] * scales[owner][:, [1, 0, 1, 0]]
    areas = table.areas[objects] * scales[owner].prod(axis=1)
    split = SceneSplit(
        images=torch.from_numpy(pixels.images),
        files=table.files,
        sizes=torch.from_numpy(table.sizes),
        scales=torch.from_numpy(scales.astype(np.float32)),
        first=torch.from_numpy(table.first if with_objects else np.zeros_like(table.first)),
        boxes=torch.from_numpy(boxes.astype(np.float32)),
        labels=torch.from_numpy(table.labels[objects]),
        areas=torch.from_numpy(areas.astype(np.float32)),
        crowd=torch.from_numpy(table.crowd[objects]),
        maps=None if pixels.maps is None else torch.from_numpy(pixels.maps),
    )
    return split, pixels


def _assemble(
    config: SceneConfig, categories: tuple[str, ...], splits: Mapping[str, _Built], dropped: Mapping[str, int]
) -> SceneData:
    train, pixels = splits["train"]
    digests = {name: (made.content.digests, split.files.__getitem__) for name, (split, made) in splits.items()}
    return SceneData(
        name=config.name,
        targets=config.targets,
        categories=categories,
        train=train,
        val=splits["val"][0],
        test=splits["test"][0] if "test" in splits else None,
        mean=pixels.content.mean,
        std=pixels.content.std,
        derived=not READERS[config.form].folder,
        dropped=dropped,
        fingerprint=_fingerprint(categories, splits),
        findings=find_equal(digests),
        unseen=torch.from_numpy(unseen({name: each for name, (each, _) in digests.items()})),
    )


def _fingerprint(categories: tuple[str, ...], splits: Mapping[str, _Built]) -> str:
    digest = hashlib.sha256(json.dumps(categories).encode())
    for name in ("train", "val", "test"):
        if name in splits:
            split, pixels = splits[name]
            digest.update(json.dumps([name, pixels.sha256]).encode())
            for tensor in (split.first, split.boxes, split.labels, split.areas, split.crowd):
                digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _announce_oddities(data: SceneData, announce: Announce) -> None:
    """What a user should know of objects that are there but will hardly be learnt or counted."""
    if data.targets == "semantic":
        return
    for name, split in data.splits.items():
        sides = split.boxes[:, 2:] - split.boxes[:, :2]
        small = int((sides.amin(dim=1) < _SMALL_BOX).sum())
        if small:
            announce(
                f"{name}: {small:,} of {len(sides):,} boxes are narrower than {_SMALL_BOX:g} pixels at image_size "
                f"{data.image_size}: a larger image_size keeps them"
            )
        absent = sorted(set(range(len(data.categories))) - set(split.labels.tolist()))
        if absent:
            announce(f"{name} has no object of {', '.join(data.categories[number] for number in absent)}")
