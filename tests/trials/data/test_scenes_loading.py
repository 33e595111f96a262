"""From folders to splits: the cut, subsets, overlap, policies, the cache, and what the record is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from scenes_folders import annotation, coco_document, load, refused, write_coco, write_picture

from trials.data import DataRefused, SceneConfig, check_scenes, checking, fitting, survey
from trials.data.findings import sentences
from trials.data.splitting import cut_by_content, subset_by_content


def test_the_cut_is_disjoint_reproducible_and_of_the_asked_size(tmp_path: Path) -> None:
    name = f"coco:{write_coco(tmp_path, coco_document(10))}"
    data, again, other = load(name), load(name), load(name, split_seed=1)
    assert (len(data.train), len(data.val)) == (8, 2)
    assert not set(data.train.files) & set(data.val.files)
    assert (again.fingerprint, again.train.files) == (data.fingerprint, data.train.files)
    assert other.val.files != data.val.files
    assert other.fingerprint != data.fingerprint


def test_copies_of_an_image_stay_on_one_side() -> None:
    digests = [f"image {number % 10}" for number in range(30)]
    train, val = cut_by_content(digests, 0.3, seed=0)
    assert len(val) == 9
    assert not {digests[place] for place in train} & {digests[place] for place in val}


def test_the_cut_does_not_depend_on_order_or_on_further_images() -> None:
    digests = [f"image {number}" for number in range(40)]
    _, val = cut_by_content(digests, 0.25, seed=3)
    _, mirrored = cut_by_content(digests[::-1], 0.25, seed=3)
    assert {digests[place] for place in val} == {digests[::-1][place] for place in mirrored}
    more = [*digests, *(f"new {number}" for number in range(4))]
    _, later = cut_by_content(more, 0.25, seed=3)
    held, moved = {digests[place] for place in val}, {more[place] for place in later}
    assert len({digest for digest in moved - held if digest in digests}) <= 1  # 11 of 44 instead of 10 of 40


def test_subsets_nest() -> None:
    digests = [f"image {number}" for number in range(30)]
    small, large = subset_by_content(digests, 5, 0), subset_by_content(digests, 12, 0)
    assert len(small) == 5
    assert set(small.tolist()) < set(large.tolist())


def test_more_images_than_there_are_and_one_image_alone_are_refused(tmp_path: Path) -> None:
    name = f"coco:{write_coco(tmp_path / 'a', coco_document(5))}"
    assert "train_images is 5, but the training split has 4 images" in refused(name, train_images=5)
    assert len(load(name, train_images=3).train) == 3
    assert "not two different training images" in refused(f"coco:{write_coco(tmp_path / 'b', coco_document(1))}")


def test_an_image_in_two_splits_is_found_and_said_as_that_of_image_folders_is(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_document(4, "train"))
    write_coco(tmp_path, coco_document(2, "val"), "val", seed=1)
    write_coco(tmp_path, coco_document(2, "test"), "test", seed=2)
    (tmp_path / "images/train3.png").write_bytes((tmp_path / "images/test1.png").read_bytes())
    data = load(f"coco:{tmp_path}")
    assert [len(split) for split in data.splits.values()] == [4, 2, 2]
    assert sentences(data.description()["findings"]) == [
        "1 test image is a training image too: images/test1.png = images/train3.png"
    ]
    assert load(f"coco:{tmp_path}", data_errors="drop").fingerprint == data.fingerprint


def test_images_without_objects_are_kept_refused_or_dropped(tmp_path: Path) -> None:
    document = coco_document(6)
    document["annotations"] = document["annotations"][:4]
    name = f"coco:{write_coco(tmp_path, document)}"
    assert [problem.kind for problem in check_scenes(SceneConfig(name))] == ["image without objects"] * 2
    described = load(name).description()
    assert sum(described["images_without_objects"].values()) == 2
    assert sum(described["images"].values()) == 6
    assert "image without objects 2" in refused(name, empty_images="refuse")
    dropped = load(name, empty_images="drop").description()
    assert sum(dropped["images"].values()) == 4
    assert dropped["dropped"] == {"image without objects": 2}


def test_a_refusal_has_all_problems_and_its_message_a_few(tmp_path: Path) -> None:
    document = coco_document(8)
    for entry in document["annotations"]:
        entry["bbox"] = [0, 0, 0, 0]
    with pytest.raises(DataRefused) as refusal:
        load(f"coco:{write_coco(tmp_path, document)}")
    assert len(refusal.value.problems) == 8
    assert refusal.value.exit_code == 2
    assert "8 bad entries (box without area 8)" in str(refusal.value)
    assert "and 5 more" in str(refusal.value)
    assert "train has no image left" in refused(f"coco:{tmp_path}", data_errors="drop")


def test_a_folder_is_decoded_once_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"coco:{write_coco(tmp_path, coco_document(4))}"
    first = load(name, targets="semantic")
    looked, decoded = [], []
    real_look, real_fit = survey._inspect, fitting.decode_fitted
    monkeypatch.setattr(survey, "_inspect", lambda *given: looked.append(given) or real_look(*given))
    monkeypatch.setattr(fitting, "decode_fitted", lambda *given: decoded.append(given) or real_fit(*given))
    assert load(name, targets="semantic").fingerprint == first.fingerprint
    assert not looked
    assert not decoded
    os.utime(write_picture(tmp_path / "images/1.png", seed=99), ns=(1, 1))
    assert load(name, targets="semantic").fingerprint != first.fingerprint
    assert len(looked) == 4
    assert decoded


def test_a_damaged_entry_of_the_cache_is_made_again(tmp_path: Path, cache_folder: Path) -> None:
    name = f"coco:{write_coco(tmp_path, coco_document(4))}"
    first = load(name, targets="semantic")
    damaged = [path for path in cache_folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert {path.name for path in damaged} >= {"train_boxes.npy", "notes.json", "images.npy", "maps.npy"}
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-3])
    assert load(name, targets="semantic").fingerprint == first.fingerprint


def test_nothing_half_written_is_left_after_a_failure(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"coco:{write_coco(tmp_path, coco_document(4))}"

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checking, "_put", fail)
    with pytest.raises(KeyboardInterrupt):
        load(name)
    assert [path for path in cache_folder.iterdir() if path.suffix != ".lock"] == []


def test_the_description_is_json_and_counts_what_there_is(tmp_path: Path) -> None:
    document = coco_document(5)
    document["annotations"].append(annotation(1, 2, iscrowd=1))
    described = load(f"coco:{write_coco(tmp_path, document)}").description()
    findings = described.pop("findings")
    assert json.loads(json.dumps(described)) == described
    assert sentences(json.loads(json.dumps(findings))) == []
    assert described["images"] == {"train": 4, "val": 1}
    assert sum(described["objects"].values()) == 6
    assert sum(described["crowds"].values()) == 1
    assert described["derived"] is False


def test_what_is_hard_to_learn_is_said(tmp_path: Path) -> None:
    document = coco_document(5)
    document["annotations"][0]["bbox"] = [1, 1, 1.5, 9]
    said: list[str] = []
    load(f"coco:{write_coco(tmp_path, document)}", said)
    assert any("1 of " in line and "narrower than 2 pixels at image_size 64" in line for line in said)
    assert any("has no object of cat" in line for line in said)


def test_a_split_moves_as_a_whole(tmp_path: Path) -> None:
    split = load(f"coco:{write_coco(tmp_path, coco_document(3))}").train
    moved = split.to("meta")
    assert {moved.images.device.type, moved.boxes.device.type, moved.labels.device.type} == {"meta"}
    assert moved.first.device.type == "cpu"  # looked up on the host for every image
    assert torch.equal(split.to("cpu").boxes, split.boxes)


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"coco:{write_coco(tmp_path / 'data', coco_document(3))}"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "file"))
    assert "FUSION_NAS_CACHE" in refused(name)
