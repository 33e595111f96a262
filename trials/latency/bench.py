"""Measures architectures of one space on one target, each beside the space's all-add network."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from search_spaces.architecture import Architecture
from search_spaces.errors import SpaceError
from search_spaces.space import SearchSpace
from trials.latency.conditions import Conditions, describe_device, observe
from trials.latency.passes import Pass
from trials.latency.runtimes import intra_op_threads, prepare
from trials.latency.timing import measure
from trials.machine import device as devices
from trials.machine.target import Target
from trials.trial import Latency, LatencyProtocol


@dataclass(frozen=True)
class Measurement:
    """One architecture's latency. `prepare_seconds` is what building and, where the runtime does, compiling took."""

    architecture: Architecture
    latency: Latency
    prepare_seconds: float
    conditions: Conditions

    @property
    def relative(self) -> float:
        """p50 in multiples of the all-add network's."""
        return self.latency.p50_ms / self.latency.nominal_reference_p50_ms

    def with_nominal(self, nominal_ms: float) -> Measurement:
        """The same measurement in multiples of another nominal p50 of the all-add network."""
        scale = nominal_ms / self.latency.nominal_reference_p50_ms
        latency = replace(
            self.latency,
            p50_ms=self.latency.p50_ms * scale,
            p95_ms=self.latency.p95_ms * scale,
            nominal_reference_p50_ms=nominal_ms,
        )
        return replace(self, latency=latency)

    def to_json(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture.to_json(),
            "latency": self.latency.to_json(),
            "prepare_seconds": self.prepare_seconds,
            "conditions": self.conditions.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """The inverse of `to_json`. Raises SpaceError when the shape is not that of a measurement."""
        try:
            latency = Latency(**data["latency"])
            if not all(math.isfinite(value) for value in asdict(latency).values()):
                raise ValueError("a figure is not finite")
            return cls(
                Architecture.from_json(data["architecture"]),
                latency,
                float(data["prepare_seconds"]),
                Conditions(**data["conditions"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SpaceError(f"not the JSON of a measurement: {error}") from None


class LatencyBench:
    """The warm reference of a space on a target; `measure` puts one architecture after the other beside it."""

    def __init__(self, space: SearchSpace, target: Target, protocol: LatencyProtocol) -> None:
        """Raises DeviceError or LatencyError when the target is not to be had on this machine."""
        self.space, self.protocol = space, protocol
        self.target = replace(target, device=str(devices.resolve(target.device)))
        generator = torch.Generator().manual_seed(0)
        self._images = torch.randn(protocol.batch_size, *space.input_shape, generator=generator)
        with intra_op_threads(self.target.threads):
            self._reference = self._prepare(space.baseline)

    def measure(self, architecture: Architecture, nominal_reference_p50_ms: float | None = None) -> Measurement:
        """Build it, run it, time it. Raises LatencyError when the runtime cannot run it."""
        conditions = observe(self.target)
        with intra_op_threads(self.target.threads):
            began = time.perf_counter()
            candidate = self._prepare(architecture)
            seconds = time.perf_counter() - began
            device = devices.lock_name(torch.device(self.target.device))
            latency = measure(candidate, self._reference, self.protocol, nominal_reference_p50_ms, device)
        return Measurement(architecture, latency, seconds, conditions)

    def _prepare(self, architecture: Architecture) -> Pass:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # weights do not decide a latency, but denormal ones would: always the same
            network = self.space.build(architecture)
        return prepare(network, self._images, self.target)

    def device_name(self) -> str:
        """What the device calls itself."""
        return str(describe_device(self.target)["name"])

    def settings(self) -> dict[str, Any]:
        """What a figure of this bench belongs to, as JSON: space, target and protocol."""
        return {
            "space": self.space.to_json() | {"fingerprint": self.space.fingerprint},
            "target": self.target.to_json(),
            "protocol": asdict(self.protocol),
        }
