"""`--log tensorboard`: `tensorboard --logdir RUN/log/tensorboard` shows trials by their numbers, and their epochs."""

from __future__ import annotations

from pathlib import Path

from nas.logs.figures import Numbers, figures_of
from reports.trial_view import TrialView
from reports.view import RunView
from trials.trial import EpochPoint


class TensorBoardLog:
    """Events are only ever added. The epochs of a trial that was interrupted, and is trained again, come again."""

    def __init__(self, folder: Path, view: RunView) -> None:
        from torch.utils.tensorboard import SummaryWriter  # of the package tensorboard

        self._logged = Numbers(folder)
        self._writer = SummaryWriter(str(folder))
        for trial in view.trials:
            if trial.result.over and trial.result.number not in self._logged:
                for point in trial.result.curve:
                    self.epoch(trial.result.number, point)
                self.trial(trial, view)

    def epoch(self, number: int, point: EpochPoint) -> None:
        self._writer.add_scalar(f"train_loss/trial {number:05d}", point.train_loss, point.epoch)

    def trial(self, trial: TrialView, view: RunView) -> None:
        for name, value in figures_of(trial, view).items():
            self._writer.add_scalar(f"trials/{name}", value, trial.result.number)
        self._writer.flush()
        self._logged.add(trial.result.number)

    def close(self) -> None:
        self._writer.close()
