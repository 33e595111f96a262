"""COCO, VOC and maps as exporters really write them: read where the meaning is plain, else said; nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scenes_folders import (
    HEIGHT,
    WIDTH,
    annotation,
    coco_document,
    half_map,
    load,
    refused,
    voc_object,
    write_beside,
    write_coco,
    write_json,
    write_map,
    write_picture,
    write_voc,
)

from trials.data import SceneConfig, SceneData, check_scenes, survey
from trials.data.findings import sentences
from trials.data.folders import UNNAMED
from trials.data.orientation import turned_box


def count(data: SceneData) -> int:
    return sum(len(split) for split in data.splits.values())


# ---- annotations that are dropped


def test_an_image_with_a_bad_annotation_is_left_out_with_it_and_both_are_listed(tmp_path: Path) -> None:
    document = coco_document(6)
    for entry in document["annotations"][:3]:
        entry["image_id"] = str(entry["image_id"])
    document["annotations"] += [annotation(1, 4), annotation(2, 4, bbox=[0, 0, 0, 0])]
    data = load(f"coco:{write_coco(tmp_path, document)}", data_errors="drop")
    assert count(data) == 2
    assert sum(data.description()["images_without_objects"].values()) == 0
    findings = json.loads(json.dumps(data.description()["findings"]))
    assert findings["left_out"] == {"images": 4, "examples": [f"images/{number}.png" for number in (1, 2, 3, 4)]}
    assert findings["dropped"]["images"] == 4
    assert "annotation 101: image_id is '1': it must be an integer" in findings["dropped"]["examples"][0]
    assert "4 images are left out with a bad annotation: images/1.png, " in " ".join(sentences(findings))


def test_an_annotation_that_stands_twice_word_for_word_costs_no_image(tmp_path: Path) -> None:
    document = coco_document(3)
    document["annotations"].append(document["annotations"][0])
    data = load(f"coco:{write_coco(tmp_path, document)}", data_errors="drop")
    assert (count(data), dict(data.dropped)) == (3, {"duplicate id": 1})


def test_an_image_whose_map_is_bad_is_listed(tmp_path: Path) -> None:
    for number in range(4):
        write_picture(tmp_path / f"images/{number}.png", number)
        write_map(tmp_path / f"masks/{number}.png", half_map(1), "RGB" if number == 2 else "L")
    data = load(f"masks:{tmp_path}", targets="semantic", data_errors="drop")
    assert data.findings.left_out.examples == ("images/2.png",)


# ---- COCO


@pytest.mark.parametrize(
    ("said", "there"),
    [
        ("1.jpg", "1.png"),
        ("IMG.PNG", "img.png"),
        ("Zu\u0308rich [1] (2).png", "Zürich [1] (2).png"),
        ("day\\1.png", "day/1.png"),
        ("a%20b.png", "a b.png"),
        ("0001", "0001.png"),
        ("1.png", "deep/er/1.png"),
    ],
)
def test_a_name_that_is_spelt_otherwise_means_its_file(tmp_path: Path, said: str, there: str) -> None:
    document = coco_document(3, "n")
    root = write_coco(tmp_path, document)
    document["images"][0]["file_name"] = said
    (root / "images" / there).parent.mkdir(parents=True, exist_ok=True)
    (root / "images/n1.png").rename(root / "images" / there)
    (root / "annotations/train.json").write_text(json.dumps(document), encoding="utf-8-sig")
    data = load(f"coco:{root}")
    assert f"images/{there}" in {file for split in data.splits.values() for file in split.files}
    assert data.findings.not_read == {}


@pytest.mark.parametrize(
    ("said", "there"),
    [
        ("/home/ann/work/cats/images/1.png", "images/1.png"),
        ("/home/ann/work/cats/day/1.png", "images/day/1.png"),
        (r"C:\Users\Ann\cats\1.png", "images/1.png"),
        (r"\\server\share\cats\1.jpg", "images/1.png"),
        ("file:///home/ann/a%20cat.png", "images/a cat.png"),
        ("../../label-studio/data/media/upload/1/1.png", "images/1.png"),
        ("https://storage.example.org/cats/day/1.png?Expires=17&Signature=a%2Fb.png", "images/day/1.png"),
        ("https://labels.example.org/data/local-files/?d=cats/day/1.png", "images/day/1.png"),
        ("/data/local-files/?d=cats%5Cday%5C1.png", "images/day/1.png"),
        ("s3://cats/1.png", "deep/er/1.png"),
        ("/home/ann/what?#.png", "images/what?#.png"),
    ],
)
def test_a_name_that_leads_elsewhere_means_the_file_beside_the_annotations(
    tmp_path: Path, said: str, there: str
) -> None:
    document = coco_document(3, "n")
    root = write_coco(tmp_path, document)
    document["images"][0]["file_name"] = said
    (root / there).parent.mkdir(parents=True, exist_ok=True)
    (root / "images/n1.png").rename(root / there)
    write_json(root / "annotations/train.json", document)
    data = load(f"coco:{root}")
    assert there in {file for split in data.splits.values() for file in split.files}
    assert data.findings.not_read == {}
    assert f"{said} is {there}" in " ".join(data.findings.remarks)


def test_of_two_files_the_one_is_meant_that_has_more_of_the_path(tmp_path: Path) -> None:
    document = coco_document(3, "n")
    root = write_coco(tmp_path, document)
    for folder in ("day", "night"):
        write_picture(root / f"images/{folder}/1.png", len(folder))
    document["images"][0]["file_name"] = "/home/ann/night/1.png"
    write_json(root / "annotations/train.json", document)
    assert "images/night/1.png" in {file for split in load(f"coco:{root}").splits.values() for file in split.files}
    document["images"][0]["file_name"] = "/home/ann/1.png"
    write_json(root / "annotations/train.json", document)
    assert "may mean images/day/1.png or images/night/1.png: write it relative" in refused(f"coco:{root}")


def test_two_names_that_lead_elsewhere_to_one_file_are_both_refused(tmp_path: Path) -> None:
    document = coco_document(4)
    for place in (0, 1):
        document["images"][place]["file_name"] = f"/home/ann/{'ab'[place]}/1.png"
    root = write_coco(tmp_path, document)
    write_picture(root / "images/1.png", 77)
    message = refused(f"coco:{root}")
    assert (
        "image 2: file_name '/home/ann/b/1.png' and that of image 1, '/home/ann/a/1.png', mean images/1.png" in message
    )
    data = load(f"coco:{root}", data_errors="drop")
    assert {file for split in data.splits.values() for file in split.files} == {"images/3.png", "images/4.png"}


def test_a_name_that_leads_elsewhere_never_means_another_splits_image_or_one_outside(tmp_path: Path) -> None:
    for split in ("train", "val"):
        document = coco_document(3)
        for entry in document["images"]:
            entry["file_name"] = f"{tmp_path}/outside/{entry['file_name']}"
        write_json(tmp_path / f"data/annotations/{split}.json", document)
        for number in (1, 2, 3) if split == "train" else (1, 2):
            write_picture(tmp_path / f"data/{split}/{number}.png", number + len(split))
    write_picture(tmp_path / "outside/3.png", 9)
    [problem] = check_scenes(SceneConfig(f"coco:{tmp_path}/data"))
    assert (problem.file, problem.entry) == ("annotations/val.json", "image 3")
    assert problem.what.endswith("and no '3.png' lies in the data's folder: copy the image there, nothing is fetched")


def test_a_missing_image_is_never_taken_from_another_split(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / f"annotations/{split}.json").write_text(json.dumps(coco_document(3)))
        for number in (1, 2, 3) if split == "train" else (1, 2):
            write_picture(tmp_path / f"{split}/{number}.png", number + len(split))
    [problem] = check_scenes(SceneConfig(f"coco:{tmp_path}"))
    assert str(problem) == "val/3.png: the file is missing"


@pytest.mark.parametrize(
    "changed",
    [{"width": 64.0, "height": "48.0"}, {"width": 0, "height": 0}, {"width": None}, {"id": 1.0}],
)
def test_sizes_and_ids_are_read_as_they_are_meant(tmp_path: Path, changed: dict[str, Any]) -> None:
    document = coco_document(3)
    document["images"][0].update(changed)
    document["annotations"][0].update(iscrowd=False, image_id=1.0, category_id=7.0)
    assert count(load(f"coco:{write_coco(tmp_path, document)}")) == 3


@pytest.mark.parametrize("name", ["instances_Train.json", "annotations_training.json", "train_annotations.json"])
def test_files_of_annotations_are_found_as_they_are_called(tmp_path: Path, name: str) -> None:
    root = write_coco(tmp_path, coco_document(3))
    (root / "annotations/train.json").rename(root / "annotations" / name)
    (root / "annotations/._train.json").write_bytes(b"\0\5\x16\7")
    (root / "annotations/captions_train.json").write_text("{}")
    assert count(load(f"coco:{root}")) == 3


def test_areas_that_cannot_be_are_those_of_the_boxes_and_said(tmp_path: Path) -> None:
    document = coco_document(4)
    for entry, area in zip(document["annotations"], (0, 1.0, 200, 307_200), strict=True):
        entry["area"] = area
    data = load(f"coco:{write_coco(tmp_path, document)}")
    assert {area for split in data.splits.values() for area in split.areas.tolist()} == {200.0}
    assert data.findings.areas.images == 3
    assert "3 annotations have an area that cannot be its object's" in " ".join(sentences(data.findings.to_json()))


def test_more_categories_than_a_map_holds_are_refused(tmp_path: Path) -> None:
    document = coco_document(3)
    document["categories"] = [{"id": 7 * number, "name": f"c{number}"} for number in range(1, 256)]
    name = f"coco:{write_coco(tmp_path, document)}"
    assert "256 classes, background included: maps of classes hold 255 at most" in refused(name, targets="semantic")
    assert load(name).train.labels.tolist() == [0] * 2


def test_images_that_no_annotation_names_are_counted(tmp_path: Path) -> None:
    root = write_coco(tmp_path, coco_document(3))
    write_picture(root / "images/new.png", 9)
    (root / "images/loop").symlink_to(root)
    data = load(f"coco:{root}")
    assert data.findings.not_read[UNNAMED].examples == ("images/new.png",)
    assert load(f"coco:{root}").fingerprint == data.fingerprint


def test_test_images_without_annotations_are_left_out(tmp_path: Path) -> None:
    root = write_coco(tmp_path, coco_document(3))
    document = coco_document(2, "t")
    del document["annotations"]
    write_coco(root, document, "test", seed=4)
    data = load(f"coco:{root}")
    assert (data.test, data.findings.not_read[UNNAMED].images) == (None, 2)


def test_what_could_not_be_read_once_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"coco:{write_coco(tmp_path, coco_document(3))}"
    real = survey._inspect

    def failing(path: Path, is_map: bool) -> survey.Picture:
        if path.name == "2.png":
            raise survey.BadEntry("Input/output error", survey.UNREADABLE)
        return real(path, is_map)

    with monkeypatch.context() as patch:
        patch.setattr(survey, "_inspect", failing)
        assert count(load(name, data_errors="drop")) == 2
    assert count(load(name)) == 3


# ---- VOC


def test_lists_hold_names_with_spaces_and_marks(tmp_path: Path) -> None:
    names = ["my dog 1", "b [2] (x)", "Zürich", "d"]
    root = write_voc(tmp_path, {name: voc_object() for name in names}, train=names)
    text = "\ufeffmy dog 1\r\nb [2] (x)  1\r\nZürich.png\r\nd -1\r\n"
    (root / "ImageSets/Main/train.txt").write_bytes(text.encode())
    (root / "ImageSets/Main/train.txt").rename(root / "ImageSets/Main/trainval.txt")
    assert count(load(f"voc:{root}")) == 4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<width>64<", "<width>64.0<"),
        ("<width>64<", "<width>0<"),
        ("<xmin>11<", "<xmin> 11.0 <"),
        ("<object>", "<object><difficult>Unspecified</difficult>"),
        ("<object>", "<object><difficult>False</difficult>"),
        ("a.png", "a.jpg"),
        ("<filename>a.png</filename>", ""),
        ("<annotation>", "\ufeff<annotation>"),
        ("<annotation>", '\n <?xml version="1.0"?><annotation>'),
        ("<annotation>", '<?xml version="1.0" encoding="GBK"?><annotation>'),
    ],
)
def test_xml_is_read_as_it_is_meant(tmp_path: Path, old: str, new: str) -> None:
    root = write_voc(tmp_path, {name: voc_object() for name in "abcd"})
    expected = load(f"voc:{root}").fingerprint
    path = root / "Annotations/a.xml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    (root / "Annotations/._a.xml").write_bytes(b"\0\5\x16\7")
    assert load(f"voc:{root}").fingerprint == expected


def test_true_is_difficult(tmp_path: Path) -> None:
    data = load(f"voc:{write_voc(tmp_path, dict.fromkeys('abc', voc_object(more='<difficult>True</difficult>')))}")
    assert data.train.crowd.tolist() == [True, True]


def test_xml_beside_images_is_read_and_cut_as_usual(tmp_path: Path) -> None:
    root = write_beside(tmp_path, {name: voc_object(name) for name in ("ant", "bee", "cat", "dog")})
    (root / "scan.png.aux.xml").write_text("<PAMDataset/>")
    data = load(f"voc:{root}", val_fraction=0.25)
    assert (len(data.train), len(data.val), data.test) == (3, 1, None)
    assert {*data.train.files, *data.val.files} == {"ant.png", "bee.png", "cat.png", "dog.png"}
    assert data.train.boxes[0].tolist() == [10, 20, 30, 30]
    assert data.findings.not_read["ending .xml"].examples == ("scan.png.aux.xml",)


def test_folders_of_splits_with_xml_beside_images_are_splits(tmp_path: Path) -> None:
    """As Roboflow exports Pascal VOC: the same names in each split."""
    for seed, (split, count) in enumerate((("train", 3), ("valid", 2), ("test", 1))):
        write_beside(tmp_path / split, {f"{number}": voc_object() for number in range(count)}, seed)
    (tmp_path / "README.roboflow.txt").write_text("exported")
    data = load(f"voc:{tmp_path}")
    assert {name: split.files for name, split in data.splits.items()} == {
        "train": ("train/0.png", "train/1.png", "train/2.png"),
        "val": ("valid/0.png", "valid/1.png"),
        "test": ("test/0.png",),
    }


def test_xml_in_a_folder_beside_that_of_the_images(tmp_path: Path) -> None:
    for split in ("train", "val"):
        names = [f"{split}{number}" for number in range(2)]
        write_beside(tmp_path / "images" / split, dict.fromkeys(names, voc_object()), len(split))
        (tmp_path / "annotations" / split).mkdir(parents=True)
        for name in names:
            (tmp_path / f"images/{split}/{name}.xml").rename(tmp_path / f"annotations/{split}/{name}.xml")
    data = load(f"voc:{tmp_path}")
    assert data.train.files == ("images/train/train0.png", "images/train/train1.png")
    assert data.val.files == ("images/val/val0.png", "images/val/val1.png")


def test_what_is_not_plain_beside_images_is_refused_by_name(tmp_path: Path) -> None:
    assert "or NAME.xml beside each image" in refused(f"voc:{tmp_path}")
    write_beside(tmp_path / "valid", {"a": voc_object()})
    assert "has valid/a.xml but no XML files in train" in refused(f"voc:{tmp_path}")
    write_beside(tmp_path / "train", {name: voc_object() for name in "bcd"}, 1)
    write_beside(tmp_path, {"e": voc_object()}, 2)
    assert "has e.xml outside the folders of its splits: move it" in refused(f"voc:{tmp_path}")
    (tmp_path / "e.xml").rename(tmp_path / "train/e.xml")
    (tmp_path / "e.png").unlink()
    assert "train/e.png: the file is missing" in refused(f"voc:{tmp_path}")
    assert count(load(f"voc:{tmp_path}", data_errors="drop")) == 4


# ---- photographs that are turned


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("as_seen", [True, False])
def test_boxes_and_masks_turn_with_their_image(tmp_path: Path, orientation: int, as_seen: bool) -> None:
    """A bright object stays under its box and its mask, whether annotations are of the file's pixels or as seen."""
    box = (10, 20, 30, 30)
    document = coco_document(3)
    root = write_coco(tmp_path, document)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    for place, entry in enumerate(document["images"]):
        pixels[0, 0] = place  # else all three are one image
        Image.fromarray(pixels).save(root / "images" / entry["file_name"], exif=exif)
        if as_seen and orientation > 4:
            entry["width"], entry["height"] = HEIGHT, WIDTH
            left, top, right, bottom = map(int, turned_box(box, HEIGHT, WIDTH, orientation))
            polygon = [[left, top, right, top, right, bottom, left, bottom]]
            document["annotations"][place].update(bbox=[left, top, right - left, bottom - top], segmentation=polygon)
    (root / "annotations/train.json").write_text(json.dumps(document))
    data = load(f"coco:{root}")
    left, top, right, bottom = map(int, data.train.boxes[0].tolist())
    assert data.train.images[0, 0, top:bottom, left:right].float().mean() > 250
    assert data.train.sizes[0].tolist() == ([HEIGHT, WIDTH] if orientation < 5 else [WIDTH, HEIGHT])
    assert data.findings.turned.images == 3
    painted = load(f"coco:{root}", targets="semantic").train
    assert painted.maps is not None
    assert ((painted.maps[0] == 2) == (painted.images[0, 0] > 128)).float().mean() > 0.99


