"""What model.py carries besides the network."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import batched_nms

from nas.export.standalone import normalise
from nas.export.standalone_detection import suppressed


@pytest.mark.parametrize("seed", range(8))
def test_what_overlaps_a_better_box_goes_as_torchvision_has_it(seed):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(300, 2, generator=generator) * 60
    boxes = torch.cat([corners, corners + 1 + torch.rand(300, 2, generator=generator) * 30], dim=1)
    scores, labels = torch.rand(300, generator=generator), torch.randint(0, 4, (300,), generator=generator)
    scores[::7] = 0.5  # equal ones keep their order
    for most in (10, 300):
        expected = batched_nms(boxes, scores, labels, 0.4)[:most]
        assert suppressed(boxes, scores, labels, 0.4, most).tolist() == expected.tolist()
    assert suppressed(boxes[:0], scores[:0], labels[:0], 0.4, 10).tolist() == []


def test_scales_per_channel():
    images = torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1)
    assert normalise(images, (0.5, 0.0), (0.5, 2.0)).flatten().tolist() == [-1.0, 0.5]


@pytest.mark.parametrize("images", [torch.zeros(1, 1, 2, 2), torch.zeros(1, 3, 2, 2).byte(), torch.zeros(2, 2).byte()])
def test_refuses_other_images(images):
    with pytest.raises(ValueError, match="images must be uint8"):
        normalise(images, (0.5,), (0.5,))
