"""The public face of the data room: images with classes, boxes or maps of classes as uint8 tensors, and augmentation.

`import trials.data` is free of torch: every name is fetched from its module on first use (PEP 562), so that
configuration can be checked and `--help` printed without waiting for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trials.data.augmentation import augment, normalise
    from trials.data.config import KNOWN_DATA, KNOWN_SCENES, DataConfig, DataError, SceneConfig
    from trials.data.drawing import draw_scenes
    from trials.data.image_loading import load_data
    from trials.data.images import ImageData, Split
    from trials.data.problems import DataRefused, Problem
    from trials.data.scene_augmentation import augment_scenes
    from trials.data.scene_loading import check_scenes, load_scenes
    from trials.data.scenes import SceneData, SceneSplit

__all__ = [
    "KNOWN_DATA",
    "KNOWN_SCENES",
    "DataConfig",
    "DataError",
    "DataRefused",
    "ImageData",
    "Problem",
    "SceneConfig",
    "SceneData",
    "SceneSplit",
    "Split",
    "augment",
    "augment_scenes",
    "check_scenes",
    "draw_scenes",
    "load_data",
    "load_scenes",
    "normalise",
]

_NAMES_OF = {
    "augmentation": ("augment", "normalise"),
    "config": ("KNOWN_DATA", "KNOWN_SCENES", "DataConfig", "DataError", "SceneConfig"),
    "images": ("ImageData", "Split"),
    "drawing": ("draw_scenes",),
    "image_loading": ("load_data",),
    "problems": ("DataRefused", "Problem"),
    "scene_augmentation": ("augment_scenes",),
    "scene_loading": ("check_scenes", "load_scenes"),
    "scenes": ("SceneData", "SceneSplit"),
}
_HOME = {name: module for module, names in _NAMES_OF.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # the next look-up does not come through here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
