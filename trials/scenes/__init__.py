"""The public face of the scenes: images with boxes, instance masks or maps of classes, for detection and segmentation.

`import trials.scenes` is free of torch: every name is fetched from its module on first use (PEP 562), so that
configuration can be checked without waiting for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trials.scenes.augmentation import augment_scenes
    from trials.scenes.config import KNOWN_SCENES, SceneConfig
    from trials.scenes.containers import SceneData, SceneSplit
    from trials.scenes.drawing import draw_scenes
    from trials.scenes.loading import check_scenes, load_scenes
    from trials.scenes.problems import Problem, ScenesRefused

__all__ = [
    "KNOWN_SCENES",
    "Problem",
    "SceneConfig",
    "SceneData",
    "SceneSplit",
    "ScenesRefused",
    "augment_scenes",
    "check_scenes",
    "draw_scenes",
    "load_scenes",
]

_HOME = {
    "KNOWN_SCENES": "config",
    "Problem": "problems",
    "SceneConfig": "config",
    "SceneData": "containers",
    "SceneSplit": "containers",
    "ScenesRefused": "problems",
    "augment_scenes": "augmentation",
    "check_scenes": "loading",
    "draw_scenes": "drawing",
    "load_scenes": "loading",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # the next look-up does not come through here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
