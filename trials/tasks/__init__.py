"""What networks are for, a file each: batches, loss, evaluation and figures, as the one training loop asks for them.

    network = space.build(architecture)         # of a space such as resnet8-fpn-fcos
    task = task_for(network, data)              # ClassificationTask, DetectionTask or SegmentationTask
    evaluate(network, data.val, data, machine) -> Judgement

A task more is a file more, and a line in `trials.tasks.registry`.

`import trials.tasks` is free of torch: every name is fetched from its module on first use (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trials.tasks.decoding import decoding_latency
    from trials.tasks.evaluation import evaluate
    from trials.tasks.recipe import SceneRecipe
    from trials.tasks.task import Task, task_for

__all__ = ["SceneRecipe", "Task", "decoding_latency", "evaluate", "task_for"]

_HOME = {
    "SceneRecipe": "recipe",
    "Task": "task",
    "decoding_latency": "decoding",
    "evaluate": "evaluation",
    "task_for": "task",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
