"""A new form of data is one file and one line: nothing else knows the forms by name."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from scenes_folders import write_picture

from trials.data import DataConfig, SceneConfig, check_scenes, load_data, load_scenes
from trials.data.readers import READERS, Reader

LISTING = """
import numpy as np
from trials.data.readers.folder import ImageFolder, Listing
from trials.data.survey import find_root

def find(config, announce):
    root = find_root(config.folder, "list:FOLDER")
    rows = [line.split() for line in (root / "list.txt").read_text().splitlines()]
    classes = tuple(sorted({label for _, label in rows}))
    labels = np.array([classes.index(label) for _, label in rows], dtype=np.int64)
    return ImageFolder(root, classes, {"train": Listing(tuple(file for file, _ in rows), labels)})
"""

CENTRES = """
from trials.data.items import AnnotatedImage, Annotation, Reading
from trials.data.problems import BadEntry
from trials.data.survey import inspect_images, walk

def read(root, targets, problems, announce):
    items = []
    for file, seen in inspect_images(root, [name for name in walk(root) if name.endswith(".png")], announce).items():
        if isinstance(seen, BadEntry):
            problems.note(file, "", seen.what, seen.kind)
            continue
        box = (seen.width / 4, seen.height / 4, 3 * seen.width / 4, 3 * seen.height / 4)
        found = Annotation(box, 0, 4.0, False)
        items.append(AnnotatedImage(file, seen.height, seen.width, seen.digest, (found,)))
    return Reading(("thing",), {"train": items})
"""


def add(monkeypatch: pytest.MonkeyPatch, reader: Reader, source: str) -> None:
    module = ModuleType(f"trials.data.readers.{reader.module}")
    exec(source, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(READERS, reader.module, reader)


def test_a_form_of_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, Reader("list", folder=True), LISTING)
    for number in range(10):
        write_picture(tmp_path / f"{number}.png", number)
    (tmp_path / "list.txt").write_text("\n".join(f"{number}.png {'ab'[number % 2]}" for number in range(10)))
    data = load_data(DataConfig(f"list:{tmp_path}"))
    assert (data.classes, len(data.train), len(data.val)) == (("a", "b"), 8, 2)


def test_a_form_of_scenes_is_checked_cut_and_cached_as_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, Reader("centres", ("boxes",), folder=True, side=64), CENTRES)
    for number in range(10):
        write_picture(tmp_path / f"{number}.png", number)
    (tmp_path / "bad.png").write_bytes(b"no image")
    config = SceneConfig(f"centres:{tmp_path}", data_errors="drop")
    assert [problem.file for problem in check_scenes(config)] == ["bad.png"]
    data = load_scenes(config)
    assert (len(data.train), len(data.val), dict(data.dropped)) == (8, 2, {"unreadable image": 1})
    assert data.train.boxes[0].tolist() == [16, 12, 48, 36]
    assert load_scenes(config).fingerprint == data.fingerprint
