"""Joint augmentation: targets follow their pixels, reproducibly, and nothing outside is changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scenes_folders import coco_document, load, write_coco
from torch import Tensor
from torchvision import tv_tensors

from benchmarks.data_costs import augment_one_by_one, scenes
from trials.data import augment_scenes
from trials.data.fitting import PAD_GREY
from trials.data.scenes import Target

SIDE = 64


def squares(count: int) -> tuple[Tensor, list[Target]]:
    """Images of one bright square each on black, with its box."""
    images = torch.zeros((count, 3, SIDE, SIDE), dtype=torch.uint8)
    targets: list[Target] = []
    for number in range(count):
        left, top = 4 + number % 30, 20 + number % 7
        images[number, :, top : top + 24, left : left + 20] = 250
        box = torch.tensor([[left, top, left + 20, top + 24]], dtype=torch.float32)
        targets.append(
            {
                "image_id": number,
                "boxes": tv_tensors.BoundingBoxes(box, format="XYXY", canvas_size=(SIDE, SIDE)),
                "labels": torch.tensor([number]),
                "area": torch.tensor([480.0]),
                "iscrowd": torch.tensor([False]),
            }
        )
    return images, targets


def numbers(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("side", [33, 64, 200])
def test_the_batch_is_what_torchvision_makes_of_each_image_to_the_last_bit(side: int) -> None:
    images, targets = scenes(24, side)
    empty = {name: targets[3][name][:0] for name in ("labels", "area", "iscrowd")}
    targets[3] |= {"boxes": tv_tensors.wrap(targets[3]["boxes"][:0], like=targets[3]["boxes"]), **empty}
    expected, wanted = augment_one_by_one(images, targets, numbers(5))
    augmented, changed = augment_scenes(images, targets, numbers(5))
    assert torch.equal(augmented, expected)
    for target, reference in zip(changed, wanted, strict=True):
        assert list(target) == list(reference)
        for name in ("boxes", "labels", "area", "iscrowd"):
            assert torch.equal(target[name], reference[name]), name
            assert type(target[name]) is type(reference[name])
        assert target["boxes"].canvas_size == reference["boxes"].canvas_size == (side, side)
    assert sum(len(target["labels"]) for target in changed) < sum(len(target["labels"]) for target in targets)


def test_maps_are_what_torchvision_makes_of_each_to_the_last_bit() -> None:
    images, _ = scenes(24, SIDE)
    maps = torch.randint(0, 4, (24, SIDE, SIDE), dtype=torch.uint8, generator=numbers(1))
    targets: list[Target] = [{"image_id": place, "map": tv_tensors.Mask(each)} for place, each in enumerate(maps)]
    expected, wanted = augment_one_by_one(images, targets, numbers(5))
    augmented, changed = augment_scenes(images, targets, numbers(5))
    assert torch.equal(augmented, expected)
    assert all(torch.equal(a["map"], b["map"]) for a, b in zip(changed, wanted, strict=True))
    assert all(isinstance(target["map"], tv_tensors.Mask) for target in changed)


def test_boxes_follow_the_pixels() -> None:
    images, targets = squares(60)
    augmented, changed = augment_scenes(images, targets, numbers(0))
    seen = 0
    for image, target in zip(augmented, changed, strict=True):
        bright = (image > 160).all(dim=0)
        for box, area in zip(target["boxes"], target["area"], strict=True):
            seen += 1
            assert (box >= 0).all()
            assert (box <= SIDE).all()
            assert area == (box[2:] - box[:2]).prod()
            rows, columns = bright.any(dim=1).nonzero(), bright.any(dim=0).nonzero()
            found = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (found - box).abs().max() <= 1.5  # resizing blurs the edges
    assert 50 <= seen <= 60


def test_scenes_are_flipped_scaled_moved_and_coloured() -> None:
    images, targets = squares(1)
    augmented, changed = augment_scenes(images.expand(80, -1, -1, -1), targets * 80, numbers(1))
    boxes = torch.cat([target["boxes"].as_subclass(Tensor) for target in changed])
    whole = boxes[(boxes[:, 0] > 0) & (boxes[:, 1] > 0) & (boxes[:, 2] < SIDE) & (boxes[:, 3] < SIDE)]
    widths = whole[:, 2] - whole[:, 0]
    assert widths.min() < 13  # 20 at half size
    assert widths.max() > 25  # at one and a half
    assert whole[:, 0].std() > 8
    assert augmented.amax(dim=(1, 2, 3)).unique().numel() > 10


def test_the_result_depends_on_the_generator_and_not_on_the_rest_of_the_batch() -> None:
    images, targets = squares(6)
    state = torch.random.get_rng_state()
    first, boxes = augment_scenes(images, targets, numbers(3))
    assert torch.equal(torch.random.get_rng_state(), state)
    again, same_boxes = augment_scenes(images, targets, numbers(3))
    other, _ = augment_scenes(images, targets, numbers(4))
    head, _ = augment_scenes(images[:1], targets[:1], numbers(3))
    assert torch.equal(first, again)
    assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(boxes, same_boxes, strict=True))
    assert not torch.equal(first, other)
    assert torch.equal(head[0], first[0])


def test_what_is_given_is_left_as_it_was() -> None:
    images, targets = squares(4)
    before, boxes = images.clone(), [target["boxes"].clone() for target in targets]
    augment_scenes(images, targets, numbers(0))
    assert torch.equal(images, before)
    assert all(torch.equal(target["boxes"], box) for target, box in zip(targets, boxes, strict=True))


def test_objects_that_left_the_image_are_dropped_with_all_that_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    images, targets = squares(1)
    corner = torch.tensor([[0.0, 0.0, 3.0, 3.0]])
    targets[0] |= {
        "boxes": tv_tensors.wrap(torch.cat([corner, targets[0]["boxes"]]), like=targets[0]["boxes"]),
        "labels": torch.tensor([8, 9]),
        "area": torch.tensor([9.0, 480.0]),
        "iscrowd": torch.tensor([True, False]),
    }
    dropped = 0
    _, changed = augment_scenes(images.expand(60, -1, -1, -1), targets * 60, numbers(2))
    for target in changed:
        lengths = {len(target[name]) for name in ("boxes", "labels", "area", "iscrowd")}
        assert len(lengths) == 1
        assert all(
            int(label) == (8 if crowd else 9) for label, crowd in zip(target["labels"], target["iscrowd"], strict=True)
        )
        assert isinstance(target["boxes"], tv_tensors.BoundingBoxes)
        sides = target["boxes"][:, 2:] - target["boxes"][:, :2]
        assert (sides >= 1).all()
        dropped += 2 - lengths.pop()
    assert dropped > 5


def test_images_without_objects_and_maps_are_augmented_too(tmp_path: Path) -> None:
    document = coco_document(4)
    document["annotations"] = document["annotations"][:1]
    name = f"coco:{write_coco(tmp_path, document)}"
    data = load(name)
    _, changed = augment_scenes(*data.train.batch(range(len(data.train))), numbers(0))
    assert sum(len(target["labels"]) for target in changed) <= 1
    images, targets = load(name, targets="semantic").train.batch([0, 1])
    augmented, changed = augment_scenes(images, targets, numbers(0))
    for image, target in zip(augmented, changed, strict=True):
        assert target["map"].shape == (SIDE, SIDE)
        assert set(target["map"].unique().tolist()) <= {0, 1, 2, 255}
        padded = (target["map"] == 255) & (image.amax(dim=0) == image.amin(dim=0))
        assert padded.sum() >= 0.9 * (target["map"] == 255).sum()  # what does not count is the grey padding
    assert PAD_GREY == 114
