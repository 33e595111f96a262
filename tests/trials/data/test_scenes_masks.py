"""Folders of images with maps of classes: values, names, and maps that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scenes_folders import HEIGHT, WIDTH, half_map, load, refused, write_map, write_picture

from trials.data import SceneConfig, SceneData, check_scenes


def write_pairs(root: Path, count: int = 4, value: int = 2, prefix: str = "", seed: int = 0) -> Path:
    for number in range(count):
        write_picture(root / prefix / f"images/{number}.png", seed + number)
        write_map(root / prefix / f"masks/{number}.png", half_map(value, ignored=True), mode="P" if number else "L")
    return root


def load_maps(root: Path, said: list[str] | None = None, **options: object) -> SceneData:
    return load(f"masks:{root}", said, targets="semantic", **options)


def refused_maps(root: Path) -> str:
    return refused(f"masks:{root}", targets="semantic")


def test_maps_keep_their_values_in_grey_and_palette(tmp_path: Path) -> None:
    data = load_maps(write_pairs(tmp_path))
    assert data.categories == ("class 0", "class 1", "class 2")
    assert data.train.maps is not None
    for read in data.train.maps.numpy():
        np.testing.assert_array_equal(read[:HEIGHT], half_map(2, ignored=True))
        assert (read[HEIGHT:] == 255).all()


def test_classes_have_the_names_of_the_file(tmp_path: Path) -> None:
    (write_pairs(tmp_path) / "classes.txt").write_text("sky\nroad\ncar\ntree\n", encoding="utf-8")
    assert load_maps(tmp_path).categories == ("sky", "road", "car", "tree")


def test_maps_of_0_and_255_alone_are_one_class_on_a_background(tmp_path: Path) -> None:
    for number in range(4):
        write_picture(tmp_path / f"images/{number}.png", number)
        write_map(tmp_path / f"masks/{number}.png", half_map(255))
    said: list[str] = []
    data = load_maps(tmp_path, said)
    assert data.categories == ("background", "foreground")
    assert data.train.maps is not None
    np.testing.assert_array_equal(data.train.maps[0, :HEIGHT].numpy(), half_map(1))
    assert any("255 is taken for class 'foreground'" in line for line in said)


def test_official_splits_are_kept_and_must_share_their_classes(tmp_path: Path) -> None:
    write_pairs(tmp_path, prefix="train")
    write_pairs(tmp_path, count=2, prefix="val", seed=50)
    write_pairs(tmp_path, count=1, value=5, prefix="test", seed=90)
    [problem] = check_scenes(SceneConfig(f"masks:{tmp_path}", targets="semantic"))
    assert str(problem).startswith("test/masks/0.png: the map holds value 5: there are 3 classes, 0 to 2")
    assert "Without them test has no image left" in refused(f"masks:{tmp_path}", targets="semantic", data_errors="drop")
    write_pairs(tmp_path, count=1, value=1, prefix="test", seed=90)
    assert {name: len(split) for name, split in load_maps(tmp_path).splits.items()} == {"train": 4, "val": 2, "test": 1}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: (root / "masks/1.png").unlink(), "images/1.png: it has no map masks/1.png"),
        (lambda root: (root / "images/1.png").unlink(), "masks/1.png: it has no image images/1"),
        (lambda root: write_map(root / "masks/1.png", half_map(1), "RGB"), "masks/1.png: the map has mode RGB"),
        (lambda root: write_map(root / "masks/1.png", half_map(1)[:40]), "the map has 64x40 pixels, its image 64x48"),
        (lambda root: write_map(root / "masks/9.jpg", half_map(1)), "masks/9.jpg: a map must be lossless"),
        (lambda root: (root / "masks/1.png").write_bytes(b"no"), "masks/1.png: the image cannot be decoded"),
        (lambda root: (root / "images/1.png").write_bytes(b"no"), "images/1.png: the image cannot be decoded"),
        (lambda root: write_picture(root / "images/1.jpg", 1), "images/1.png: images/1.jpg has the same name"),
    ],
)
def test_a_bad_pair_is_refused_by_name(tmp_path: Path, spoil: object, said: str) -> None:
    spoil(write_pairs(tmp_path))  # type: ignore[operator]
    assert said in refused_maps(tmp_path)


@pytest.mark.parametrize("text", ["sky\n", "sky\nsky\n", "sky\n\nroad\n", "\n".join(map(str, range(300)))])
def test_bad_names_of_classes_are_refused(tmp_path: Path, text: str) -> None:
    (write_pairs(tmp_path) / "classes.txt").write_text(text, encoding="utf-8")
    assert "classes.txt" in refused_maps(tmp_path)


def test_an_empty_folder_says_what_is_needed(tmp_path: Path) -> None:
    assert "has no folder images: masks:FOLDER needs images/NAME and masks/NAME.png" in refused_maps(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    assert "holds no images" in refused_maps(tmp_path)
    assert WIDTH > HEIGHT  # the padding of the first test is below
