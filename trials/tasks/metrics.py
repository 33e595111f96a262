"""The figures of quality of each task, all of them better when higher: what a search maximises, or demands."""

from __future__ import annotations

from typing import Literal, get_args

Task = Literal["classification", "detection", "segmentation"]
TASKS: tuple[Task, ...] = get_args(Task)

#: By task the names of its figures, each a share 0..1 of the validation split. The first leads: a trial's score.
FIGURES: dict[Task, tuple[str, ...]] = {
    "classification": ("accuracy",),
    "detection": ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
                  "ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"),
    "segmentation": ("miou", "pixel_accuracy"),
}  # fmt: skip
ALL_FIGURES: tuple[str, ...] = tuple(name for names in FIGURES.values() for name in names)

_LABELS = {"accuracy": "accuracy", "miou": "mIoU", "pixel_accuracy": "pixel accuracy"}


def leading(task: Task) -> str:
    """The figure that a trial's score is."""
    return FIGURES[task][0]


def label(name: str) -> str:
    """A figure as people write it: `AP small`, `AR@10`, `mIoU`."""
    if name in _LABELS:
        return _LABELS[name]
    kind, _, rest = name.partition("_")
    rest = f"@{rest}" if rest.isdecimal() else f" {rest}"
    return f"{kind.upper()}{rest}".rstrip()
