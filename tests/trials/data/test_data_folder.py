"""Image folders: layouts, formats, the cache of decoded images, and every error a user can meet."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from trials.data import DataConfig, DataError, ImageData, decoding, disk_cache, image_files, load_data
from trials.data.folders import IMAGE_EXTENSIONS

ROOT = Path(__file__).resolve().parents[3]
RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "decoded"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The list fills with the files that are decoded."""
    paths: list[Path] = []
    real = decoding.decode_image

    def counted(path: Path, form: decoding.ImageFormat) -> object:
        paths.append(path)
        return real(path, form)

    monkeypatch.setattr(image_files, "decode_image", counted)
    return paths


def write_image(path: Path, size: tuple[int, int] = (16, 16), mode: str = "RGB") -> Path:
    """An image of noise; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RANDOM.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def write_classes(
    folder: Path,
    classes: Iterable[str] = ("cat", "dog"),
    count: int = 10,
    suffix: str = ".png",
    size: tuple[int, int] = (16, 16),
    mode: str = "RGB",
) -> Path:
    for name in classes:
        for number in range(count):
            write_image(folder / name / f"{number:03}{suffix}", size, mode)
    return folder


def load(folder: Path, said: list[str] | None = None, **options: object) -> ImageData:
    config = DataConfig(name=f"folder:{folder}", **options)  # type: ignore[arg-type]
    return load_data(config, (said if said is not None else []).append)


def refused(folder: Path, **options: object) -> str:
    with pytest.raises(DataError) as error:
        load(folder, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.tobytes() for image in images.numpy()}


# ---- layouts


def test_classes_alone_are_cut_into_train_and_val(tmp_path: Path) -> None:
    data = load(write_classes(tmp_path / "pets"))
    assert data.classes == ("cat", "dog")
    assert torch.bincount(data.train.labels).tolist() == [8, 8]
    assert torch.bincount(data.val.labels).tolist() == [2, 2]
    assert data.test is None
    assert not rows(data.train.images) & rows(data.val.images)


def test_pixels_and_labels_are_those_of_the_files(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "pets", count=4)
    data = load(folder, val_fraction=0.25)
    loaded = {
        (int(label), image.numpy().transpose(1, 2, 0).tobytes())
        for split in (data.train, data.val)
        for image, label in zip(split.images, split.labels, strict=True)
    }
    expected = {
        (number, Image.open(path).tobytes())
        for number, name in enumerate(data.classes)
        for path in (folder / name).iterdir()
    }
    assert loaded == expected


def test_train_and_test_leave_test_alone(tmp_path: Path) -> None:
    write_classes(tmp_path / "pets/train")
    write_classes(tmp_path / "pets/test", count=3)
    data = load(tmp_path / "pets")
    assert data.test is not None
    assert (len(data.train), len(data.val), len(data.test)) == (16, 4, 6)
    assert not rows(data.test.images) & (rows(data.train.images) | rows(data.val.images))


def test_a_val_of_its_own_is_used_whole(tmp_path: Path) -> None:
    write_classes(tmp_path / "pets/train")
    write_classes(tmp_path / "pets/val", count=2)
    data = load(tmp_path / "pets")
    assert (len(data.train), len(data.val), data.test) == (20, 4, None)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    data = load(write_classes(tmp_path / "vehicles", ("bus", "train", "test")))
    assert data.classes == ("bus", "test", "train")


def test_other_folders_beside_train_are_announced_and_hidden_ones_passed_over(tmp_path: Path) -> None:
    write_classes(tmp_path / "pets/train")
    write_classes(tmp_path / "pets/train/.thumbnails")
    write_classes(tmp_path / "pets/old")
    said: list[str] = []
    load(tmp_path / "pets", said)
    assert said == [f"{tmp_path / 'pets'}: only train is read; ignored: old"]


def test_extensions_are_torchvisions_and_further_ones_that_pillow_reads(tmp_path: Path) -> None:
    assert set(IMG_EXTENSIONS) <= set(IMAGE_EXTENSIONS) <= set(Image.registered_extensions())
    folder = write_classes(tmp_path / "pets", count=2)
    write_image(folder / "cat/shout.JPG")
    (folder / "cat/notes.txt").write_text("not an image")
    (folder / "cat/.hidden.png").write_text("not an image")
    data = load(folder)
    assert len(data.train) + len(data.val) == 5


def test_a_link_to_a_class_inside_is_followed(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "pets")
    (folder / "hound").symlink_to(folder / "dog")
    assert load(folder).classes == ("cat", "dog", "hound")


# ---- what is refused


def test_a_class_that_links_out_is_not_followed(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "pets")
    write_classes(tmp_path / "elsewhere", ["fox"])
    (folder / "fox").symlink_to(tmp_path / "elsewhere/fox")
    assert refused(folder).startswith(f"{folder / 'fox'} is a link out of {folder}")


def test_missing_and_wrong_places(tmp_path: Path) -> None:
    assert f"folder '{tmp_path / 'none'}' does not exist" in refused(tmp_path / "none")
    file = write_image(tmp_path / "one.png")
    assert f"'{file}' is a file" in refused(file)
    (tmp_path / "void").mkdir()
    assert f"{tmp_path / 'void'} has 0 class folder(s)" in refused(tmp_path / "void")
    assert "has 1 class folder(s): at least two" in refused(write_classes(tmp_path / "single", ["cat"]))
    (tmp_path / "bare/train").mkdir(parents=True)
    assert f"{tmp_path / 'bare/train'} has no class folders" in refused(tmp_path / "bare")
    write_classes(tmp_path / "untrained/test")
    assert "has test/CLASS but no train/CLASS" in refused(tmp_path / "untrained")


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "pets")
    (folder / "emu").mkdir()
    assert refused(folder).startswith(f"{folder / 'emu'} holds no images (.jpg")


def test_classes_of_the_splits_must_agree(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    write_classes(folder / "train", ("cat", "dog"))
    write_classes(folder / "test", ("cat",))
    assert f"{folder / 'test'} lacks class 'dog', which {folder / 'train'} has" in refused(folder)
    write_classes(folder / "test", ("dog", "eel"))
    assert f"{folder / 'train'} lacks class 'eel', which {folder / 'test'} has" in refused(folder)


def test_an_unreadable_image_is_named_and_leaves_no_cache(tmp_path: Path, cache_folder: Path) -> None:
    folder = write_classes(tmp_path / "pets", count=400)  # more than are looked at to choose the format
    bad = folder / "dog/399.png"
    data = bad.read_bytes()
    for content in (data[:100], b"text", b""):
        bad.write_bytes(content)
        assert "1 bad entry (unreadable image 1): dog/399.png: " in refused(folder)
    hidden = folder / "dog/101.png"
    bad.write_bytes(data)
    hidden.write_bytes(b"text")
    assert "1 bad entry (unreadable image 1): dog/101.png: " in refused(folder)
    assert not [path for path in cache_folder.iterdir() if path.name.startswith(".")]


def test_a_broken_link_and_floats_are_named(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "pets")
    broken = folder / "cat/zzz.png"
    broken.symlink_to(tmp_path / "gone.png")
    assert "(unreadable image 1): cat/zzz.png: No such file" in refused(folder)
    broken.unlink()
    Image.fromarray(np.zeros((16, 16), dtype=np.float32)).save(broken.with_suffix(".tif"))
    assert "mode F has more than 8 bits a pixel and no scale of its own: convert it to grey of 8" in refused(folder)


def test_a_subset_too_large_is_refused_with_what_there_is(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "pets")
    assert refused(folder, train_images=17) == "train_images is 17, but the training split has 16 images"


# ---- formats


def test_grey_images_stay_grey_and_mixed_ones_become_rgb(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "pets", mode="L", suffix=".jpg")
    assert load(folder).channels == 1
    write_image(folder / "cat/colour.jpg")
    assert load(folder).channels == 3


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "1"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    assert load(write_classes(tmp_path / "pets", mode=mode)).channels == 3


@pytest.mark.parametrize(("size", "side"), [((8, 8), 8), ((96, 96), 96), ((97, 97), 64), ((7, 7), 64), ((20, 30), 64)])
def test_the_native_size_is_kept_where_it_is_small_and_square(tmp_path: Path, size: tuple[int, int], side: int) -> None:
    said: list[str] = []
    data = load(write_classes(tmp_path / "pets", count=2, size=size), said)
    assert data.image_size == side
    assert len(said) == (side != size[0])
    assert all("resized to 64" in line for line in said)


def test_an_asked_size_is_used_without_a_word(tmp_path: Path) -> None:
    said: list[str] = []
    assert load(write_classes(tmp_path / "pets", size=(40, 50)), said, image_size=24).image_size == 24
    assert said == []


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("across", [True, False])
def test_resizing_keeps_the_centre(tmp_path: Path, suffix: str, across: bool) -> None:
    pixels = np.zeros((100, 300, 3), dtype=np.uint8)
    pixels[:, :100], pixels[:, 100:200], pixels[:, 200:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    path = tmp_path / f"bands{suffix}"
    Image.fromarray(pixels if across else pixels.transpose(1, 0, 2).copy()).save(path, quality=95)
    out = decoding.decode_image(path, decoding.ImageFormat(16, "RGB"))[0].astype(int)
    inner = out[:, 2:-2, 2:-2].reshape(3, -1).mean(1)
    assert inner == pytest.approx([0, 255, 0], abs=6)


# ---- the cache


def test_a_second_load_decodes_nothing_and_gives_the_same(tmp_path: Path, decoded: list[Path]) -> None:
    folder = write_classes(tmp_path / "pets", suffix=".jpg")
    first = load(folder)
    assert len(decoded) == 20
    second = load(folder)
    assert len(decoded) == 20
    assert torch.equal(first.train.images, second.train.images)
    assert (first.mean, first.std, first.fingerprint) == (second.mean, second.std, second.fingerprint)
    scaled = first.train.images.double() / 255
    assert first.mean == pytest.approx(scaled.mean((0, 2, 3)).tolist(), rel=1e-9)
    assert first.std == pytest.approx(scaled.std((0, 2, 3), correction=0).tolist(), rel=1e-9)


def test_only_the_images_in_use_are_decoded(tmp_path: Path, decoded: list[Path]) -> None:
    folder = write_classes(tmp_path / "pets/train", count=50).parent
    write_classes(folder / "test", count=3)
    data = load(folder, train_images=10)
    assert torch.bincount(data.train.labels).tolist() == [5, 5]
    assert len(decoded) == 10 + 20 + 6
    load(folder, train_images=12)
    assert len(decoded) == 36 + 12  # the other splits come from the cache


def test_an_edited_or_added_image_is_decoded_again(tmp_path: Path, decoded: list[Path]) -> None:
    folder = write_classes(tmp_path / "pets/train").parent
    write_classes(folder / "val", count=2)
    before = load(folder)
    path = write_image(folder / "train/cat/003.png")
    os.utime(path, ns=(1, 1))
    edited = load(folder)
    assert len(decoded) == 24 + 20
    assert edited.fingerprint != before.fingerprint
    write_image(folder / "train/cat/new.png")
    assert len(load(folder).train) == 21


def test_a_damaged_entry_is_made_again(tmp_path: Path, cache_folder: Path, decoded: list[Path]) -> None:
    folder = write_classes(tmp_path / "pets")
    before = load(folder).fingerprint
    entries = [path for path in cache_folder.iterdir() if path.is_dir()]
    (entries[0] / "images.npy").write_bytes((entries[0] / "images.npy").read_bytes()[:-1])
    (entries[1] / "notes.json").write_text("{}")
    assert load(folder).fingerprint == before
    assert len(decoded) == 40
    assert load(folder).fingerprint == before
    assert len(decoded) == 40


def test_writing_into_a_split_does_not_reach_the_cache(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "pets")
    data = load(folder)
    before = data.train.images.clone()
    data.train.images.zero_()
    assert torch.equal(load(folder).train.images, before)


def test_processes_at_once_agree_and_leave_nothing_behind(tmp_path: Path, cache_folder: Path) -> None:
    folder = write_classes(tmp_path / "pets", count=40, suffix=".jpg")
    code = (
        "import sys; from trials.data import DataConfig, load_data;"
        "print(load_data(DataConfig(name='folder:' + sys.argv[1])).fingerprint)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(3)]
    outputs = [process.communicate()[0].strip() for process in running]
    assert outputs == [load(folder).fingerprint] * 3
    assert len([path for path in cache_folder.iterdir() if path.is_dir()]) == 2


def test_without_locks_the_last_writer_yields(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system without locks: another process finishes the same entry while this one decodes."""
    pixels = RANDOM.integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)

    def after_another(entry: disk_cache.EntryWriter) -> None:
        (cache_folder / "key").mkdir()
        disk_cache._write(cache_folder / "key", lambda other: other.append("images", pixels))
        entry.append("images", pixels)

    kept = disk_cache.cached("key", after_another)
    assert np.array_equal(kept.arrays["images"], pixels)
    assert sorted(path.name for path in cache_folder.iterdir()) == ["key", "key.lock"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_classes(tmp_path / "pets")
    blocked = write_image(tmp_path / "file.png")
    monkeypatch.setenv("FUSION_NAS_CACHE", str(blocked))
    message = refused(folder)
    assert f"cannot keep decoded images in {blocked / 'decoded'}" in message
    assert "FUSION_NAS_CACHE" in message


def test_old_half_written_entries_are_swept(tmp_path: Path, cache_folder: Path) -> None:
    old, new = cache_folder / ".key-old", cache_folder / ".key-new"
    old.mkdir(parents=True)
    new.mkdir()
    os.utime(old, (0, 0))
    load(write_classes(tmp_path / "pets"))
    assert not old.exists()
    assert new.exists()


def test_progress_is_announced_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_CHUNK", 4)
    monkeypatch.setattr(decoding, "_ANNOUNCE_EVERY_S", 0.0)
    said: list[str] = []
    load(write_classes(tmp_path / "pets"), said)
    assert said == ["decoding images: 4 of 16", "decoding images: 8 of 16", "decoding images: 12 of 16"]


def test_large_images_are_decoded_in_threads_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_CHUNK", 2)
    folder = write_classes(tmp_path / "pets", size=(64, 64))  # noise: 12 KB a file
    threaded = load(folder)
    monkeypatch.setattr(image_files, "_WORTH_THREADS_BYTES", 10**9)
    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "other"))
    assert load(folder).fingerprint == threaded.fingerprint
