"""What README.md shows of detection and segmentation is run. Apart from its other commands, which take minutes too."""

from __future__ import annotations

from pathlib import Path

import pytest
from readme_parts import commands, of_scenes, run
from scenes_folder import cells

SMALL = ["--train-images", "16", "--trials", "2", "--epochs", "2", "--batch-size", "4", "--image-size", "64"]


@pytest.mark.slow
def test_the_commands_of_scenes_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_NAS_LOCKS", str(tmp_path))
    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "cache"))
    cells(tmp_path / "path/to/cells")
    tried = [command for command in commands() if of_scenes(command)]
    data = [command[command.index("--data") + 1] for command in tried]
    assert data == ["scenes-mini", "scenes-mini", "coco:path/to/cells"]
    for command in tried:
        done = run([*command, *SMALL, "--engine", "local", "--operators", "add,aff"], tmp_path)
        assert done.returncode == 0, (command, done.stderr)
        out = tmp_path / command[command.index("--out") + 1]
        assert (out / "report.html").is_file()
        assert (out / "exported" / "model.onnx").is_file()
