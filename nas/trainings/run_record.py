"""The record of a run, for what is trained beside its search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from nas.trainings.prepared import Prepared
from nas.trainings.sameness import check_same
from reports.view import RunView
from trials.record.file import FILE_NAME, PARENT_NAME
from trials.record.images import final_images_path, write_images
from trials.record.store import Store
from trials.record.training import Training
from trials.record.weights import training_weights_path, write_weights


class RunRecord:
    """The record of a run, open for writing. A context manager."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        self._store = store

    @classmethod
    def open(cls, folder: Path) -> RunRecord:
        """Raises StoreError as `Store.open_for_writing` does."""
        return cls(folder, Store.open_for_writing(folder / FILE_NAME))

    @property
    def view(self) -> RunView:
        """The run as it is now."""
        return RunView.of(self._folder, self._store)

    @property
    def parent_path(self) -> Path:
        return self._folder / PARENT_NAME

    @property
    def parent(self) -> Mapping[str, Any] | None:
        """The facts of what the run's trials started from, None where each started from new weights."""
        return self.view.parent

    @property
    def precision(self) -> Mapping[str, Any] | None:
        """The choice of what trials train in, None where none was made."""
        return self.view.precision

    def known(self) -> tuple[Training, ...]:
        """All that was trained, for its trials and beside them."""
        return self.view.trainings

    def append_training(self, training: Training) -> None:
        """What a finalist made of single images is kept first: after a kill none is recorded without it."""
        self._store.check_held()
        if training.readings is not None:
            write_images(final_images_path(self._folder, training), training.readings)
        self._store.append_training(training)

    def keep_weights(self, training: Training, weights: bytes) -> None:
        """For the trial that may ask for this training, or for the export of a finalist."""
        self._store.check_held()
        write_weights(training_weights_path(self._folder, training), weights)

    def put(self, values: Mapping[str, Any]) -> None:
        """Change the run's description."""
        self._store.put(values)

    def check(self, prepared: Prepared) -> None:
        """Raises ConfigError where the data or the space are not those of the run's trials any more."""
        check_same(self._folder, self.view.description, prepared)

    def __enter__(self) -> RunRecord:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()
