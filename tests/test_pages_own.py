"""The commands of docs/data.md and docs/network.md: images and networks of one's own. Those of scenes run elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pages import OWN, Command, run_page

#: What `net.py:Net` stands for.
NET = """
from torchvision.models import resnet18


def Net(num_classes):
    return resnet18(num_classes=num_classes)
"""


def _more(command: Command) -> list[str]:
    more = ["--finalists", "none", "--export", "none"] if command[1] == "search" else []
    return [*more, "--train-images", "80", "--batch-size", "16"] if "folder:path/to/images" in command else more


@pytest.fixture(scope="module")
def folder_of_images(workplace: Path) -> Path:
    from PIL import Image

    generator = torch.Generator().manual_seed(0)
    for index in range(120):
        path = workplace / "path/to/images" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (40, 40, 3), generator=generator, dtype=torch.uint8).numpy()
        Image.fromarray(pixels).save(path)
    (workplace / "net.py").write_text(NET)
    return workplace


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", OWN)
def test_the_commands_of_a_page_run(folder_of_images: Path, name: str) -> None:
    run_page(Path(f"docs/{name}.md"), folder_of_images, _more)
