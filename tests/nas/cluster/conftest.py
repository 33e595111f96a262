"""What the tests of clusters share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture
def noise_images(tmp_path: Path) -> Path:
    """A folder of two classes of noise, 60 images 32 pixels wide."""
    from PIL import Image

    folder = tmp_path / "images"
    generator = torch.Generator().manual_seed(0)
    for index in range(60):
        path = folder / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (32, 32, 3), generator=generator, dtype=torch.uint8).numpy()
        Image.fromarray(pixels).save(path)
    return folder
