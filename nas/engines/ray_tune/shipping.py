"""Data that a driver ships: put into Ray's object store once, fetched once a node, shared by the workers there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import ray

from trials.data import DataError, ImageData, SceneData
from trials.data.shipped import ShippedData
from trials.judge import TrialPlan


@dataclass(frozen=True, eq=False)
class InObjectStore:
    """Data by their reference: small, however often a plan is sent."""

    reference: Any

    def load(self) -> ImageData | SceneData:
        try:
            shipped: ShippedData = ray.get(self.reference)
        except ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            raise DataError(f"the shipped data are not to be had: {lines[0] if lines else error!r}") from None
        return shipped.data


#: What this process has put there last: a search has one set of data, and asks for it at every stage.
_last: list[tuple[str, ShippedData, InObjectStore]] = []


def shipped(plan: TrialPlan) -> TrialPlan:
    """The plan as it is sent to workers. Raises DataError where the object store has no room for the data."""
    if not isinstance(plan.data, ShippedData):
        return plan
    job = ray.get_runtime_context().get_job_id()
    if not (_last and _last[0][0] == job and _last[0][1] is plan.data):
        try:
            _last[:] = [(job, plan.data, InObjectStore(ray.put(plan.data)))]
        except ray.exceptions.RayError as error:
            raise DataError(
                f"the data do not fit into Ray's object store ({' '.join(str(error).split())[:120]}): start Ray with a "
                "larger --object-store-memory, or bring them to every node and leave --ship-data out"
            ) from None
    return replace(plan, data=_last[0][2])
