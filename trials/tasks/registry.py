"""The tasks that there are, by name: one line here and one file that holds the task. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TaskEntry:
    """A task as it is known before anything is loaded.

    home: `module:class` of its `Task`. targets: what its data are loaded with, its own first. figures: of quality, each
    a share 0..1 of the validation split that is better when higher; the first leads: a trial's score.
    heads: endings of the spaces that are for it, the usual one first; none for classifiers, which end in a layer.
    by_category: the figure that is told for each category, where there is one.
    """

    home: str
    targets: tuple[str, ...]
    figures: tuple[str, ...]
    heads: tuple[str, ...] = ()
    by_category: str | None = None


_AVERAGE_PRECISION = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
                      "ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large")  # fmt: skip

TASKS: Mapping[str, TaskEntry] = {
    "classification": TaskEntry("trials.tasks.classification:ClassificationTask", ("class",), ("accuracy",)),
    "detection": TaskEntry("trials.tasks.detection:DetectionTask", ("boxes", "instances"), _AVERAGE_PRECISION,
                           ("fcos", "retinanet"), "ap_by_category"),
    "segmentation": TaskEntry("trials.tasks.segmentation:SegmentationTask", ("semantic",), ("miou", "pixel_accuracy"),
                              ("semantic",), "iou_by_category"),
}  # fmt: skip


def task_with(targets: str) -> str:
    """The name of the task whose data are loaded with these targets."""
    return next(name for name, entry in TASKS.items() if targets in entry.targets)
