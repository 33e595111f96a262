"""Pascal VOC folders: corners, splits, difficult objects, and hostile XML."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenes_folders import load, refused, voc_object, write_voc

from trials.data import DataError, SceneConfig, check_scenes

NAMES = ["a", "b", "c", "d"]


def test_corners_are_one_based_and_inclusive(tmp_path: Path) -> None:
    data = load(f"voc:{write_voc(tmp_path, {name: voc_object() for name in NAMES})}")
    assert data.train.boxes[0].tolist() == [10, 20, 30, 30]  # columns 11 to 30, rows 21 to 30
    assert data.train.areas[0].item() == 200


def test_difficult_objects_are_crowd_regions(tmp_path: Path) -> None:
    objects = voc_object() + voc_object("cat", more="<difficult>1</difficult>")
    data = load(f"voc:{write_voc(tmp_path, dict.fromkeys(NAMES, objects))}")
    assert data.categories == ("cat", "dog")
    assert data.train.target(0)["iscrowd"].tolist() == [False, True]


def test_lists_make_the_splits(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {name: voc_object() for name in NAMES}, train=["a", "b"], val=["c"], test=["d -1"])
    data = load(f"voc:{root}")
    assert data.train.files == ("JPEGImages/a.png", "JPEGImages/b.png")
    assert data.val.files == ("JPEGImages/c.png",)
    assert data.test is not None
    assert data.test.files == ("JPEGImages/d.png",)


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><annotation><filename>&b;</filename></annotation>'
)
FOREIGN = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation><filename>&a;</filename></annotation>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotation><object>", "it is not XML, or was cut short"),
        ("", "it is not XML, or was cut short"),
        (BOMB, "it declares a document type or entities"),
        (FOREIGN, "it declares a document type or entities"),
        (f"{BOMB}".encode("utf-16"), "it declares a document type or entities"),
        ("<annotation><filename>../../a.png</filename></annotation>", "JPEGImages/e.png: the file is missing"),
        ("<annotation></annotation>", "JPEGImages/e.jpg: the file is missing"),
    ],
)
def test_a_hostile_file_is_refused_by_name_or_dropped(tmp_path: Path, text: str | bytes, said: str) -> None:
    root = write_voc(tmp_path, {name: voc_object() for name in NAMES})
    (root / "Annotations/e.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    message = refused(f"voc:{root}")
    assert said in message
    assert "e.xml" in message or "JPEGImages/e." in message
    data = load(f"voc:{root}", data_errors="drop")
    assert sum(data.description()["images"].values()) == 4
    assert sum(data.dropped.values()) == 1


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (voc_object(box=(11, 21, 10, 30)), "object 2: box [10, 20, 10, 30] (left, top, right, bottom) has no area"),
        (voc_object(box=(11, 21, 90, 30)), "reaches outside its image of 64x48"),
        (voc_object(box=("x", 21, 30, 30)), "xmin is 'x': it must be a finite number"),
        (voc_object(box=("nan", 21, 30, 30)), "xmin is 'nan': it must be a finite number"),
        (voc_object(name=""), "name is ''"),
        (voc_object(more="<difficult>2</difficult>"), "difficult is '2'"),
        ("<object><name>dog</name></object>", "xmin is '': it must be a finite number"),
    ],
)
def test_a_bad_object_is_refused_by_name_or_dropped(tmp_path: Path, bad: str, said: str) -> None:
    root = write_voc(tmp_path, {"a": voc_object() + bad, "b": voc_object(), "c": voc_object()})
    assert said in refused(f"voc:{root}")
    data = load(f"voc:{root}", data_errors="drop")
    assert data.description()["objects"] == {"train": 1, "val": 1}
    assert data.findings.left_out.examples == ("JPEGImages/a.png",)  # its good object would stand on background


def test_a_category_that_training_lacks_is_a_problem_of_its_object(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"a": voc_object(), "b": voc_object() + voc_object("horse")}, train=["a"], val=["b"])
    [problem] = check_scenes(SceneConfig(f"voc:{root}"))
    assert str(problem) == "Annotations/b.xml: object 2: category 'horse' does not occur in the training split"


def test_a_wrong_size_and_lists_of_nothing_are_said(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "a", {name: voc_object() for name in NAMES})
    path = root / "Annotations/a.xml"
    path.write_text(path.read_text().replace("<width>64", "<width>65"))
    assert "Annotations/a.xml: size: the image is said to have '65x48'" in refused(f"voc:{root}")
    listed = write_voc(tmp_path / "b", {"a": voc_object()}, train=["a", "../../a", "z"])
    assert [problem.kind for problem in check_scenes(SceneConfig(f"voc:{listed}"))] == [
        "malformed entry",
        "missing file",
    ]
    assert "no annotated image in train" in refused(f"voc:{write_voc(tmp_path / 'c', {'a': ''}, train=[])}")
    assert f"needs the folder that has all three, {tmp_path}/b" in refused(f"voc:{tmp_path}")


def test_voc_has_boxes_only() -> None:
    with pytest.raises(DataError, match="targets is 'semantic': it must be 'boxes' for voc:/x"):
        SceneConfig("voc:/x", targets="semantic")
