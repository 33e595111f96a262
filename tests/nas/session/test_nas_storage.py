"""`--storage` through whole searches."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.settings.errors import ConfigError


def test_a_run_on_a_new_disk_has_its_weights_again(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny |= {"train_images": 128, "trials": 2, "storage": str(tmp_path / "elsewhere")}
    weights = nas.search(**tiny).path / "weights"
    kept = {path.name: path.read_bytes() for path in weights.iterdir()}
    (there,) = (tmp_path / "elsewhere").iterdir()
    assert {path.name: path.read_bytes() for path in there.iterdir()} == kept
    shutil.rmtree(weights)
    nas.search(**tiny | {"trials": 3}, extend=True)
    assert kept.items() < {path.name: path.read_bytes() for path in weights.iterdir()}.items()
    assert len(list(there.iterdir())) == 3


def test_a_complete_run_on_a_new_disk_has_its_weights_again(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny |= {"train_images": 128, "trials": 2, "storage": str(tmp_path / "elsewhere")}
    weights = nas.search(**tiny).path / "weights"
    kept = {path.name: path.read_bytes() for path in weights.iterdir()}
    shutil.rmtree(weights)
    nas.search(**tiny)
    there = {path.name: path.read_bytes() for path in weights.iterdir()}
    assert "trial-00000.safetensors" in there
    assert there.items() <= kept.items()


def test_no_place_is_refused(tiny: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="storage"):
        nas.search(**tiny | {"storage": " "})
