"""What of an image folder is read, and that all else is counted by its reason."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from trials.data import DataConfig, DataError, ImageData, folders, load_data
from trials.data.findings import sentences
from trials.data.folders import look_through, split_of
from trials.record.file import FILE_NAME

RANDOM = np.random.default_rng(0)


def write(path: Path, mode: str = "RGB", **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RANDOM.integers(0, 256, (16, 16, 3), dtype=np.uint8)).convert(mode).save(path, **options)
    return path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        for number in range(6):
            write(tmp_path / "pets" / name / f"{number}.png")
    return tmp_path / "pets"


def load(folder: Path, **options: object) -> ImageData:
    return load_data(DataConfig(name=f"folder:{folder}", **options))  # type: ignore[arg-type]


def count(data: ImageData) -> int:
    return sum(len(split) for split in (data.train, data.val, data.test) if split is not None)


def unread(data: ImageData) -> dict[str, int]:
    return {why: finding.images for why, finding in data.findings.not_read.items()}


def test_images_in_folders_within_a_class_are_read_in_the_order_of_torchvision(pets: Path) -> None:
    before = load(pets).fingerprint
    for name in ("cat/more/z.png", "cat/more/deep/er.png", "dog/a b/1.png", "cat/0-.png"):
        write(pets / name)
    data = load(pets)
    theirs = [Path(path).relative_to(pets).as_posix() for path, _ in ImageFolder(str(pets)).samples]
    ours = [file for name in ("cat", "dog") for file in look_through(pets, name).files]
    assert (count(data), unread(data)) == (16, {})
    assert ours == theirs
    assert data.fingerprint != before


def test_all_that_is_not_read_is_counted_by_its_reason_and_said(pets: Path, tmp_path: Path) -> None:
    before = load(pets).fingerprint
    for name in (
        ".hidden.png",
        ".thumbnails/0.png",
        "._0.png",
        ".DS_Store",
        "Thumbs.db",
        "x.heic",
        "notes.txt",
        "none",
    ):
        (pets / "cat" / name).parent.mkdir(exist_ok=True)
        (pets / "cat" / name).write_bytes(b"no image")
    write(pets / "__MACOSX/cat/._1.png")
    write(pets / "@eaDir/0.png")
    write(pets / "loose.png")
    (pets / "dog/out").symlink_to(tmp_path)
    (pets / "dog/loop").symlink_to(pets)
    os.mkfifo(pets / "dog/pipe.png")
    data = load(pets)
    assert data.fingerprint == before
    assert unread(data) == {
        folders.DROPPING: 5,
        folders.HIDDEN: 2,
        folders.LINK: 2,
        folders.PLACE: 1,
        folders.SPECIAL: 1,
        "ending .heic": 1,
        "ending .txt": 1,
        "without an ending": 1,
    }
    [said] = sentences(data.findings.to_json())
    assert said.startswith("14 files are not read; left there by macOS, Windows or another program: 5 (")
    assert "ending .heic: 1 (cat/x.heic)" in said


@pytest.mark.parametrize("ending", [".jfif", ".gif", ".avif", ".jp2", ".tga", ".JPE"])
def test_what_pillow_reads_is_read(pets: Path, ending: str) -> None:
    source = write(pets / f"cat/new{'.jpg' if ending in ('.jfif', '.JPE') else ending}")
    source.rename(source.with_suffix(ending))
    assert count(load(pets)) == 13


def test_a_folder_that_contains_itself_ends_and_its_images_are_read_once(pets: Path) -> None:
    (pets / "cat/loop").symlink_to(pets / "cat")
    (pets / "cat/other").symlink_to(pets / "dog")
    (pets / "dog/other").symlink_to(pets / "cat")
    (pets / "self").symlink_to(pets)
    data = load(pets)
    assert count(data) == 6 + 6 + 6 + 6  # each class and, as torchvision has it, what it links to
    assert unread(data) == {folders.LINK: 5}  # self, cat/loop, and those found on the way through the others


def test_a_run_within_the_folder_is_no_class(pets: Path) -> None:
    assert folders._RECORD == FILE_NAME
    before = load(pets).fingerprint
    for run in (pets / "run", pets / "runs/first", pets / "cat/run"):
        write(run / "pictures/1.png")
        (run / FILE_NAME).write_bytes(b"")
    data = load(pets)
    assert (data.classes, data.fingerprint, unread(data)) == (("cat", "dog"), before, {folders.RUN: 6})


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("training", "valid", "testing"), ("Train", "Validation", "Test"), ("training_set", "val_set", "test_set")],
)
def test_splits_are_read_as_people_call_them(tmp_path: Path, train: str, val: str, test: str) -> None:
    for split, images in ((train, 5), (val, 3), (test, 2)):
        for name in ("cat", "dog"):
            for number in range(images):
                write(tmp_path / split / name / f"{number}.png")
    data = load(tmp_path)
    assert data.test is not None
    assert (len(data.train), len(data.val), len(data.test)) == (10, 6, 4)
    assert [split_of(name) for name in (train, val, test, "cat", "testbed")] == ["train", "val", "test", None, None]


def test_of_two_folders_for_one_split_that_with_its_own_name_is_read(pets: Path, tmp_path: Path) -> None:
    pets.rename(tmp_path / "train")
    for split in ("val", "valid"):
        for name in ("cat", "dog"):
            write(tmp_path / split / name / "0.png")
    data = load(tmp_path)
    assert (len(data.val), unread(data)) == (2, {folders.PLACE: 2})


def test_a_flat_test_folder_without_labels_is_left_out_and_said(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    pets.rename(tmp_path / "set/train")
    for number in range(3):
        write(tmp_path / f"set/test/{number}.png")
    data = load(tmp_path / "set")
    assert (count(data), data.test, unread(data)) == (12, None, {folders.UNLABELLED: 3})


def test_colour_anywhere_makes_a_set_rgb_also_beyond_the_first_headers(tmp_path: Path) -> None:
    grey = Image.fromarray(RANDOM.integers(0, 256, (8, 8), dtype=np.uint8))
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(400):
            grey.save(tmp_path / "set" / name / f"{number:03}.bmp")
    assert load(tmp_path / "set").channels == 1
    write(tmp_path / "set/cat/201.bmp")
    assert load(tmp_path / "set").channels == 3


@pytest.mark.parametrize("orientation", [3, 6])
def test_photographs_are_turned_as_their_exif_says(pets: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    before = load(pets, val_fraction=0.5)
    for path in pets.rglob("*.png"):
        with Image.open(path) as image:
            image.save(path, exif=exif)
    data = load(pets, val_fraction=0.5)
    turns = {3: 2, 6: 3}[orientation]
    np.testing.assert_array_equal(data.train.images, np.rot90(before.train.images, turns, (2, 3)))
    assert data.findings.turned.images == 12
    assert sentences(data.findings.to_json())[0].startswith("12 images are turned")


def test_what_could_not_be_read_once_is_tried_again(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Image.open

    def failing(path: object, *rest: object) -> Image.Image:
        if str(path).endswith("cat/3.png"):
            raise PermissionError(13, "Permission denied")
        return real(path, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", failing)
        assert load(pets, drop_unreadable=True, val_fraction=0.5).findings.unreadable.images == 1
    assert load(pets, drop_unreadable=True, val_fraction=0.5).findings.unreadable.images == 0
    assert count(load(pets)) == 12


def test_a_read_that_the_system_failed_is_repeated_at_once(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failed = Image.open, set()

    def failing(path: object, *rest: object) -> Image.Image:
        if path not in failed:
            failed.add(path)
            raise OSError(5, "Input/output error")
        return real(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", failing)
    assert count(load(pets)) == 12


def test_names_that_no_terminal_can_print_are_escaped(pets: Path) -> None:
    (pets / "cat" / b"\xff\nx.png".decode(errors="surrogateescape")).write_bytes(b"no image")
    with pytest.raises(DataError) as error:
        load(pets)
    assert r"cat/\udcff\nx.png: cannot identify" in str(error.value)
    [said] = sentences(load(pets, drop_unreadable=True).findings.to_json())
    assert said.isprintable()
