"""Rungs as a record has them: longer looks at trials, and of how many epochs scores are estimated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trials.record.training import Training


def rungs_of(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Epochs of a run's rungs, growing; those of its trials alone where it has none."""
    rungs = config.get("rungs")
    if isinstance(rungs, list):
        return tuple(int(epochs) for epochs in rungs)
    epochs = (config.get("training") or {}).get("epochs")
    return () if epochs is None else (int(epochs),)


def longest_compared(rungs: Iterable[int], trainings: Iterable[Training]) -> int | None:
    """Epochs of the longest rung at which two architectures have a score, so that one can be held against another."""
    there: dict[int, set[str]] = {epochs: set() for epochs in rungs}
    for training in trainings:
        if training.score is not None and training.epochs in there:
            there[training.epochs].add(training.architecture.key)
    return max((epochs for epochs, keys in there.items() if len(keys) > 1), default=None)


def longer_looks(
    rungs: tuple[int, ...], beside: Iterable[Training], failed: bool = False
) -> dict[tuple[str, int], Training]:
    """The longest training of each architecture and seed that is longer than a trial's, and has a score; or that
    `failed` by its own fault."""
    found: dict[tuple[str, int], Training] = {}
    for training in beside:
        wanted = training.known and (training.score is None) is failed
        if not wanted or training.epochs not in rungs[1:]:
            continue
        key = training.architecture.key, training.seed
        if key not in found or found[key].epochs < training.epochs:
            found[key] = training
    return found
