"""Rungs: complete schedules of growing length, and how many architectures come to each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from nas.settings.errors import ConfigError


def checked_rungs(rungs: Any) -> Any:
    """The same. Raises ConfigError where they are not `none`, or two or more numbers of epochs that grow."""
    if rungs == "none":
        return rungs
    shown = ",".join(map(str, rungs)) if isinstance(rungs, list) and rungs else repr(rungs)
    if not isinstance(rungs, list) or len(rungs) < 2 or not all(type(epochs) is int for epochs in rungs):
        raise ConfigError(f"given {shown}; expected two or more numbers of epochs, such as 3,9,27, or none")
    if rungs[0] < 1 or any(longer <= shorter for shorter, longer in pairwise(rungs)):
        raise ConfigError(f"given {shown}; each is to have more epochs than the one before, such as 3,9,27")
    return rungs


def begun_at_first_rung(given: Any) -> Any:
    """Settings with a trial's epochs those of the first rung, unless they were given too."""
    rungs, training = given.get("rungs"), given.get("training", {})
    if not isinstance(rungs, list) or not rungs or not isinstance(training, Mapping):
        return given
    return {**given, "training": {"epochs": rungs[0], **training}}


def share(looked_at: int, epochs: int, longer: int) -> int:
    """Of so many architectures that were looked at for `epochs` epochs, how many are looked at again for `longer`: all
    rungs are to take about as much."""
    return looked_at * epochs // longer


def planned_looks(rungs: Sequence[int], trials: int) -> tuple[int, ...]:
    """Trainings on each rung of a search of so many trials: of each rung its share, at least one, and all-add beside
    them. Fewer where too few are within the budgets."""
    looks, rivals = [trials], trials - 1
    for epochs, longer in pairwise(rungs):
        rivals = min(rivals, max(1, share(rivals, epochs, longer)))
        looks.append(rivals + 1 if rivals else 0)
    return tuple(looks)
