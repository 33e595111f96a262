"""Grey of 16 bits a pixel, as microscopes and scanners write it: read at its own scale as images, letter by letter as
maps of classes; never clipped, never wrapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scenes_folders import HEIGHT, WIDTH, coco_document, half_map, load, refused, write_coco, write_picture

from trials.data import DataConfig, ImageData, load_data
from trials.data.findings import sentences

RANDOM = np.random.default_rng(0)


def save(path: Path, values: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def classes(root: Path, dtype: str, ending: str, white: int = 65_535) -> list[NDArray[Any]]:
    """Two classes of four grey images of noise from black to `white`; returns the training part's file by file."""
    drawn = [RANDOM.integers(0, white + 1, (16, 16)).astype(dtype) for _ in range(8)]
    for place, values in enumerate(drawn):
        save(root / "set" / ("cat", "dog")[place // 4] / f"{place}{ending}", values)
    return drawn


def loaded(root: Path) -> ImageData:
    return load_data(DataConfig(f"folder:{root}/set", val_fraction=0.25))


@pytest.mark.parametrize(("dtype", "ending"), [("<u2", ".png"), (">u2", ".tif"), ("<u2", ".tif"), ("<u2", ".pgm")])
def test_images_keep_their_scale(tmp_path: Path, dtype: str, ending: str) -> None:
    drawn = classes(tmp_path, dtype, ending)
    data = loaded(tmp_path)
    assert data.channels == 1
    expected = {np.rint(values / 257).astype(np.uint8).tobytes() for values in drawn}
    read = [image.numpy().tobytes() for split in (data.train, data.val) for image in split.images]
    assert set(read) == expected
    assert sentences(data.findings.to_json()) == [
        f"8 images have 16 bits a pixel, and are read at 8 (value / 257): {data_files(data)} and 5 more"
    ]


def data_files(data: ImageData) -> str:
    return ", ".join(data.findings.deep.examples)


def test_images_of_8_and_16_bits_are_one_set_of_grey(tmp_path: Path) -> None:
    classes(tmp_path, "<u2", ".png")
    save(tmp_path / "set/cat/eight.png", np.full((16, 16), 200, dtype=np.uint8))
    save(tmp_path / "set/dog/sixteen.png", np.full((16, 16), 200 * 257, dtype=np.uint16))
    data = loaded(tmp_path)
    assert (data.channels, data.findings.deep.images) == (1, 9)
    same = [image for split in (data.train, data.val) for image in split.images if (image == 200).all()]
    assert len(same) == 2


def test_values_that_use_few_levels_are_pointed_out(tmp_path: Path) -> None:
    classes(tmp_path, "<u2", ".png", white=4095)
    [deep, few] = sentences(loaded(tmp_path).findings.to_json())
    assert deep.startswith("8 images have 16 bits a pixel")
    assert "of 65,535: 17 of 256 grey levels are used at 8 bits" in few
    assert loaded(tmp_path).train.images.max() == 16


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_what_has_no_scale_is_refused_with_the_mend(tmp_path: Path, dtype: type) -> None:
    classes(tmp_path, "<u2", ".png")
    save(tmp_path / "set/cat/x.tif", RANDOM.integers(0, 9, (16, 16)).astype(dtype))
    with pytest.raises(ValueError, match="no scale of its own: convert it to grey of 8 or 16 bits, or RGB"):
        loaded(tmp_path)


def test_scenes_keep_their_scale(tmp_path: Path) -> None:
    root = write_coco(tmp_path, coco_document(3))
    for number in (1, 2, 3):
        save(root / f"images/{number}.png", np.full((HEIGHT, WIDTH), 80 * 257 * number, dtype=np.uint16))
    data = load(f"coco:{root}")
    for split in data.splits.values():
        for file, image in zip(split.files, split.images, strict=True):
            assert (image[:, :HEIGHT] == 80 * int(Path(file).stem)).all()
    assert data.findings.deep.images == 3
    assert data.findings.remarks == ()


# ---- maps of classes


def pairs(root: Path, maps: list[NDArray[Any]], ending: str = ".png") -> str:
    for number, values in enumerate(maps):
        write_picture(root / f"images/{number}.png", number)
        save(root / f"masks/{number}{ending}", values)
    return f"masks:{root}"


@pytest.mark.parametrize(("dtype", "ending"), [("<u2", ".png"), (">u2", ".tif"), ("<i4", ".tif"), ("<u2", ".pgm")])
def test_maps_are_read_letter_by_letter(tmp_path: Path, dtype: str, ending: str) -> None:
    values = half_map(2).astype(dtype)
    values[0], values[1] = 65_535, 255
    data = load(pairs(tmp_path, [values] * 3, ending), targets="semantic")
    assert data.categories == ("class 0", "class 1", "class 2")
    assert data.train.maps is not None
    expected = half_map(2)
    expected[:2] = 255
    np.testing.assert_array_equal(data.train.maps[0, :HEIGHT].numpy(), expected)


@pytest.mark.parametrize("value", [256, 257, 300, 26_001, 65_534, -1])
def test_values_that_would_wrap_are_refused(tmp_path: Path, value: int) -> None:
    bad = half_map(1).astype(np.int32)
    bad[3, 4] = value
    ending = ".tif" if value < 0 else ".png"
    maps = [half_map(1).astype(np.int32 if value < 0 else np.uint16)] * 3
    name = pairs(tmp_path, [*maps, bad if value < 0 else bad.astype(np.uint16)], ending)
    said = refused(name, targets="semantic")
    assert (
        f"masks/3{ending}: the map holds value {value}: classes are 0 to 254, and 255 or 65535 is for ignored" in said
    )
    data = load(name, targets="semantic", data_errors="drop")
    assert data.findings.left_out.examples == ("images/3.png",)


def test_maps_of_0_and_65535_alone_are_one_class_on_a_background(tmp_path: Path) -> None:
    data = load(pairs(tmp_path, [half_map(1).astype(np.uint16) * 65_535] * 3), targets="semantic")
    assert data.categories == ("background", "foreground")
    assert data.train.maps is not None
    np.testing.assert_array_equal(data.train.maps[0, :HEIGHT].numpy(), half_map(1))
