"""The trained networks of a run, with its data, on its device: for whatever looks at them when a search is over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from nas.settings.search import SearchConfig
from nas.trainings.recorded import recorded_space
from reports.errors import SelectionError
from reports.trial_view import TrialView
from reports.view import RunView
from search_spaces.loading import load_weights
from trials.machine.device import memory_bytes, nearest, on_device
from trials.record.weights import read_weights, training_weights_path, weights_path
from trials.training.trainer import make_trainer


class TrainedNetworks:
    """Networks of the trials whose weights were kept, and the data that they are judged by."""

    def __init__(self, view: RunView, config: SearchConfig, say: Callable[[str], None]) -> None:
        """Raises SelectionError when the data are not those of the search any more."""
        self.view = view
        self.device = nearest(config.device)
        self.protocol = config.latency.protocol()
        trainer = make_trainer(config.data_config(), config.training.recipe(), say)
        if trainer.data.fingerprint != view.description["data"]["fingerprint"]:
            raise SelectionError(
                f"the data of {config.data} are not those of the search: put back those that {view.path} was made "
                "with, or say where they are with --data"
            )
        self.trainer = trainer.on(self.device, config.data_memory * memory_bytes(self.device))
        self._space = recorded_space(view, config)

    def network(self, trial: TrialView) -> nn.Module:
        """On the device of the data, in evaluation."""
        network = self._space.build(trial.result.architecture)
        path = longest_weights(trial, self.view.path)
        load_weights(network, read_weights(path), str(path))
        return on_device(network, self.device).eval()


def longest_weights(trial: TrialView, folder: Path) -> Path:
    """Where the weights of its longest look are that were kept, or would be those of the trial itself."""
    longer = None if trial.longer is None else training_weights_path(folder, trial.longer)
    return longer if longer is not None and longer.is_file() else weights_path(folder, trial.result.number)


def kept_numbers(view: RunView, folder: Path) -> set[int]:
    """The complete trials whose weights are there."""
    return {t.result.number for t in view.complete if longest_weights(t, folder).is_file()}
