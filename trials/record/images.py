"""What a network makes of single images, in a file of its own beside a record."""

from __future__ import annotations

from pathlib import Path

from trials.errors import StoreDamaged
from trials.readings import Images
from trials.record.training import Training
from trials.whole_files import write_whole


def final_images_path(folder: Path, training: Training) -> Path:
    """Where it is kept what a finalist's training made of the test images."""
    key, seed, epochs, start = training.identity
    return folder / "finals" / f"{key}-{seed}-{epochs}-{start.replace(':', '-')}.npz"


def write_images(path: Path, images: Images) -> None:
    """Whole or not at all. Raises DiskFull."""
    path.parent.mkdir(exist_ok=True)
    write_whole(path, images.to_bytes())


def read_images(path: Path) -> Images:
    """Raises StoreDamaged where the file broke off or was changed."""
    try:
        return Images.from_bytes(path.read_bytes())
    except ValueError as error:
        raise StoreDamaged(f"{path} is damaged ({error}): restore it from a copy, or remove it") from None
