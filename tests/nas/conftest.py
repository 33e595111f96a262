"""What the tests of the driver's room share: small, real searches."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Ray's workers step back behind all that runs on a machine, by 15: behind the tests beside them too, for minutes.
os.environ.setdefault("RAY_worker_niceness", "0")


@pytest.fixture(autouse=True)
def own_locks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests must not wait for a search that somebody runs on this machine."""
    monkeypatch.setenv("FUSION_NAS_LOCKS", str(tmp_path_factory.mktemp("locks")))


@pytest.fixture
def tiny(tmp_path: Path) -> dict[str, Any]:
    """Settings of a search that takes a second a trial: 256 images, one epoch, in this process."""
    return {
        "space": "resnet8",
        "train_images": 256,
        "val_fraction": 0.05,
        "trials": 3,
        "engine": "local",
        "export": "none",
        "finalists": "none",
        "out": str(tmp_path / "run"),
        "training": {"epochs": 1, "batch_size": 64, "precision": "float32", "regime": "scratch"},
        "latency": {"passes": 30, "warmup": 3, "attempts": 1},
    }


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A folder in memory, where there is such a place: for searches that are a few hundred transactions and no more."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)
