"""Published datasets: found on disk in every layout, never read when damaged, and what is said when absent."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import tarfile
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trials.data import DataConfig, DataError, load_data
from trials.data.readers import published
from trials.data.readers.idx import read_idx

IDX_FOLDER = Path("/usr/share/datasets/fashion-mnist")
needs_idx = pytest.mark.skipif(not IDX_FOLDER.is_dir(), reason=f"needs the IDX files in {IDX_FOLDER}")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_NAS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No network; the list fills with the addresses that were asked for."""
    asked: list[str] = []

    def refuse(request: Any, *_: object, **__: object) -> None:
        asked.append(request.full_url)
        raise urllib.error.URLError("no network\nhere")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return asked


def one_line(error: pytest.ExceptionInfo[DataError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


# ---- Fashion-MNIST from IDX files


def write_idx(path: Path, array: np.ndarray[Any, Any]) -> None:
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, dtype=">u4").tobytes()
    data = header + array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_fashion(folder: Path, suffix: str = ".gz") -> None:
    random = np.random.default_rng(0)
    for part, count in (("train", 60), ("t10k", 20)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", np.arange(count, dtype=np.uint8) % 10)


@pytest.mark.parametrize(("place", "suffix"), [("FashionMNIST/raw", ""), ("fashion-mnist", ".gz"), ("", ".gz")])
def test_fashion_mnist_is_found_in_the_data_folder_first(
    tmp_path: Path, place: str, suffix: str, offline: list[str]
) -> None:
    write_fashion(tmp_path / "here" / place, suffix)
    data = load_data(DataConfig(name="fashion-mnist", data_dir=str(tmp_path / "here"), val_fraction=0.5))
    assert (len(data.train), len(data.val), data.test and len(data.test)) == (30, 30, 20)
    assert offline == []


@needs_idx
def test_fashion_mnist_is_found_where_debian_puts_it(offline: list[str]) -> None:
    data = load_data(DataConfig(name="fashion-mnist"))
    assert (len(data.train), len(data.val), data.test and len(data.test)) == (48_000, 12_000, 10_000)
    assert offline == []


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10", "cifar100"])
def test_a_failed_download_says_what_was_sought_where_and_how_to_mend(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    offline: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(published, "SYSTEM_FASHION_MNIST", tmp_path / "system")
    said: list[str] = []
    with pytest.raises(DataError) as error:
        load_data(DataConfig(name=name), said.append)
    message = one_line(error)
    assert message.startswith(f"{name} was not found in {tmp_path / 'data'}")
    for words in ("no network here", "put ", "--data-dir", "--data folder:PATH"):
        assert words in message
    assert said == [f"downloading {name} to {tmp_path / 'data'}"]
    assert offline
    assert capfd.readouterr() == ("", "")
    assert list((tmp_path / "data").iterdir()) == []


def test_damaged_idx_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "images"
    for content, message in (
        (b"", "it begins with "),
        (b"\0\0\x0d\x03" + bytes(12), "begins with 00000d03, not 00000803"),
        (b"\0\0\x08\x03" + np.array([2, 2, 2], ">u4").tobytes() + bytes(7), "header says 2x2x2 = 8 bytes, but 7"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message) as error:
            read_idx(path, 3)
        assert str(path) in one_line(error)
    broken = tmp_path / "images.gz"
    broken.write_bytes(gzip.compress(bytes(1000))[:-9])
    with pytest.raises(DataError, match="cannot read"):
        read_idx(broken, 3)


def test_idx_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    labels = tmp_path / "t10k-labels-idx1-ubyte.gz"
    write_idx(labels, np.full(20, 11, dtype=np.uint8))
    with pytest.raises(DataError, match="labels go up to 11, but there are 10 classes"):
        load_data(DataConfig(name="fashion-mnist", data_dir=str(tmp_path)))
    write_idx(labels, np.zeros(19, dtype=np.uint8))
    with pytest.raises(DataError, match=r"has 20 images but .* has 19 labels"):
        load_data(DataConfig(name="fashion-mnist", data_dir=str(tmp_path)))


@pytest.mark.parametrize("shape", [(60, 0, 0), (0, 28, 28), (60, 28, 14)])
def test_images_of_no_size_or_not_square_are_refused(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    write_fashion(tmp_path)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros(shape, dtype=np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(shape[0], dtype=np.uint8))
    with pytest.raises(DataError, match=f"holds {'x'.join(map(str, shape))} pixels: expected square") as error:
        load_data(DataConfig(name="fashion-mnist", data_dir=str(tmp_path)))
    one_line(error)


# ---- the cache of what was read


def test_a_second_load_maps_the_same_split_and_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fashion(tmp_path)
    config = DataConfig(name="fashion-mnist", data_dir=str(tmp_path), image_size=12, val_fraction=0.5, train_images=20)
    first = load_data(config)
    direct = published.find(config, print).read()
    monkeypatch.setattr(published, "_read_fashion_mnist", None)  # whatever calls it fails
    second = load_data(config)
    assert second.fingerprint == first.fingerprint
    assert (second.mean, second.std, second.classes) == (first.mean, first.std, first.classes)
    assert second.train.images.equal(first.train.images)
    assert second.test is not None
    assert second.test.labels.tolist() == direct.test_labels.tolist()
    with Path("/proc/self/maps").open() as maps:
        assert sum(str(tmp_path / "cache") in line for line in maps) >= 3  # train, val and test, from the file


def test_what_changes_a_split_or_its_files_is_read_anew(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    base = DataConfig(name="fashion-mnist", data_dir=str(tmp_path), val_fraction=0.5)
    prints = {load_data(replace(base, **change)).fingerprint for change in (
        {}, {"val_fraction": 0.3}, {"split_seed": 1}, {"train_images": 20}, {"image_size": 20},
    )}  # fmt: skip
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    write_idx(path, np.zeros(20, dtype=np.uint8))
    prints.add(load_data(base).fingerprint)
    assert len(prints) == 6


def test_cifar_folders_are_those_of_torchvision() -> None:
    for class_name, folder in published._CIFAR.values():
        assert published._torchvision(class_name).base_folder == folder


# ---- CIFAR: small files in the published layout, their sums put in place of the published ones


def write_cifar(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    base = folder / CIFAR10.base_folder
    base.mkdir(parents=True)
    random = np.random.default_rng(0)

    def write(name: str, content: dict[str, Any]) -> str:
        data = pickle.dumps(content)
        (base / name).write_bytes(data)
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    def batch(name: str) -> list[str]:
        pixels = random.integers(0, 256, (20, 3072), dtype=np.uint8)
        return [name, write(name, {"data": pixels, "labels": [index % 10 for index in range(20)]})]

    monkeypatch.setattr(CIFAR10, "train_list", [batch(f"data_batch_{number}") for number in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch")])
    names = write("batches.meta", {"label_names": [f"class{number}" for number in range(10)]})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": names})


def test_cifar_is_read_from_torchvisions_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: list[str]
) -> None:
    write_cifar(tmp_path / "data", monkeypatch)
    data = load_data(DataConfig(name="cifar10"))
    assert (len(data.train), len(data.val), data.test and len(data.test)) == (80, 20, 20)
    assert (data.channels, data.image_size, data.classes[3]) == (3, 32, "class3")
    assert offline == []


def test_a_pickle_that_is_not_the_published_one_is_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: list[str]
) -> None:
    write_cifar(tmp_path / "data", monkeypatch)
    base = tmp_path / "data/cifar-10-batches-py"
    (base / "data_batch_3").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(DataError, match=r"is damaged or incomplete.*delete it and try again") as error:
        load_data(DataConfig(name="cifar10"))
    assert str(base) in one_line(error)
    assert not (tmp_path / "ran").exists()
    assert offline == []


def test_an_archive_in_the_data_folder_is_unpacked_and_not_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: list[str]
) -> None:
    from torchvision.datasets import CIFAR10

    write_cifar(tmp_path / "source", monkeypatch)
    folder = tmp_path / "data"
    folder.mkdir()
    with tarfile.open(folder / CIFAR10.filename, "w:gz") as archive:
        archive.add(tmp_path / "source" / CIFAR10.base_folder, CIFAR10.base_folder)
    md5 = hashlib.md5((folder / CIFAR10.filename).read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5)
    assert len(load_data(DataConfig(name="cifar10")).train) == 80
    assert offline == []
    assert sorted(path.name for path in folder.iterdir()) == [CIFAR10.base_folder, CIFAR10.filename]
