"""The figures of quality of each task, all of them better when higher: what a search maximises, or demands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trials.tasks import registry

TASKS: tuple[str, ...] = tuple(registry.TASKS)
if TYPE_CHECKING:
    Task = str
else:
    Task = Literal[TASKS]  # for whoever checks what is given

#: By task the names of its figures, each a share 0..1 of the validation split. The first leads: a trial's score.
FIGURES: dict[Task, tuple[str, ...]] = {name: entry.figures for name, entry in registry.TASKS.items()}
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
