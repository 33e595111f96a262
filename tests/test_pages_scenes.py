"""What the pages show of detection and segmentation is run. Apart from their other commands, which take minutes too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pages import PAGES, block, commands, of_scenes, run
from scenes_folder import cells

SMALL = ["--train-images", "16", "--trials", "2", "--epochs", "2", "--batch-size", "4", "--image-size", "64"]
TRIED = [command for page in PAGES for command in commands(page) if of_scenes(command)]


@pytest.mark.slow
def test_the_commands_of_scenes_run(workplace: Path) -> None:
    cells(workplace / "path/to/cells")
    data = [command[command.index("--data") + 1] for command in TRIED]
    assert data == ["scenes-mini", "scenes-mini", "coco:path/to/cells"]
    for command in TRIED:
        done = run(command, workplace, *SMALL, "--engine", "local", "--operators", "add,aff")
        assert done.returncode == 0, (command, done.stderr)
        out = workplace / command[command.index("--out") + 1]
        assert (out / "report.html").is_file()
        assert (out / "exported" / "model.onnx").is_file()


@pytest.mark.slow
def test_a_detector_is_trained_judged_and_exported(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    code = block(Path("docs/data.md"), "SceneRecipe(epochs=4)")
    small = code.replace('"scenes-mini"', '"scenes-mini", train_images=32').replace("epochs=4", "epochs=1")
    names: dict[str, Any] = {}
    exec(compile(small, "docs/data.md", "exec"), names)
    assert "'Trouser'" in capsys.readouterr().out
    assert names["found"].images == 400
    exec(compile(block(Path("docs/export.md"), "export_network"), "docs/export.md", "exec"), names)
    assert (workplace / "exported-detector/model.onnx").exists()
    assert "'model.onnx'" in capsys.readouterr().out
