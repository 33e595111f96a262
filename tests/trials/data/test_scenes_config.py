"""What may be asked of the scenes, answered before anything is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trials.data import DataError, SceneConfig


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "scenes"}, "did you mean 'scenes-mini'?"),
        ({"name": "/data/cells"}, "did you mean 'coco:/data/cells'?"),
        ({"name": "coco:"}, "names no folder: write coco:FOLDER"),
        ({"name": "yolo:/data"}, "did you mean 'coco:/data'?"),
        ({"image_size": 100}, "image_size is 100: it must be a multiple of 32"),
        ({"image_size": 0}, "image_size is 0"),
        ({"val_fraction": float("nan")}, "val_fraction is nan"),
        ({"train_images": 0}, "train_images is 0"),
        ({"split_seed": -1}, "split_seed is -1"),
        ({"data_errors": "ignore"}, "data_errors is 'ignore': it must be 'refuse' or 'drop'"),
        ({"empty_images": "no"}, "empty_images is 'no': it must be 'keep' or 'refuse' or 'drop'"),
        ({"name": "masks:/data"}, "targets is 'boxes': it must be 'semantic' for masks:/data"),
    ],
)
def test_what_cannot_be_is_answered_in_one_line(options: dict[str, object], said: str) -> None:
    with pytest.raises(DataError) as error:
        SceneConfig(**options)  # type: ignore[arg-type]
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_sides_have_defaults() -> None:
    assert SceneConfig().side == 128
    assert SceneConfig("coco:/data").side == 256
    assert SceneConfig("coco:/data:with colon", image_size=320).side == 320
    assert SceneConfig("coco:/data:with colon").folder == "/data:with colon"


def test_configuration_is_checked_without_torch() -> None:
    code = "import sys, trials.data; trials.data.SceneConfig(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
