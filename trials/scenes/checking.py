"""Reads and checks a whole folder once: what is good as tables, what is bad as a list; kept until a file changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trials.data.config import DataError
from trials.data.folder import SPLITS
from trials.data.keeping import kept
from trials.scenes.coco import read_coco
from trials.scenes.config import SceneConfig
from trials.scenes.masks import read_masks
from trials.scenes.problems import EMPTY, OVERLAP, Problem, ProblemList, ScenesRefused
from trials.scenes.table import AnnotatedImage, Reading, SceneTable, tabulate
from trials.scenes.voc import read_voc

_CACHE_VERSION = 1  # raise it when reading or checking changes, so that old entries are not used
_ARRAYS = ("sizes", "first", "boxes", "labels", "areas", "crowd")


@dataclass(frozen=True, eq=False)
class CheckedFolder:
    """A folder as it was found: the good images of each split, and all that is bad.

    root: the resolved folder. foreground: see `Reading`.
    """

    root: Path
    categories: tuple[str, ...]
    splits: dict[str, SceneTable]
    foreground: bool
    problems: tuple[Problem, ...]


def check_folder(config: SceneConfig, announce: Callable[[str], None]) -> CheckedFolder:
    """Read the folder that `config` names; the same files are read and decoded once, whatever the policies.

    An image that is in two splits is a problem of the earlier one: test data stay as they were published.
    Raises DataError for a folder that is not of the form; what is wrong with single entries is in `problems`.
    """
    try:
        root = Path(config.folder).expanduser().resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"folder {config.folder!r} does not exist: {config.form}:FOLDER needs one that does") from error
    if not root.is_dir():
        raise DataError(f"{config.folder!r} is a file: {config.form}:FOLDER needs a folder")
    with_masks = config.form == "coco" and config.targets != "boxes"
    key = _survey(root, f"{config.form}/{with_masks}")

    def read_again(entry: Path) -> None:
        announce(f"checking {root}")
        problems = ProblemList()
        try:
            reading = _read(config, root, problems, announce)
        except OSError as error:
            raise DataError(f"cannot read {error.filename or root}: {error.strerror or error}") from error
        _part_splits(reading.splits, problems)
        _save(
            entry, reading, {split: tabulate(images, with_masks) for split, images in reading.splits.items()}, problems
        )

    return kept(key, lambda entry: _open(entry, root, with_masks), read_again)


def _read(config: SceneConfig, root: Path, problems: ProblemList, announce: Callable[[str], None]) -> Reading:
    if config.form == "coco":
        return read_coco(root, config.targets, problems, announce)
    if config.form == "voc":
        return read_voc(root, problems, announce)
    return read_masks(root, problems, announce)


def apply_policies(config: SceneConfig, checked: CheckedFolder) -> tuple[dict[str, SceneTable], tuple[Problem, ...]]:
    """The tables to train on, and what was dropped for it.

    Raises ScenesRefused under "refuse", DataError when dropping leaves a split without images.
    """
    tables = dict(checked.splits)
    emptied = without_objects(config, tables) if config.empty_images != "keep" else ()
    if checked.problems and config.data_errors == "refuse":
        raise ScenesRefused(config.name, checked.problems, "Mend them, or leave them out with data_errors 'drop'")
    if emptied and config.empty_images == "refuse":
        raise ScenesRefused(config.name, emptied, "Leave them out with empty_images 'drop', or use them with 'keep'")
    if emptied:
        tables = {split: table.take(np.flatnonzero(np.diff(table.first))) for split, table in tables.items()}
    for split, table in tables.items():
        if not len(table):
            dropped = (*checked.problems, *emptied)
            raise ScenesRefused(config.name, dropped, f"Without them {split} has no image left")
    return tables, (*checked.problems, *emptied)


def without_objects(config: SceneConfig, tables: dict[str, SceneTable]) -> tuple[Problem, ...]:
    """The images without any object; none where maps stand for objects."""
    if config.targets == "semantic":
        return ()
    return tuple(
        Problem(table.files[place], "", "no object is annotated", EMPTY)
        for table in tables.values()
        for place in np.flatnonzero(np.diff(table.first) == 0)
    )


def _part_splits(splits: dict[str, list[AnnotatedImage]], problems: ProblemList) -> None:
    """Take from each split the images that a later one holds too, by the bytes of their files."""
    order = [split for split in SPLITS if split in splits]
    for place, split in enumerate(order):
        later = {image.digest: (image.file, other) for other in order[place + 1 :] for image in splits[other]}
        for image in splits[split]:
            if image.digest in later:
                file, other = later[image.digest]
                problems.add(image.file, "", f"{split} has the same image as {other} ({file})", OVERLAP)
        splits[split] = [image for image in splits[split] if image.digest not in later]


def _survey(root: Path, form: str) -> str:
    """The cache key of the folder's files: their names, sizes and times of change."""
    digest = hashlib.sha256(json.dumps([_CACHE_VERSION, form, str(root)]).encode())
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_unlisted):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            try:
                status = os.stat(f"{folder}/{name}")  # noqa: PTH116  a Path for each of a million files takes seconds
                described = f"{folder}/{name}\0{status.st_size}\0{status.st_mtime_ns}\0"
            except OSError:  # a broken link: said when it is read
                described = f"{folder}/{name}\0"
            digest.update(described.encode(errors="surrogateescape"))
    return f"scenes-{digest.hexdigest()[:32]}"


def _unlisted(error: OSError) -> None:
    raise DataError(f"cannot list {error.filename}: {error.strerror}") from error


def _save(entry: Path, reading: Reading, tables: dict[str, SceneTable], problems: Iterable[Problem]) -> None:
    described: dict[str, Any] = {}
    for split, table in tables.items():
        arrays = {name: getattr(table, name) for name in _ARRAYS}
        if table.counts is not None:
            arrays["counts"] = np.frombuffer(b"".join(table.counts), dtype=np.uint8)
            arrays["counts_end"] = np.cumsum([len(counts) for counts in table.counts], dtype=np.int64)
        np.savez(entry / f"{split}.npz", **arrays)
        described[split] = {"files": table.files, "digests": table.digests, "map_files": table.map_files}
    kept_text = json.dumps(
        {
            "categories": reading.categories,
            "foreground": reading.foreground,
            "splits": described,
            "problems": [asdict(problem) for problem in problems],
        }
    )
    (entry / "checked.json").write_text(kept_text, encoding="utf-8")


def _open(entry: Path, root: Path, with_masks: bool) -> CheckedFolder:
    kept_before = json.loads((entry / "checked.json").read_text(encoding="utf-8"))
    splits = {}
    for split, described in kept_before["splits"].items():
        with np.load(entry / f"{split}.npz", allow_pickle=False) as arrays:
            counts = None
            if with_masks:
                text, ends = arrays["counts"].tobytes(), arrays["counts_end"].tolist()
                counts = tuple(text[start:end] for start, end in zip([0, *ends], ends, strict=False))
            splits[split] = SceneTable(
                files=tuple(described["files"]),
                digests=tuple(described["digests"]),
                map_files=None if described["map_files"] is None else tuple(described["map_files"]),
                counts=counts,
                **{name: arrays[name] for name in _ARRAYS},
            )
    problems = tuple(Problem(**problem) for problem in kept_before["problems"])
    return CheckedFolder(root, tuple(kept_before["categories"]), splits, bool(kept_before["foreground"]), problems)
