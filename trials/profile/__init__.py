"""A device profile: what architectures of one space take on one device, measured there, predicted anywhere.

    designed_architectures ── LatencyBench.measure ──> measurements ── fit ──> DeviceProfile ── save ──> one JSON file

`DeviceProfile` is free of torch; making one is `make_profile`, imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trials.profile.device_profile import DeviceProfile
from trials.profile.fastest import fastest_predicted

if TYPE_CHECKING:
    from trials.profile.profiling import make_profile

__all__ = ["DeviceProfile", "fastest_predicted", "make_profile"]


def __getattr__(name: str) -> Any:
    if name != "make_profile":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("trials.profile.profiling").make_profile
