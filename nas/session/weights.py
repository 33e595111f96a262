"""The trained weights of a run: kept while they fit, known by size in memory so that no event lists the folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from reports.trial_view import TrialView
from reports.view import RunView
from trials.record.file import PARENT_NAME
from trials.record.storage import fetch
from trials.record.training import Training
from trials.record.weights import training_weights_path, weights_path, write_weights

#: How much the trained weights of one run may take on disk before those that nobody would export go.
MAX_WEIGHT_BYTES = 2 * 1024**3


def fetch_needed(view: RunView, place: str, say: Callable[[str], None]) -> None:
    """Have again, on a new disk, the weights that what is left of the run needs, from where they are also kept: the
    parent, and all-add's, the finalists' and those of the fronts. What was let go of for want of room stays there."""
    fetch(view.path, place, lambda: _needed(view), MAX_WEIGHT_BYTES, say)


def _needed(view: RunView) -> Iterator[Path]:
    """The dearest first; a folder's parent is there only where its trials started from one."""
    yield view.path / PARENT_NAME
    if view.baseline_trial is not None:
        yield from _of(view.path, view.baseline_trial)
    for final in view.finals:
        yield training_weights_path(view.path, final)
    for trial in (*view.estimated().exportable, *view.exportable):
        yield from _of(view.path, trial)


class Weights:
    """The weights' files of one run, whose only writer this is. The folder is listed once, at the start."""

    def __init__(self, folder: Path, check_held: Callable[[], None]) -> None:
        """`check_held` raises LeaseLost where another process writes there now, see `Store`: its files are left."""
        self._folder, self._check_held = folder, check_held
        kept = [path for kind in ("trial", "training") for path in (folder / "weights").glob(f"{kind}-*.safetensors")]
        self._bytes = {path: path.stat().st_size for path in sorted(kept)}
        self._total = sum(self._bytes.values())

    def write(self, number: int, content: bytes) -> None:
        """Keep a trial's weights, whole or not at all."""
        self._write(weights_path(self._folder, number), content)

    def write_of(self, training: Training, content: bytes) -> None:
        """Those of a training that is no trial's."""
        self._write(training_weights_path(self._folder, training), content)

    def _write(self, path: Path, content: bytes) -> None:
        self._check_held()
        write_weights(path, content)
        self._total += len(content) - self._bytes.get(path, 0)
        self._bytes[path] = len(content)

    def adopt(self, training: Training, number: int) -> None:
        """What a training left that nobody had asked for yet is the trial's, where it was kept."""
        left, path = training_weights_path(self._folder, training), weights_path(self._folder, number)
        if left.exists():
            self._check_held()
            os.replace(left, path)
            self._total -= self._bytes.pop(left, 0)
            self._bytes[path] = path.stat().st_size
            self._total += self._bytes[path]

    def prune(self, view: RunView) -> None:
        """Keep all while they fit, else those worth exporting, by scores or by estimates: the baseline and the fronts,
        each as a trial and as its longest look. The oldest others go.

        Budgets and objectives may change later, and with them who is on a front; estimates do with every training.
        """
        if self._total <= MAX_WEIGHT_BYTES:
            return
        self._check_held()
        worth = (*view.exportable, *view.estimated().exportable)
        kept = {path for trial in worth for path in _of(self._folder, trial)}
        for path in sorted(self._bytes.keys() - kept):
            if self._total <= MAX_WEIGHT_BYTES:
                return
            self._total -= self._bytes.pop(path)
            path.unlink(missing_ok=True)


def _of(folder: Path, trial: TrialView) -> Iterator[Path]:
    """A trial's weights, and those of its longest look."""
    yield weights_path(folder, trial.result.number)
    if trial.longer is not None:
        yield training_weights_path(folder, trial.longer)
