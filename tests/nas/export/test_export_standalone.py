"""What model.py carries besides the network."""

from __future__ import annotations

import pytest
import torch

from nas.export.standalone import normalise


def test_scales_per_channel():
    images = torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1)
    assert normalise(images, (0.5, 0.0), (0.5, 2.0)).flatten().tolist() == [-1.0, 0.5]


@pytest.mark.parametrize("images", [torch.zeros(1, 1, 2, 2), torch.zeros(1, 3, 2, 2).byte(), torch.zeros(2, 2).byte()])
def test_refuses_other_images(images):
    with pytest.raises(ValueError, match="images must be uint8"):
        normalise(images, (0.5,), (0.5,))
