"""A run as an ordinary Optuna study, for whoever has tools for these: a dashboard, plots, importances.

    study = Run("runs/first").optuna_study("sqlite:///studies.db")

The values of its trials are what the run ranks them by (estimates; the raw score is an attribute), and its constraints
say what the run's budgets do, so that Optuna's `best_trials` are the run's front.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from nas.proposing.sampler import distributions_of
from reports.trial_view import OBJECTIVES, TrialView
from reports.view import RunView
from search_spaces.errors import UserError
from search_spaces.space import SearchSpace
from trials.trial import TrialState

OptunaStudy: TypeAlias = optuna.Study

_STATES = {
    TrialState.COMPLETE: OptunaState.COMPLETE, TrialState.FAILED: OptunaState.FAIL,
    TrialState.GATED: OptunaState.PRUNED, TrialState.STOPPED: OptunaState.FAIL,
}  # fmt: skip
_WAYS = {True: StudyDirection.MAXIMIZE, False: StudyDirection.MINIMIZE}
#: Constraints of trials that are on no front for another reason than a budget.
_UNKNOWN, _FAILS_LONGER = "cost not known", "failed in a longer look"
#: Where optuna-dashboard looks for constraints: as Optuna 4 kept them, a list.
_OF_DASHBOARDS = "constraints"


class StudyError(UserError, ValueError):
    """A study that cannot be made where it is asked for: the message says why."""


def exported_study(view: RunView, space: SearchSpace, storage: str | None, name: str) -> OptunaStudy:
    """The trials of a run in a new study of this name; without a storage, in memory.

    Raises StudyError where the storage cannot be opened, or has a study of this name already.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    objectives = tuple(view.objectives)
    study = _created(storage, name, [_WAYS[OBJECTIVES[one]] for one in objectives])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names of metrics are experimental since years
            study.set_metric_names(list(objectives))
        for key, value in _described(view).items():
            study.set_user_attr(key, value)
        distributions = distributions_of(space)
        variables = {variable.name: variable.points[0] for variable in space.variables}
        for trial in view.trials:
            params = {one: str(trial.result.architecture.choices[point]) for one, point in variables.items()}
            study.add_trial(_frozen(trial, objectives, params, distributions, view.moments.get(trial.result.number)))
    except BaseException:
        if storage is not None:  # whole or not at all
            optuna.delete_study(study_name=name, storage=storage)
        raise
    return study


def _created(storage: str | None, name: str, directions: list[StudyDirection]) -> optuna.Study:
    try:
        return optuna.create_study(storage=storage, study_name=name, directions=directions)
    except optuna.exceptions.DuplicatedStudyError:
        raise StudyError(
            f"{storage} has a study {name!r} already: give another --study-name, or delete it there first"
        ) from None
    except Exception as error:  # of whatever stands behind such an address: drivers, files, servers
        said = " ".join(str(error).split())[:200]
        raise StudyError(
            f"{storage} cannot be used as Optuna's storage ({type(error).__name__}: {said}): give an address such as "
            "sqlite:///studies.db"
        ) from None


def _frozen(
    trial: TrialView,
    objectives: tuple[str, ...],
    params: Mapping[str, str],
    distributions: Mapping[str, optuna.distributions.BaseDistribution],
    finished: float | None,
) -> FrozenTrial:
    result = trial.result
    values = [trial.objective(name) for name in objectives]
    state = _STATES[result.state]
    if state is OptunaState.COMPLETE and None in values:  # it was trained; what one objective asks for is not known
        state = OptunaState.FAIL
    constraints = {metric: float(violation) for metric, violation in trial.violations.items()}
    if trial.feasible is None:
        constraints[_UNKNOWN] = 1.0
    if trial.fails_longer is not None:
        constraints[_FAILS_LONGER] = 1.0
    frozen = optuna.trial.create_trial(
        state=state,
        values=[float(value) for value in values if value is not None] if state is OptunaState.COMPLETE else None,
        params=dict(params),
        distributions=dict(distributions),
        user_attrs=_attributes(trial),
        system_attrs={_OF_DASHBOARDS: list(constraints.values())} if constraints else {},
        constraints=constraints,
    )
    if finished is not None:
        frozen.datetime_complete = datetime.fromtimestamp(finished)  # Optuna's are of no zone
        frozen.datetime_start = datetime.fromtimestamp(finished - result.seconds)
    return frozen


def _attributes(trial: TrialView) -> dict[str, Any]:
    """What is known of a trial beside its values, where it is known."""
    result = trial.result
    found: dict[str, Any] = {
        "trial": result.number, "state": str(result.state), "origin": result.origin,
        "architecture": dict(result.architecture.labels()), "key": result.architecture.key,
        "macs": result.macs, "params": result.params,
        "latency_ms": None if trial.latency is None else trial.latency.p50_ms,
        "score": result.score, "loss": result.loss, "seed": result.seed, "epochs": trial.longest.epochs,
        "seconds": result.seconds, "failure": None if result.failure is None else str(result.failure),
        "error": result.error,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def _described(view: RunView) -> dict[str, Any]:
    return {
        "run": view.path.resolve().name, "space": view.description["space"]["name"],
        "data": view.description["data"]["name"], "budgets": view.budget_text(), "task": view.task,
    }  # fmt: skip