def test_maps_turn_with_their_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    values = half_map(1)
    for number in range(4):
        pixels = np.stack([values * 255] * 3, axis=2)
        pixels[0, 0] = number
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"images/{number}.png", exif=exif)
        write_map(tmp_path / f"masks/{number}.png", values if number % 2 else np.rot90(values, 3))
    data = load(f"masks:{tmp_path}", targets="semantic")
    for split in data.splits.values():
        assert split.maps is not None
        assert ((split.maps == 1) == (split.images[:, 0] > 200)).float().mean() > 0.99


# ---- maps


def maps(root: Path, *values: int) -> SceneData:
    for number in range(4):
        drawn = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        for place, value in enumerate(values):
            drawn[10 * place : 10 * place + 10] = value
        write_picture(root / f"images/{number}.png", number)
        write_map(root / f"masks/{number}.png", drawn)
    return load(f"masks:{root}", targets="semantic")


def test_grey_levels_as_classes_are_said(tmp_path: Path) -> None:
    data = maps(tmp_path, 0, 128, 255)
    assert len(data.categories) == 129
    assert data.findings.remarks == (
        "127 of 129 classes occur in no training map: the maps hold 0, 128 alone, and 255, which is read as pixels to "
        "ignore; these look like grey levels of 3 classes: number them 0 to 2",
    )


def test_blank_maps_are_said(tmp_path: Path) -> None:
    [said] = maps(tmp_path, 0).findings.remarks
    assert said == "all train maps show 'class 0' alone: whatever says so everywhere is right in every pixel"
    write_map(tmp_path / "masks/0.png", half_map(1))
    assert "3 of 4 train maps show 'class 0' alone" in load(f"masks:{tmp_path}", targets="semantic").findings.remarks


def test_a_strange_value_beside_0_and_255_is_no_background(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        for number in range(2):
            write_picture(tmp_path / split / f"images/{number}.png", number + len(split))
            write_map(tmp_path / split / f"masks/{number}.png", half_map(255 if split == "train" else 1))
    assert "the map holds value 1: the training maps hold 0 and 255 alone" in refused(
        f"masks:{tmp_path}", targets="semantic"
    )


def test_pairs_in_folders_within_are_read(tmp_path: Path) -> None:
    for town in ("aachen", "bonn"):
        for number in range(2):
            write_picture(tmp_path / f"images/{town}/{number}.jpg", number + len(town))
            write_map(tmp_path / f"masks/{town}/{number}.gif", half_map(1))
    assert count(load(f"masks:{tmp_path}", targets="semantic")) == 4
