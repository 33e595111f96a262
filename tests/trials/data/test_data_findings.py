"""What is wrong with a dataset: files that cannot be read, images on both sides of a split, images that repeat."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trials.data import DataConfig, DataError, ImageData, image_files, load_data
from trials.data.content import measure
from trials.data.findings import Finding, Findings, repeated, sentences, shared

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes of ten different images each."""
    for name in ("cat", "dog"):
        for number in range(10):
            path = tmp_path / "pets" / name / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(RANDOM.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return tmp_path / "pets"


def load(folder: Path, **options: object) -> ImageData:
    return load_data(DataConfig(name=f"folder:{folder}", **options))  # type: ignore[arg-type]


def refused(folder: Path, **options: object) -> str:
    with pytest.raises(DataError) as error:
        load(folder, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- files that cannot be read


def test_all_that_cannot_be_read_are_counted_and_a_few_are_named(pets: Path) -> None:
    for number in range(5):
        path = pets / "dog" / f"{number:03}.png"
        path.write_bytes(path.read_bytes()[:200] if number else b"")
    message = refused(pets)
    start = "5 bad entries (unreadable image 5): dog/000.png: cannot identify image file 'it'; dog/"
    assert message.startswith(f"folder:{pets} has {start}")
    assert message.endswith("; and 2 more. Mend them, or leave them out with --data-errors drop")


def test_truncated_pixels_are_found_where_headers_are_whole(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_CHUNK", 3)
    for name in ("cat/002.png", "dog/007.png", "dog/009.png"):
        path = pets / name
        path.write_bytes(path.read_bytes()[:-120])
    assert "(unreadable image 3)" in refused(pets, val_fraction=0.5)
    data = load(pets, val_fraction=0.5, drop_unreadable=True)
    assert data.findings.unreadable.images == 3
    assert sorted(one.split(":")[0] for one in data.findings.unreadable.examples) == [
        "cat/002.png",
        "dog/007.png",
        "dog/009.png",
    ]


def test_what_is_left_keeps_its_labels_also_from_the_cache(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {
        Image.open(path).tobytes(): number
        for number, name in enumerate(("cat", "dog"))
        for path in sorted((pets / name).iterdir())[1:]
    }
    for name in ("cat", "dog"):
        (pets / name / "000.png").write_text("no image")
    first = load(pets, drop_unreadable=True)
    monkeypatch.setattr(image_files, "decode_image", None)  # whatever decodes fails
    for data in (first, load(pets, drop_unreadable=True)):
        found = {
            image.numpy().transpose(1, 2, 0).tobytes(): int(label)
            for split in (data.train, data.val)
            for image, label in zip(split.images, split.labels, strict=True)
        }
        assert found == expected
        assert data.findings.unreadable.images == 2
    assert "2 bad entries" in refused(pets)


def test_an_image_of_no_size_is_named(pets: Path) -> None:
    for number, content in enumerate((b"", b"P6 0 0 255\n", b"P6 16 0 255\n")):
        bad = pets / "cat" / f"bad{number}.ppm"
        bad.write_bytes(content)
        assert f"1 bad entry (unreadable image 1): cat/bad{number}.ppm: " in refused(pets)
        bad.unlink()


def test_a_class_of_which_nothing_can_be_read_is_refused_in_any_case(pets: Path) -> None:
    for path in (pets / "dog").iterdir():
        path.write_text("no image")
    assert "images of class 'dog' can be read" in refused(pets, drop_unreadable=True)
    for path in (pets / "cat").iterdir():
        path.write_text("no image")
    assert "(unreadable image 20)" in refused(pets, drop_unreadable=True)


def test_empty_and_small_classes_are_named_together(pets: Path) -> None:
    for name in ("eel", "emu"):
        (pets / name).mkdir()
    assert refused(pets).startswith(f"{pets / 'eel'}, {pets / 'emu'} hold no images (.jpg")
    shutil.copy(pets / "cat/000.png", pets / "eel")
    shutil.copy(pets / "cat/000.png", pets / "emu")
    assert refused(pets).startswith("class 'eel' has 1, class 'emu' has 1 training image(s): at least 2")


# ---- equal images


def test_images_on_both_sides_of_a_split_and_repeats_are_found(pets: Path, tmp_path: Path) -> None:
    folder = tmp_path / "split"
    shutil.copytree(pets, folder / "train")
    for split, source in (("val", "cat/001.png"), ("test", "dog/003.png")):
        for name in ("cat", "dog"):
            path = folder / split / name / "new.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(RANDOM.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
        with Image.open(pets / source) as image:
            image.save(folder / split / "cat/another_name.bmp")  # another file, the same pixels
    shutil.copy(pets / "cat/005.png", folder / "train/dog/zzz.png")
    found = load(folder).findings
    assert found == Findings(
        val_in_train=Finding(1, ("val/cat/another_name.bmp = train/cat/001.png",)),
        test_in_train=Finding(1, ("test/cat/another_name.bmp = train/dog/003.png",)),
        repeated=Finding(1, ("train/dog/zzz.png = train/cat/005.png",)),
    )
    assert load(folder).findings == found  # from the cache
    assert sentences(found.to_json()) == [
        "1 validation image is a training image too: val/cat/another_name.bmp = train/cat/001.png",
        "1 test image is a training image too: test/cat/another_name.bmp = train/dog/003.png",
        "1 training image repeats another one: train/dog/zzz.png = train/cat/005.png",
    ]


def test_nothing_is_found_where_nothing_is_wrong(pets: Path) -> None:
    assert load(pets).findings == Findings()
    assert sentences(Findings().to_json()) == []
    assert load_data(DataConfig()).findings == Findings()


def test_equal_images_are_those_that_comparing_each_pair_finds() -> None:
    train = RANDOM.integers(0, 2, (200, 1, 3, 3), dtype=np.uint8)  # 512 possible images: many are equal
    other = RANDOM.integers(0, 2, (50, 1, 3, 3), dtype=np.uint8)
    rows = [image.tobytes() for image in train]
    digests = measure(train).digests
    hits = [i for i, image in enumerate(other) if image.tobytes() in rows]
    found = shared(measure(other).digests, lambda i: f"o{i}", digests, lambda i: f"t{i}")
    assert (found.images, len(hits) > 3) == (len(hits), True)
    assert found.examples == tuple(f"o{i} = t{rows.index(other[i].tobytes())}" for i in hits[:3])
    later = [i for i, row in enumerate(rows) if rows.index(row) != i]
    again = repeated(digests, lambda i: f"t{i}")
    assert (again.images, len(later) > 3) == (len(later), True)
    assert again.examples == tuple(f"t{i} = t{rows.index(rows[i])}" for i in later[:3])
    assert sentences({"repeated": {"images": 9, "examples": ["a = b", "c = d", "e = f"]}}) == [
        "9 training images repeat another one: a = b, c = d, e = f and 6 more"
    ]
