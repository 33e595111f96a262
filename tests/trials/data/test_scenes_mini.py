"""scenes-mini: what is composed, that it is reproducible, and that its splits share no garment."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trials.data import SceneConfig, SceneData, load_scenes
from trials.data.readers.scenes_mini import composing as mini
from trials.data.readers.scenes_mini.sprites import Sprites, cut_out

split_sprites = cache(mini.split_sprites)  # a second for each load, else


@pytest.fixture(scope="module")
def sprites() -> Sprites:
    return split_sprites("val")


@pytest.fixture(scope="module")
def scenes(sprites: Sprites) -> list[mini.Scene]:
    return [mini.compose(sprites, (0, 1, number), 128) for number in range(100)]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "SCENES", {"train": 12, "val": 3, "test": 4})
    monkeypatch.setattr(mini, "split_sprites", split_sprites)


def load(**options: object) -> SceneData:
    return load_scenes(SceneConfig(**options))  # type: ignore[arg-type]


def test_a_scene_depends_on_its_stream_alone(sprites: Sprites) -> None:
    one, same, other = (mini.compose(sprites, (0, 0, number), 128) for number in (5, 5, 6))
    np.testing.assert_array_equal(one.image, same.image)
    np.testing.assert_array_equal(one.owners, same.owners)
    assert not np.array_equal(one.image, other.image)


def test_boxes_are_tight_around_the_visible_pixels(scenes: list[mini.Scene]) -> None:
    for scene in scenes:
        for number, (left, top, right, bottom) in enumerate(scene.boxes.astype(int).tolist(), start=1):
            visible = scene.owners == number
            assert visible[top:bottom, left:right].sum() == visible.sum() > 0
            assert visible[top].any()
            assert visible[bottom - 1].any()
            assert visible[:, left].any()
            assert visible[:, right - 1].any()


def test_objects_are_8_to_64_pixels_long_and_log_uniform(scenes: list[mini.Scene]) -> None:
    longer = np.concatenate([(scene.boxes[:, 2:] - scene.boxes[:, :2]).max(axis=1) for scene in scenes])
    assert longer.max() <= 64
    # A third of the objects in each octave of 8..16..32..64: five standard deviations of a share of this many, and
    # what occlusion and the search for room take from the largest.
    shares = np.histogram(longer, bins=[0, 16, 32, 65])[0] / len(longer)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.11)


def test_objects_overlap_and_none_is_hidden_by_more_than_half(sprites: Sprites, scenes: list[mini.Scene]) -> None:
    boxes_meet = 0
    for scene in scenes:
        assert 1 <= len(scene.labels) <= 8
        for number, box in enumerate(scene.boxes):
            others = np.delete(scene.boxes, number, axis=0)
            apart = (
                (others[:, 0] >= box[2])
                | (others[:, 2] <= box[0])
                | (others[:, 1] >= box[3])
                | (others[:, 3] <= box[1])
            )
            boxes_meet += int((~apart).any())
    assert boxes_meet > 0.2 * sum(len(scene.labels) for scene in scenes)


def test_objects_are_seen_on_their_background(scenes: list[mini.Scene]) -> None:
    """The pixels of an object differ from those around its box: a scene can be solved."""
    differences = []
    for scene in scenes:
        for number in range(1, len(scene.labels) + 1):
            inside = scene.image[:, scene.owners == number].mean(axis=1)
            differences.append(np.abs(inside - scene.image[:, scene.owners == 0].mean(axis=1)).max())
    assert np.quantile(differences, 0.1) > 20  # of 255


def test_a_silhouette_has_its_dark_parts_and_no_background() -> None:
    image: NDArray[np.uint8] = np.zeros((1, 28, 28), dtype=np.uint8)
    image[0, 5:20, 8:25] = 200
    image[0, 10:15, 12:18] = 0  # dark, and not joined to the border
    sprites = cut_out(image, np.array([3]))
    assert sprites.boxes.tolist() == [[8, 5, 25, 20]]
    assert sprites.inside.sum() == 15 * 17
    assert len(cut_out(np.zeros((2, 28, 28), dtype=np.uint8), np.array([0, 1])).labels) == 0


def test_splits_share_no_garment() -> None:
    seen = [{sprite.tobytes() for sprite in split_sprites(split).grey} for split in ("train", "val", "test")]
    assert [len(each) for each in seen] >= [7000, 1500, 1500]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


@pytest.mark.usefixtures("few")
def test_both_targets_tell_of_the_same_scenes() -> None:
    boxes, semantic = (load(targets=targets) for targets in ("boxes", "semantic"))
    assert torch.equal(boxes.train.images, semantic.train.images)
    for place in range(len(boxes.train)):
        target, painted = boxes.train.target(place), semantic.train.target(place)["map"]
        assert target["area"].sum() == (painted > 0).sum()
        for label, (left, top, right, bottom) in zip(target["labels"], target["boxes"].int().tolist(), strict=True):
            assert (painted[top:bottom, left:right] == label + 1).any()
    assert semantic.categories == ("background", *boxes.categories)


@pytest.mark.usefixtures("few")
def test_the_set_is_called_derived_and_is_the_same_each_time() -> None:
    data, again = load(), load()
    assert data.title == "scenes-mini (derived)"
    assert data.description()["derived"] is True
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 12, "val": 3, "test": 4}
    assert again.fingerprint == data.fingerprint
    assert data.train.images.shape == (12, 3, 128, 128)


@pytest.mark.usefixtures("few")
def test_a_subset_lies_within_the_whole_and_layouts_hold_at_other_sizes() -> None:
    data, subset, large = load(), load(train_images=5), load(image_size=256)
    assert set(subset.train.files) < set(data.train.files)
    place = data.train.files.index(subset.train.files[0])
    assert torch.equal(subset.train.images[0], data.train.images[place])
    assert torch.equal(large.train.labels, data.train.labels)
    assert (large.train.boxes / 2 - data.train.boxes).abs().max() <= 3
