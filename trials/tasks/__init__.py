"""Detection and segmentation: what a dense network is trained by, how it is trained, and how it is judged.

    network = space.build(architecture)         # of a space such as resnet8-fpn-fcos
    task = task_for(network, data)              # loss, decoding and figures: DetectionTask or SegmentationTask
    train_scenes(network, task, data, recipe, seed, machine) -> EpochPoint, …
    evaluate_scenes(network, task, data.val, data, machine) -> {"loss": …, "ap": …} or {"loss": …, "miou": …}

`import trials.tasks` is free of torch: every name is fetched from its module on first use (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trials.tasks.decoding import decoding_latency
    from trials.tasks.evaluation import evaluate_scenes
    from trials.tasks.recipe import SceneRecipe
    from trials.tasks.task import Task, task_for
    from trials.tasks.training import train_scenes

__all__ = ["SceneRecipe", "Task", "decoding_latency", "evaluate_scenes", "task_for", "train_scenes"]

_HOME = {
    "SceneRecipe": "recipe",
    "Task": "task",
    "decoding_latency": "decoding",
    "evaluate_scenes": "evaluation",
    "task_for": "task",
    "train_scenes": "training",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
