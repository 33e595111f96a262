"""What can be chosen by name, and the stages of a search in their order: one line each, and one file, to add one.

Named as `module:object`, imported on first use: a choice that is not taken costs nothing, and settings can list the
names without importing torch, Ray or Optuna.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

#: What runs trials: a `nas.engines.engine.Engine` each.
ENGINES = {
    "ray": "nas.engines.ray_tune:RayEngine",
    "local": "nas.engines.local:LocalEngine",
}
#: What says which architecture to try next: a `nas.proposing.proposer.Proposer` each.
PROPOSERS = {
    "ehvi": "nas.proposing.ehvi:EHVI",
    "tpe": "nas.proposing.tpe:TPE",
    "nsga2": "nas.proposing.nsga2:NSGA2",
    "evolution": "nas.proposing.evolution:Evolution",
    "random": "nas.proposing.random:Random",
}
#: Those of them that heed which operators a user believes in.
HEED_PRIORS = ("ehvi",)
#: What a search does, in this order: a `nas.stages.stage.Stage` each. What is done already, a stage does not do again.
STAGES = {
    "starts": "nas.stages.starts:Starts",
    "trials": "nas.session.trials:Trials",
    "estimates": "nas.session.estimates:Estimates",
    "front_latency": "nas.stages.front_latency:FrontLatency",
    "estimates_of_front": "nas.session.estimates:Estimates",
    "finalists": "nas.stages.finalists:Finalists",
}
#: What looks at the trained networks when a search is over, for its report: called with the run's folder and `say`.
LOOKS = {
    "attention": "nas.stages.attention:look",
    "pictures": "nas.stages.pictures:look",
    "contact_sheet": "nas.stages.contact_sheet:look",
}
#: What the trials of a search are also written to, as other tools read them: a `nas.logs.log.Log` each.
LOGS = {
    "csv": "nas.logs.csv_log:CsvLog",
    "tensorboard": "nas.logs.tensorboard_log:TensorBoardLog",
    "mlflow": "nas.logs.mlflow_log:MlflowLog",
}


def load(place: str) -> Any:
    """The object that `module:object` names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
