"""Measuring in a worker what is asked for here."""

from __future__ import annotations

from typing import Any

import ray

from nas.engines.interruption import Interruption
from search_spaces.architecture import Architecture
from search_spaces.errors import UserError
from trials.errors import BenchLost
from trials.latency import Measurement


class RemoteBench:
    """A `LatencyBench` in a worker; what it raises is raised here."""

    def __init__(self, actor: Any, interruption: Interruption) -> None:
        self._actor = actor
        self._interruption = interruption

    def device_name(self) -> str:
        return str(self._answer(self._actor.device_name.remote()))

    def measure(self, architecture: Architecture, nominal_reference_p50_ms: float | None) -> Measurement:
        measured: Measurement = self._answer(self._actor.measure.remote(architecture, nominal_reference_p50_ms))
        return measured

    def _answer(self, pending: Any) -> Any:
        with self._interruption.shielded():
            while not ray.wait([pending], timeout=0.2)[0]:
                self._interruption.check()
            try:
                return ray.get(pending)
            except ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, UserError) else error from None
            except ray.exceptions.RayError as error:  # it died, or cannot be reached any more
                reason = str(error).strip().splitlines()[-1]
                raise BenchLost(f"the worker that measures died: {reason[:200]}") from None
