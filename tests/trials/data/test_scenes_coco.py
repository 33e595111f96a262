"""COCO folders: what is read of them, and an answer to every bad file and entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scenes_folders import (
    CATEGORIES,
    HEIGHT,
    WIDTH,
    annotation,
    coco_document,
    load,
    refused,
    write_coco,
    write_json,
    write_picture,
)

from trials.data import SceneConfig, check_scenes


def test_boxes_labels_areas_and_crowds_are_those_of_the_file(tmp_path: Path) -> None:
    document = coco_document(4)
    document["annotations"].append(annotation(1, 1, category_id=3, bbox=[0, 0, 64, 48], area=99.5, iscrowd=1))
    data = load(f"coco:{write_coco(tmp_path, document)}", val_fraction=0.25)
    assert data.categories == ("cat", "dog")
    split = data.train if "images/1.png" in data.train.files else data.val
    target = split.target(split.files.index("images/1.png"))
    assert target["boxes"].tolist() == [[10, 20, 30, 30], [0, 0, 64, 48]]
    assert target["labels"].tolist() == [1, 0]
    assert target["area"].tolist() == [200, 99.5]
    assert target["iscrowd"].tolist() == [False, True]
    assert data.description()["crowds"]["train"] + data.description()["crowds"]["val"] == 1


def test_images_are_fitted_with_their_boxes(tmp_path: Path) -> None:
    data = load(f"coco:{write_coco(tmp_path, coco_document(2))}", image_size=128)
    images, targets = data.train.batch([0])
    assert images.shape == (1, 3, 128, 128)
    assert torch.equal(images[0, :, 96:], torch.full((3, 32, 128), 114, dtype=torch.uint8))  # 64x48 became 128x96
    assert targets[0]["boxes"].tolist() == [[20, 40, 60, 60]]
    assert targets[0]["area"].item() == 20 * 40
    painted = load(f"coco:{tmp_path}", targets="semantic", image_size=128).train.target(0)["map"][:96]
    assert painted.nonzero().aminmax(dim=0).min.tolist() == [40, 20]
    assert painted.nonzero().aminmax(dim=0).max.tolist() == [59, 59]
    assert (painted > 0).sum() == 20 * 40
    assert data.train.scales.tolist() == [[2.0, 2.0]]


def test_maps_are_painted_from_objects_with_the_smaller_in_front(tmp_path: Path) -> None:
    document = coco_document(2)
    small = [[12, 22, 18, 22, 18, 28, 12, 28]]
    document["annotations"] += [annotation(number, number, category_id=3, segmentation=small) for number in (1, 2)]
    data = load(f"coco:{write_coco(tmp_path, document)}", targets="semantic")
    assert data.categories == ("background", "cat", "dog")
    painted = data.train.target(0)["map"]
    assert painted[25, 15] == 1
    assert painted[21, 29] == 2
    assert painted[0, 0] == 0
    assert (painted[HEIGHT:] == 255).all()  # padding does not count
    assert set(data.train.target(0)) == {"image_id", "map"}


def test_run_lengths_and_polygons_of_one_object_are_one_mask(tmp_path: Path) -> None:
    lengths = [10 * HEIGHT + 20, 10]
    for _ in range(19):
        lengths += [38, 10]
    lengths.append(18 + (WIDTH - 30) * HEIGHT)
    assert sum(lengths) == WIDTH * HEIGHT
    document = coco_document(2)
    for entry in document["annotations"]:
        entry["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": lengths}
    from_lengths = load(f"coco:{write_coco(tmp_path / 'a', document)}", targets="semantic")
    from_polygon = load(f"coco:{write_coco(tmp_path / 'b', coco_document(2))}", targets="semantic")
    assert from_lengths.fingerprint == from_polygon.fingerprint


def test_the_layout_of_the_published_archives(tmp_path: Path) -> None:
    for split, first in (("train", 1), ("val", 50)):
        document = coco_document(2)
        write_json(tmp_path / f"annotations/instances_{split}2017.json", document)
        for number in (1, 2):
            write_picture(tmp_path / f"{split}2017/{number}.png", first + number)
    data = load(f"coco:{tmp_path}")
    assert data.train.files == ("train2017/1.png", "train2017/2.png")
    assert data.val.files == ("val2017/1.png", "val2017/2.png")
    assert data.test is None


def test_the_layout_of_annotation_services(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        write_json(tmp_path / split / "_annotations.coco.json", coco_document(1, split))
        write_picture(tmp_path / split / f"{split}1.png", len(split) + ord(split[1]))
    data = load(f"coco:{tmp_path}")
    assert data.val.files == ("valid/valid1.png",)
    assert data.test is not None


# ---- files that are no COCO files


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"images": [{"id": 1, "fi', "train.json is not JSON, or was cut short"),
        ("[" * 100_000, "train.json is not JSON, or was cut short"),
        ('"text"', "train.json has no list of 'images'"),
        ('{"images": [{"id": 1}], "annotations": []}', "train.json has no list of 'categories'"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "train.json has no categories"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}', "train.json has no images"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/train.json").write_text(text, encoding="utf-8")
    assert said in refused(f"coco:{tmp_path}")


@pytest.mark.parametrize(
    ("categories", "said"),
    [
        ([{"id": "1", "name": "cat"}], "category at place 0: id is '1': it must be an integer"),
        ([{"id": 1}], "category at place 0: it has no 'name'"),
        ([{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}], "category at place 1: id 1 or name 'dog'"),
        ([{"id": 1, "name": "a\nb"}], "category at place 0: name is 'a\\nb'"),
    ],
)
def test_bad_categories_are_never_dropped(tmp_path: Path, categories: list[Any], said: str) -> None:
    document = {**coco_document(1), "categories": categories}
    assert said in refused(f"coco:{write_coco(tmp_path, document)}", data_errors="drop")


def test_splits_must_share_their_categories(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_document(2, "t"))
    write_coco(tmp_path, {**coco_document(1, "v"), "categories": CATEGORIES[1:]}, "val", seed=1)
    message = refused(f"coco:{tmp_path}")
    assert "annotations/val.json lacks category 'cat', which annotations/train.json has (1 against 2" in message


def test_a_folder_without_annotations_says_what_was_looked_for(tmp_path: Path) -> None:
    write_json(tmp_path / "annotations/captions_a.json", {})
    write_json(tmp_path / "annotations/captions_b.json", {})
    assert "no training annotations (found annotations/captions_a.json" in refused(f"coco:{tmp_path}")
    assert "does not exist" in refused(f"coco:{tmp_path / 'nowhere'}")


# ---- entries


def compressed(text: str) -> dict[str, Any]:
    return {"size": [HEIGHT, WIDTH], "counts": text}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"bbox": [10, 20, 0, 10]}, "has no area"),
        ({"bbox": [10, 20, -5, 10]}, "has no area"),
        ({"bbox": [50, 20, 20, 10]}, "[50, 20, 70, 30] (left, top, right, bottom) reaches outside its image of 64x48"),
        ({"bbox": [64.5, 0, 0.4, 10]}, "lies outside its image"),
        ({"bbox": [float("nan"), 20, 20, 10]}, "bbox is nan: it must be a finite number"),
        ({"bbox": [1e400, 20, 20, 10]}, "bbox is inf: it must be a finite number"),
        ({"bbox": [10**400, 20, 20, 10]}, "it must be a finite number"),
        ({"bbox": [1, 2, 3]}, "it must be [left, top, width, height]"),
        ({"bbox": ["10", 20, 20, 10]}, "bbox is '10': it must be a finite number"),
        ({"category_id": 4}, "category_id 4 is the id of no category"),
        ({"category_id": True}, "category_id is True: it must be an integer"),
        ({"image_id": 9}, "image_id 9 is the id of no image"),
        ({"image_id": "1"}, "image_id is '1': it must be an integer"),
        ({"id": "101"}, "annotation '101': id is '101': it must be an integer"),
        ({"id": 102}, "annotation 102: another annotation has the same id"),
        ({"iscrowd": 2}, "iscrowd is 2: it must be 0 or 1"),
        ({"segmentation": None}, "segmentation is None"),
        ({"segmentation": []}, "segmentation is []"),
        ({"segmentation": [[1, 1, 9, 9]]}, "it must be a list x, y, x, y, … of at least 3 corners"),
        ({"segmentation": [[1, 1, 9, 9, 1e12, 5]]}, "polygon has a corner at 1000000000000.0: outside its image"),
        ({"segmentation": [[1, 1, 9, 9, float("nan"), 5]]}, "polygon has a corner at nan"),
        ({"segmentation": [[5, 5, 5, 5, 5, 5]]}, "segmentation holds no pixel"),
        ({"segmentation": {"size": [WIDTH, HEIGHT], "counts": [0]}}, "of size [64, 48]: the image has [48, 64]"),
        (
            {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [10, 20]}},
            "cover 30 pixels: the image has 48x64 = 3072",
        ),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [-8, 3080]}}, "no whole number from 0"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": None}}, "counts is None"),
        ({"segmentation": compressed("é")}, "are no compressed run lengths"),
        ({"segmentation": compressed("o" * 40)}, "are no compressed run lengths"),
        ({"segmentation": compressed("11")}, "cover 2 pixels"),
    ],
)
def test_a_bad_annotation_is_refused_by_name_or_dropped(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    document = coco_document(3)
    document["annotations"] = [annotation(102, 2), annotation(103, 3), annotation(101, 1, **changed)]
    name = f"coco:{write_coco(tmp_path, document)}"
    message = refused(name, targets="semantic")
    assert said in message
    assert "annotations/train.json: annotation" in message
    assert "1 bad entry" in message
    data = load(name, targets="semantic", data_errors="drop")
    assert sum(data.dropped.values()) == 1
    # The image of a bad object is left out; one that never had any stays.
    images = data.description()["images"]
    owner = changed.get("image_id", 1)
    assert images["train"] + images["val"] == (2 if int(owner) == 1 else 3)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"id": "1"}, "image '1': id is '1': it must be an integer"),
        ({"id": 2}, "image 2: its id is that of"),
        ({"file_name": "2.png"}, "file_name '2.png' is that of another entry too"),
        ({"file_name": "../secret.png"}, "is a place elsewhere, and no 'secret.png' lies in the data's folder"),
        ({"file_name": "/etc/passwd.png"}, "is a place elsewhere, and no 'passwd.png' lies in the data's folder"),
        ({"file_name": "notes.txt"}, "it must end with .jpg"),
        ({"file_name": 5}, "file_name is 5"),
        ({"width": 640}, "'images/3.png' is said to have 640x48, the file has 64x48 pixels"),
    ],
)
def test_a_bad_image_entry_is_refused_by_name_or_dropped(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    document = coco_document(3)
    document["images"][2].update(changed)
    document["annotations"].pop()
    name = f"coco:{write_coco(tmp_path, document)}"
    message = refused(name)
    assert said in message
    assert "annotations/train.json: image" in message
    data = load(name, data_errors="drop")
    assert sum(data.description()["images"].values()) == 2


def test_missing_unreadable_small_and_linked_images_are_named(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "data", coco_document(7))
    (root / "images/1.png").unlink()
    (root / "images/2.png").write_bytes((root / "images/2.png").read_bytes()[:900])
    write_picture(root / "images/3.png", 3, size=(64, 20))
    (root / "images/4.png").unlink()
    (root / "images/4.png").symlink_to(write_picture(tmp_path / "outside.png", 9))
    problems = check_scenes(SceneConfig(f"coco:{root}"))
    said = {problem.file: (problem.kind, problem.what) for problem in problems}
    assert said["images/1.png"] == ("missing file", "the file is missing")
    assert said["images/2.png"][0] == "unreadable image"
    assert "64x20 pixels: smaller than 32" in said["images/3.png"][1]
    assert "link out of" in said["images/4.png"][1]
    assert len(problems) == 4  # once an image, not once more for each of its objects
    message = refused(f"coco:{root}")
    assert "4 bad entries" in message
    assert "and 1 more" in message
    data = load(f"coco:{root}", data_errors="drop")
    assert data.description()["dropped"] == {
        "missing file": 2, "unreadable image": 1, "wrong image size": 1,
    }  # fmt: skip


def test_boxes_alone_need_no_segmentation(tmp_path: Path) -> None:
    document = coco_document(2)
    for entry in document["annotations"]:
        del entry["segmentation"], entry["area"]
    data = load(f"coco:{write_coco(tmp_path / 'a', document)}")
    assert data.train.areas.tolist() == [200.0]
    document["annotations"][0]["area"] = -1
    assert "area is -1: it must not be negative" in refused(f"coco:{write_coco(tmp_path / 'b', document)}")


def test_names_may_have_colons_and_folders(tmp_path: Path) -> None:
    assert len(load(f"coco:{write_coco(tmp_path, coco_document(2, 'day 1/10:30 '))}").train) == 1


def test_a_box_a_rounding_over_the_edge_is_clipped(tmp_path: Path) -> None:
    document = coco_document(2)
    for entry in document["annotations"]:
        entry["bbox"] = [-0.5, 30, 20, 18.8]
    data = load(f"coco:{write_coco(tmp_path, document)}")
    np.testing.assert_allclose(data.train.boxes, [[0, 30, 19.5, 48]])
