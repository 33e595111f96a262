"""`--log mlflow`: each trial as an MLflow run of the experiment that is named as the search's folder.

Where to is MLflow's own setting, MLFLOW_TRACKING_URI.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas.logs.figures import Numbers, figures_of
from reports.trial_view import TrialView
from reports.view import RunView
from trials.trial import EpochPoint, TrialState

#: The tags by which a run of MLflow's is told to be of this search, and of which of its trials.
_SEARCH, _TRIAL = "fusion_nas.search", "fusion_nas.trial"


class MlflowLog:
    """What of a trial was half written as a search was killed is written anew, in place of that."""

    def __init__(self, folder: Path, view: RunView) -> None:
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient()
        name = view.path.resolve().name
        found = self._client.get_experiment_by_name(name)
        self._experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        #: Two searches of one name share an experiment; when they began is no other's.
        self._search = str(view.sessions[0].started_at) if view.sessions else ""
        self._logged = Numbers(folder)
        self._half = self._half_written()
        for trial in view.trials:
            if trial.result.over:
                self.trial(trial, view)

    def epoch(self, number: int, point: EpochPoint) -> None:
        """It is logged with its trial: one that is stopped is trained again."""

    def trial(self, trial: TrialView, view: RunView) -> None:
        result = trial.result
        if result.number in self._logged:
            return
        for run in self._half.pop(str(result.number), ()):
            self._client.delete_run(run)
        tags = {
            "mlflow.runName": f"trial {result.number}", "state": str(result.state), "origin": result.origin,
            _SEARCH: self._search, _TRIAL: str(result.number),
        }  # fmt: skip
        if result.error is not None:
            tags["error"] = result.error[:5000]
        run = self._client.create_run(self._experiment, tags=tags).info.run_id
        for point, choice in result.architecture.labels().items():
            self._client.log_param(run, point, choice)
        for name, value in figures_of(trial, view).items():
            self._client.log_metric(run, name, value)
        for epoch in result.curve:
            self._client.log_metric(run, "train_loss", epoch.train_loss, step=epoch.epoch)
        status = {TrialState.COMPLETE: "FINISHED", TrialState.FAILED: "FAILED"}.get(result.state, "KILLED")
        self._client.set_terminated(run, status)
        self._logged.add(result.number)

    def _half_written(self) -> dict[str, list[str]]:
        """The runs there of trials that are not known to be logged, by the trials' numbers."""
        found: dict[str, list[str]] = {}
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{_SEARCH}` = '{self._search}'", page_token=token
            )
            for run in page:
                number = run.data.tags.get(_TRIAL, "")
                if number.isdecimal() and int(number) not in self._logged:
                    found.setdefault(number, []).append(run.info.run_id)
            token = page.token
            if not token:
                return found

    def close(self) -> None: ...
