"""Datasets that come as arrays: the embedded one, Fashion-MNIST and CIFAR, found on disk or downloaded."""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from trials.data.config import DataConfig, DataError
from trials.data.content import Images, Labels
from trials.data.readers.idx import IdxPaths, find_idx, read_images_and_labels

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
SYSTEM_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian's dataset-fashion-mnist
#: The torchvision class of each and the folder it reads, written out so that a cached set is used without torchvision.
_CIFAR = {"cifar10": ("CIFAR10", "cifar-10-batches-py"), "cifar100": ("CIFAR100", "cifar-100-python")}
_NETWORK_TIMEOUT_S = 20.0


@dataclass(frozen=True, eq=False)
class ArraySet:
    """A dataset as arrays: images uint8 [N, C, H, W], labels int64 [N], train and test part apart."""

    classes: tuple[str, ...]
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


@dataclass(frozen=True)
class ArraySource:
    """A dataset that was found: its `files` (none for the embedded one) and what reads them, which takes a while."""

    files: tuple[Path, ...]
    read: Callable[[], ArraySet]


def find(config: DataConfig, announce: Callable[[str], None]) -> ArraySource:
    """The named dataset (any of `KNOWN_DATA` but a folder), downloaded where it is not there.

    Raises DataError when it cannot be had; reading it does where it is damaged.
    """
    if config.name == "fashion-mnist-mini":
        return ArraySource((), _embedded)
    folder = data_folder(config.data_dir)
    if config.name == "fashion-mnist":
        paths = _find_fashion_mnist(folder, announce)
        return ArraySource(tuple(paths.values()), lambda: _read_fashion_mnist(paths))
    base = _find_cifar(config.name, folder, announce)
    return ArraySource(tuple(sorted(base.iterdir())), lambda: _read_cifar(config.name, base))


def data_folder(data_dir: str | None) -> Path:
    """Where published datasets are kept: `data_dir`, else $FUSION_NAS_DATA, else ~/.cache/fusion-nas/data."""
    return Path(data_dir or os.environ.get("FUSION_NAS_DATA") or "~/.cache/fusion-nas/data").expanduser().absolute()


def _embedded() -> ArraySet:
    resource = files("trials.data") / "embedded" / "fashion_mnist_mini.npz"
    try:
        with resource.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            parts = [archive[f"{split}_{kind}"] for split in ("train", "test") for kind in ("images", "labels")]
    except FileNotFoundError as error:
        raise DataError(f"the embedded dataset {resource} is missing: install fusion-nas again") from error
    return _grey(FASHION_CLASSES, *parts)


def _grey(classes: tuple[str, ...], train: Any, train_labels: Any, test: Any, test_labels: Any) -> ArraySet:
    """An `ArraySet` of images [N, H, W] with labels of any integer type; raises DataError for a label too high."""
    highest = max(int(train_labels.max(initial=0)), int(test_labels.max(initial=0)))
    if highest >= len(classes):
        raise DataError(f"the labels go up to {highest}, but there are {len(classes)} classes: these are other files")
    return ArraySet(classes, train[:, None], train_labels.astype(np.int64), test[:, None], test_labels.astype(np.int64))


def _find_fashion_mnist(folder: Path, announce: Callable[[str], None]) -> IdxPaths:
    places = [folder / "FashionMNIST" / "raw", folder / "fashion-mnist", folder, SYSTEM_FASHION_MNIST]
    paths = next((found for place in places if (found := find_idx(place)) is not None), None)
    if paths is None:
        _download("fashion-mnist", "FashionMNIST", "FashionMNIST", None, folder, announce)
        paths = find_idx(places[0])
    if paths is None:
        raise DataError(_not_found("fashion-mnist", "train-images-idx3-ubyte.gz and its three", folder, "incomplete"))
    return paths


def _read_fashion_mnist(paths: IdxPaths) -> ArraySet:
    train = read_images_and_labels(paths["train", "images"], paths["train", "labels"])
    test = read_images_and_labels(paths["test", "images"], paths["test", "labels"])
    return _grey(FASHION_CLASSES, *train, *test)


def _find_cifar(name: str, folder: Path, announce: Callable[[str], None]) -> Path:
    class_name, product = _CIFAR[name]
    if not (folder / product).is_dir():
        _download(name, class_name, product, _torchvision(class_name).filename, folder, announce)
    return folder / product


def _read_cifar(name: str, base: Path) -> ArraySet:
    factory = _torchvision(_CIFAR[name][0])
    # The published files are pickles, which could run anything when read. They are only ever read through
    # torchvision's classes, which compare the MD5 sum of every file with the published one before they open it.
    try:
        train, test = factory(base.parent, train=True), factory(base.parent, train=False)
    except RuntimeError as error:
        raise DataError(
            f"{base} is damaged or incomplete (its MD5 sums are not the published ones): delete it and try again"
        ) from error
    arrays = [np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)) for part in (train, test)]
    labels = [np.asarray(part.targets, dtype=np.int64) for part in (train, test)]
    return ArraySet(tuple(train.classes), arrays[0], labels[0], arrays[1], labels[1])


def _torchvision(class_name: str) -> Any:
    """A dataset class of torchvision, imported only here: it has no types, and most runs do without it."""
    return getattr(import_module("torchvision.datasets"), class_name)


def _download(
    name: str, class_name: str, product: str, archive: str | None, folder: Path, announce: Callable[[str], None]
) -> None:
    """Have torchvision put the folder `product` into `folder`; raises DataError when that fails.

    It works in a folder of its own and moves the result, so that a download cut short, or two processes at once,
    leave no half-filled dataset. An `archive` that lies in `folder` already is unpacked instead of downloaded.
    """
    workshop = folder / f".download-{uuid.uuid4().hex}"
    try:
        workshop.mkdir(parents=True)
        if archive is not None and (folder / archive).is_file():
            (workshop / archive).symlink_to(folder / archive)
        else:
            announce(f"downloading {name} to {folder}")
        with _quiet_network():
            _torchvision(class_name)(workshop, train=True, download=True)
        try:
            (workshop / product).replace(folder / product)
        except OSError:
            if not (folder / product).is_dir():  # else another process was faster, and its files are as good
                raise
    except (OSError, RuntimeError) as error:  # URLError and timeouts are OSErrors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(_not_found(name, archive or "the four IDX files", folder, reason)) from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _not_found(name: str, wanted: str, folder: Path, reason: str) -> str:
    places = f"{folder} and {SYSTEM_FASHION_MNIST}" if name == "fashion-mnist" else f"{folder}"
    return (
        f"{name} was not found in {places}, and downloading it failed ({reason}): put {wanted} there, name another "
        "place with --data-dir, or give an image folder with --data folder:PATH"
    )


@contextmanager
def _quiet_network() -> Iterator[None]:
    """Swallow torchvision's progress bars, and do not wait for ever on a network that drops packets."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NETWORK_TIMEOUT_S)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)
