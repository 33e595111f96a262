"""Configuration, the embedded dataset, and how splits are cut."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from trials.data import KNOWN_DATA, DataConfig, DataError, ImageData, Split, load_data
from trials.data.config import validate_name
from trials.data.splitting import choose_subset, cut_validation

ROOT = Path(__file__).resolve().parents[3]
EMBEDDED = ROOT / "trials/data/embedded/fashion_mnist_mini.npz"
IDX_FOLDER = Path("/usr/share/datasets/fashion-mnist")
needs_idx = pytest.mark.skipif(not IDX_FOLDER.is_dir(), reason=f"needs the IDX files in {IDX_FOLDER}")


def rows(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.images.numpy()}


def one_line(error: pytest.ExceptionInfo[DataError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


# ---- the face


def test_the_face_is_free_of_torch_until_it_is_needed() -> None:
    code = (
        "import sys, trials.data as d; d.DataConfig(name='cifar10'); d.KNOWN_DATA;"
        "assert set(d.__all__) <= set(dir(d));"
        "assert 'torch' not in sys.modules; d.Split; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    import trials.data

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = trials.data.nonsense


# ---- the configuration


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("cifar-10", "cifar10"), ("CIFAR100", "cifar100"), ("fashionmnist", "fashion-mnist"), ("/tmp/x", "folder:/tmp/x")],
)
def test_an_unknown_name_is_answered_with_the_nearest(given: str, nearest: str) -> None:
    with pytest.raises(DataError) as error:
        validate_name(given)
    message = one_line(error)
    assert repr(given) in message
    assert f"did you mean {nearest!r}?" in message
    assert all(name in message for name in KNOWN_DATA)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": ""}, "unknown data ''"),
        ({"name": "folder:"}, "names no folder"),
        ({"val_fraction": 0.0}, "val_fraction is 0.0: it must lie between 0 and 1"),
        ({"val_fraction": 1.0}, "val_fraction is 1.0"),
        ({"val_fraction": float("nan")}, "val_fraction is nan"),
        ({"image_size": 7}, "image_size is 7: it must be at least 8"),
        ({"train_images": 0}, "train_images is 0"),
        ({"split_seed": -1}, "split_seed is -1"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        DataConfig(**values)
    one_line(error)


def test_known_names_pass() -> None:
    for name in KNOWN_DATA:
        validate_name(name)


# ---- the embedded dataset


@pytest.fixture(scope="module")
def mini() -> ImageData:
    return load_data(DataConfig())


def test_the_embedded_archive_is_small_balanced_and_licensed() -> None:
    assert EMBEDDED.stat().st_size <= 6_000_000
    with np.load(EMBEDDED, allow_pickle=False) as archive:
        assert archive["train_images"].shape == (10_000, 28, 28)
        assert archive["test_images"].shape == (2_000, 28, 28)
        assert {archive[name].dtype for name in archive.files} == {np.dtype(np.uint8)}
        assert np.bincount(archive["train_labels"]).tolist() == [1000] * 10
        assert np.bincount(archive["test_labels"]).tolist() == [200] * 10
    notice = EMBEDDED.with_name("NOTICE.txt").read_text(encoding="utf-8")
    for words in ("Copyright (c) 2017 Zalando SE", "Permission is hereby granted", "1708.07747", "AS IS"):
        assert words in notice


def make_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_mini", ROOT / "tools/make_fashion_mnist_mini.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_idx
@pytest.mark.skipif("ng" in zlib.ZLIB_RUNTIME_VERSION, reason="zlib-ng packs the same arrays into other bytes")
def test_the_script_makes_the_archive_byte_for_byte(tmp_path: Path) -> None:
    made = tmp_path / "made.npz"
    make_script().make(IDX_FOLDER, made)
    assert made.read_bytes() == EMBEDDED.read_bytes()


def test_the_script_says_what_is_missing(tmp_path: Path) -> None:
    script = ROOT / "tools/make_fashion_mnist_mini.py"
    command = [sys.executable, str(script), "--source", str(tmp_path), "--target", str(tmp_path / "x.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path} lacks one of the four")
    assert not (tmp_path / "x.npz").exists()


def test_the_default_loads_with_everything_in_place(mini: ImageData) -> None:
    assert (len(mini.train), len(mini.val), mini.test and len(mini.test)) == (8000, 2000, 2000)
    assert (mini.channels, mini.image_size, len(mini.classes)) == (1, 28, 10)
    assert mini.classes[0] == "T-shirt/top"
    assert mini.classes[9] == "Ankle boot"
    assert mini.train.images.dtype == torch.uint8
    assert mini.train.labels.dtype == torch.int64
    assert len(mini.fingerprint) == 16
    int(mini.fingerprint, 16)


def test_statistics_are_those_of_the_train_split_alone(mini: ImageData) -> None:
    scaled = mini.train.images.double() / 255
    assert mini.mean == pytest.approx([scaled.mean().item()], rel=1e-9)
    assert mini.std == pytest.approx([scaled.std(correction=0).item()], rel=1e-9)


def test_validation_and_test_are_never_in_train(mini: ImageData) -> None:
    with np.load(EMBEDDED, allow_pickle=False) as archive:
        everything = [image.tobytes() for image in archive["train_images"]]
    assert mini.test is not None
    train, val, test = rows(mini.train), rows(mini.val), rows(mini.test)
    assert len(set(everything)) == 10_000  # all distinct, so that rows identify images
    assert train | val == set(everything)
    assert not train & val
    assert not test & (train | val)


def test_every_split_is_stratified(mini: ImageData) -> None:
    assert torch.bincount(mini.train.labels).tolist() == [800] * 10
    assert torch.bincount(mini.val.labels).tolist() == [200] * 10


def test_the_same_config_gives_the_same_bytes_and_another_seed_others(mini: ImageData) -> None:
    again = load_data(DataConfig())
    assert again.fingerprint == mini.fingerprint
    assert torch.equal(again.train.images, mini.train.images)
    other = load_data(DataConfig(split_seed=1))
    assert other.fingerprint != mini.fingerprint
    assert rows(other.val) != rows(mini.val)


def test_subsets_are_balanced_and_nest(mini: ImageData) -> None:
    small, large = (load_data(DataConfig(train_images=count)) for count in (95, 1000))
    assert len(small.train) == 95
    assert set(torch.bincount(small.train.labels).tolist()) == {9, 10}
    assert torch.bincount(large.train.labels).tolist() == [100] * 10
    assert rows(small.train) < rows(large.train) < rows(mini.train)
    assert torch.equal(small.val.images, mini.val.images)
    assert small.mean != mini.mean


def test_a_subset_that_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="train_images is 8001, but the training split has 8000 images"):
        load_data(DataConfig(train_images=8001))
    with pytest.raises(DataError, match="at least one a class is needed, 10 in all"):
        load_data(DataConfig(train_images=9))
    assert len(load_data(DataConfig(train_images=8000)).train) == 8000


def test_another_size_is_resized() -> None:
    data = load_data(DataConfig(image_size=32, train_images=100))
    assert data.test is not None
    assert [split.images.shape[1:] for split in (data.train, data.val, data.test)] == [(1, 32, 32)] * 3
    native = load_data(DataConfig(train_images=100))
    assert data.mean[0] == pytest.approx(native.mean[0], abs=0.01)


def test_split_moves_and_refuses_other_types(mini: ImageData) -> None:
    moved = mini.val.to("meta")
    assert moved.images.device.type == moved.labels.device.type == "meta"
    assert len(moved) == 2000
    with pytest.raises(ValueError, match="images must be uint8"):
        Split(mini.val.images.float(), mini.val.labels)
    with pytest.raises(ValueError, match="labels must be int64"):
        Split(mini.val.images, mini.val.labels[1:])


# ---- splitting unequal classes


def test_unequal_classes_keep_their_shares() -> None:
    labels = np.repeat(np.arange(3), [600, 300, 4])
    train, val = cut_validation(labels, "abc", 0.2, seed=3)
    assert np.bincount(labels[val]).tolist() == [120, 60, 1]
    assert sorted([*train, *val]) == list(range(904))
    assert np.bincount(labels[train][choose_subset(labels[train], "abc", 72, 3)]).tolist() == [47, 24, 1]
    assert np.bincount(labels[train][choose_subset(labels[train], "abc", 3, 3)]).tolist() == [1, 1, 1]
    previous: set[int] = set()
    for count in range(3, len(train) + 1, 7):
        subset = set(choose_subset(labels[train], "abc", count, 3).tolist())
        assert len(subset) == count
        assert previous < subset
        previous = subset


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_every_class_is_on_both_sides(fraction: float) -> None:
    labels = np.repeat(np.arange(2), [2, 50])
    train, val = cut_validation(labels, "ab", fraction, seed=0)
    assert set(labels[train]) == set(labels[val]) == {0, 1}


def test_a_class_of_one_cannot_be_cut() -> None:
    with pytest.raises(DataError, match=r"class 'b' has 1 training image\(s\): at least 2"):
        cut_validation(np.array([0, 0, 1]), "ab", 0.5, seed=0)
