"""How well a network's word on one scene agrees with what is there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trials.tasks.agreement import agreement

A, B, FAR = [0.0, 0, 10, 10], [20.0, 0, 30, 10], [50.0, 50, 60, 60]
HALF = [0.0, 0, 10, 5]  # overlaps A by a half, exactly


def scene(boxes: list[list[float]], labels: list[int], crowd: tuple[bool, ...] | None = None) -> dict[str, Any]:
    return {
        "boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.tensor(labels, dtype=torch.long),
        "iscrowd": torch.tensor(crowd or (False,) * len(labels), dtype=torch.bool),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("found", "there", "expected"),
    [
        (scene([], []), scene([], []), 1.0),
        (scene([A], [1]), scene([A], [1]), 1.0),
        (scene([HALF], [1]), scene([A], [1]), 1.0),
        (scene([A], [0]), scene([A], [1]), 0.0),  # another category
        (scene([FAR], [1]), scene([A], [1]), 0.0),
        (scene([], []), scene([A, B], [1, 1]), 0.0),
        (scene([A], [1]), scene([], []), 0.0),
        (scene([A], [1]), scene([A, B], [1, 1]), 2 / 3),  # one of two
        (scene([A, A], [1, 1]), scene([A], [1]), 2 / 3),  # an object is found once
        (scene([A, B], [1, 2]), scene([B, A], [2, 1]), 1.0),  # in any order
        (scene([A], [1]), scene([A, B], [1, 1], (False, True)), 1.0),  # a crowd is nothing to be found
    ],
)
def test_boxes_agree_by_the_f1_score(found: dict[str, Any], there: dict[str, Any], expected: float) -> None:
    assert agreement(found, there) == pytest.approx(expected)


def test_of_two_objects_a_box_finds_the_one_that_it_overlaps_most() -> None:
    near = [1.0, 0, 11, 10]
    assert agreement(scene([near, A], [1, 1]), scene([A, near], [1, 1])) == 1.0


def test_maps_agree_by_the_share_of_pixels_of_a_class() -> None:
    there = torch.tensor([[0, 1], [255, 1]], dtype=torch.uint8)
    found = torch.tensor([[0, 1], [1, 0]], dtype=torch.uint8)
    assert agreement({"map": found}, {"map": there}) == pytest.approx(2 / 3)
    nothing = torch.full((2, 2), 255, dtype=torch.uint8)
    assert agreement({"map": found}, {"map": nothing}) == 1.0
