"""The trained weights beside a record: where they are, when they were kept, and how they get there."""

from __future__ import annotations

import os
from pathlib import Path

from trials.record.training import Training


def weights_path(folder: Path, number: int) -> Path:
    """Where a trial's trained weights are, when they were kept."""
    return folder / "weights" / f"trial-{number:05d}.safetensors"


def training_weights_path(folder: Path, training: Training) -> Path:
    """Where those of a training are that no trial has asked for yet."""
    return folder / "weights" / f"training-{training.architecture.key}-{training.seed}-{training.epochs}.safetensors"


def write_weights(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)
