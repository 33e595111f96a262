"""`--log mlflow`: each trial as an MLflow run of the experiment that is named as the search's folder.

Where to is MLflow's own setting, MLFLOW_TRACKING_URI.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reports.trial_view import TrialView
from reports.view import RunView
from trials.trial import EpochPoint, TrialState


class MlflowLog:
    """Which trial is which run of MLflow's is kept in a file, so that none is logged twice."""

    def __init__(self, folder: Path, view: RunView) -> None:
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient()
        name = view.path.resolve().name
        found = self._client.get_experiment_by_name(name)
        self._experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        self._file = folder / "runs.json"
        self._runs: dict[str, str] = json.loads(self._file.read_text()) if self._file.is_file() else {}
        self._epochs: dict[int, list[EpochPoint]] = {}
        for trial in view.trials:
            self.trial(trial, view)

    def epoch(self, number: int, point: EpochPoint) -> None:
        """It is logged with its trial: one that is stopped is trained again."""
        self._epochs.setdefault(number, []).append(point)

    def trial(self, trial: TrialView, view: RunView) -> None:
        result = trial.result
        if str(result.number) in self._runs or result.state is TrialState.STOPPED:
            return
        tags = {"mlflow.runName": f"trial {result.number}", "state": str(result.state), "origin": result.origin}
        if result.error is not None:
            tags["error"] = result.error[:5000]
        run = self._client.create_run(self._experiment, tags=tags).info.run_id
        for point, choice in result.architecture.labels().items():
            self._client.log_param(run, point, choice)
        latency = None if trial.latency is None else trial.latency.p50_ms
        found = {
            view.metric: result.score, "loss": result.loss, "macs": result.macs, "params": result.params,
            "latency_ms": latency, "seconds": result.seconds,
        }  # fmt: skip
        for name, value in found.items():
            if value is not None:
                self._client.log_metric(run, name, value)
        for epoch in result.curve or self._epochs.get(result.number, []):
            self._client.log_metric(run, "train_loss", epoch.train_loss, step=epoch.epoch)
        status = {TrialState.COMPLETE: "FINISHED", TrialState.FAILED: "FAILED"}.get(result.state, "KILLED")
        self._client.set_terminated(run, status)
        self._runs[str(result.number)] = run
        self._file.write_text(json.dumps(self._runs))

    def close(self) -> None: ...
