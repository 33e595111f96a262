"""The trained weights beside a record: where they are, when they were kept, and how they get there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trials.errors import StoreDamaged
from trials.record.training import Training
from trials.whole_files import write_whole

if TYPE_CHECKING:
    from torch import Tensor


def weights_path(folder: Path, number: int) -> Path:
    """Where a trial's trained weights are, when they were kept."""
    return folder / "weights" / f"trial-{number:05d}.safetensors"


def training_weights_path(folder: Path, training: Training) -> Path:
    """Where those of a training are that no trial has asked for yet, or of a finalist's."""
    kind = "final" if training.final else "training"
    return folder / "weights" / f"{kind}-{training.architecture.key}-{training.seed}-{training.epochs}.safetensors"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Those in a file that was kept. Raises StoreDamaged where it broke off or was changed."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise StoreDamaged(
            f"{path} is damaged ({' '.join(str(error).split())[:120]}): restore it from a copy, or choose another trial"
        ) from None


def write_weights(path: Path, content: bytes) -> None:
    """Whole or not at all. Raises DiskFull."""
    path.parent.mkdir(exist_ok=True)
    write_whole(path, content)
