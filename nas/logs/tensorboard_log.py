"""`--log tensorboard`: `tensorboard --logdir RUN/log/tensorboard` shows trials by their numbers, and their epochs."""

from __future__ import annotations

from pathlib import Path

from reports.trial_view import TrialView
from reports.view import RunView
from trials.trial import EpochPoint


class TensorBoardLog:
    """Events are only ever added: what an earlier session has logged is not logged again."""

    def __init__(self, folder: Path, view: RunView) -> None:
        from torch.utils.tensorboard import SummaryWriter  # of the package tensorboard

        new = not any(folder.iterdir())
        self._writer = SummaryWriter(str(folder))
        for trial in view.trials if new else ():
            for point in trial.result.curve:
                self.epoch(trial.result.number, point)
            self.trial(trial, view)

    def epoch(self, number: int, point: EpochPoint) -> None:
        self._writer.add_scalar(f"train_loss/trial {number:05d}", point.train_loss, point.epoch)

    def trial(self, trial: TrialView, view: RunView) -> None:
        result = trial.result
        latency = None if trial.latency is None else trial.latency.p50_ms
        found = {
            view.metric: result.score, "loss": result.loss, "macs": result.macs, "params": result.params,
            "latency_ms": latency, "seconds": result.seconds,
        }  # fmt: skip
        for name, value in found.items():
            if value is not None:
                self._writer.add_scalar(f"trials/{name}", value, result.number)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
