"""Reads and checks a whole folder once: what is good as tables, what is bad as a list; kept until a file changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trials.data.config import DataError, SceneConfig
from trials.data.disk_cache import Entry, EntryWriter, cached
from trials.data.folders import UNNAMED, look_through, unread
from trials.data.items import Noted, SceneTable, tabulate
from trials.data.problems import EMPTY, UNREADABLE, DataRefused, Problem, ProblemList
from trials.data.readers import READERS
from trials.data.survey import files_key, find_root, still_bad

_CACHE_VERSION = 4  # raise it when reading or checking changes, so that old entries are not used
_ARRAYS = ("sizes", "first", "boxes", "labels", "areas", "crowd", "turns")


@dataclass(frozen=True, eq=False)
class CheckedFolder:
    """A folder as it was found: the good images of each split, and all that is bad.

    root: the resolved folder. foreground: see `Reading`. aside: the files that are not read, by the reason.
    """

    root: Path
    categories: tuple[str, ...]
    splits: dict[str, SceneTable]
    foreground: bool
    problems: tuple[Problem, ...]
    noted: Noted
    aside: Mapping[str, list[str]]


def check_folder(config: SceneConfig, announce: Callable[[str], None]) -> CheckedFolder:
    """Read the folder that `config` names; the same files are read and decoded once, whatever the policies, but for
    those that could not be read: they are tried again.

    Raises DataError for a folder that is not of the form; what is wrong with single entries is in `problems`.
    """
    root = find_root(config.folder, f"{config.form}:FOLDER")
    contents = look_through(root)
    key, _ = files_key([_CACHE_VERSION, config.form, config.targets], root, contents.files)

    def write(entry: EntryWriter) -> None:
        announce(f"checking {root}")
        problems = ProblemList()
        try:
            reading = READERS[config.form].load().read(root, config.targets, problems, announce)
        except OSError as error:
            raise DataError(f"cannot read {error.filename or root}: {error.strerror or error}") from error
        entry.notes |= {"categories": reading.categories, "foreground": reading.foreground, "splits": {}}
        entry.notes["problems"] = [asdict(problem) for problem in problems]
        entry.notes["noted"] = asdict(reading.noted)
        for split, images in reading.splits.items():
            _put(entry, split, tabulate(images))

    def holds(entry: Entry) -> bool:
        return still_bad(root, [bad["file"] for bad in entry.notes["problems"] if bad["kind"] == UNREADABLE])

    entry = cached(f"scenes-{key}", write, holds)
    splits = {split: _table(entry, split, texts) for split, texts in entry.notes["splits"].items()}
    problems = tuple(Problem(**problem) for problem in entry.notes["problems"])
    noted = Noted(**entry.notes["noted"])
    used = {*noted.used, *(problem.file for problem in problems)}
    for table in splits.values():
        used |= {*table.files, *(table.map_files or ())}
    return CheckedFolder(
        root, tuple(entry.notes["categories"]), splits, bool(entry.notes["foreground"]), problems, noted,
        unread(contents, used, UNNAMED),
    )  # fmt: skip


def _put(entry: EntryWriter, split: str, table: SceneTable) -> None:
    for name in _ARRAYS:
        entry.append(f"{split}_{name}", getattr(table, name))
    counts = None if table.counts is None else [each.decode() for each in table.counts]  # they are ASCII
    texts = {"files": table.files, "digests": table.digests, "map_files": table.map_files, "counts": counts}
    entry.notes["splits"][split] = texts


def _table(entry: Entry, split: str, texts: dict[str, Any]) -> SceneTable:
    counts, map_files = texts["counts"], texts["map_files"]
    return SceneTable(
        files=tuple(texts["files"]),
        digests=tuple(texts["digests"]),
        map_files=None if map_files is None else tuple(map_files),
        counts=None if counts is None else tuple(each.encode() for each in counts),
        **{name: entry.arrays[f"{split}_{name}"] for name in _ARRAYS},
    )


def apply_policies(config: SceneConfig, checked: CheckedFolder) -> tuple[dict[str, SceneTable], tuple[Problem, ...]]:
    """The tables to train on, and what was dropped for it.

    Raises DataRefused under "refuse", DataError when dropping leaves a split without images.
    """
    tables = dict(checked.splits)
    emptied = without_objects(config, tables) if config.empty_images != "keep" else ()
    if checked.problems and config.data_errors == "refuse":
        raise DataRefused(config.name, checked.problems)
    if emptied and config.empty_images == "refuse":
        raise DataRefused(config.name, emptied, "Leave them out with empty_images 'drop', or use them with 'keep'")
    if emptied:
        tables = {split: table.take(np.flatnonzero(np.diff(table.first))) for split, table in tables.items()}
    for split, table in tables.items():
        if not len(table):
            dropped = (*checked.problems, *emptied)
            raise DataRefused(config.name, dropped, f"Without them {split} has no image left")
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
