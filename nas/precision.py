"""In which precision the trials of a run train: as configured, else measured once by a worker, and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from nas.engines import Engine
from reports.precision import precision_text
from trials.errors import PrecisionError, WorkerLost
from trials.judge import TrialPlan
from trials.precision import choose_precision


def provide_precision(
    plan: TrialPlan, recorded: Mapping[str, Any] | None, begun: bool, engine: Engine, say: Callable[[str], None]
) -> Mapping[str, Any] | None:
    """The choice for the trials of `plan`, as `trials.precision.PrecisionChoice` in JSON; None where there is none to
    make: the configuration has made it, trials were trained before (`begun`) without one, or both fail in training,
    which the first trial will record.
    """
    if plan.recipe.precision not in ("auto", "fastest") or (recorded is None and begun):
        return None
    if recorded is not None:
        return recorded
    try:
        choice = engine.ask(choose_precision, plan).to_json()
    except (PrecisionError, WorkerLost) as error:
        say(f"bfloat16 and float32 could not be compared: {error}")
        return None
    if choice["images_per_second"]:
        say(f"trials train in {precision_text(choice)}")
    return choice


def in_precision(plan: TrialPlan, choice: Mapping[str, Any] | None) -> TrialPlan:
    """The plan with the choice made; as it is where there was none to make."""
    return plan if choice is None else replace(plan, recipe=replace(plan.recipe, precision=choice["precision"]))
