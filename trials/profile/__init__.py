"""A device profile: what architectures of one space take on one device, measured there, predicted anywhere.

    designed_architectures ── LatencyBench.measure ──> measurements ── fit ──> DeviceProfile ── save ──> one JSON file

`DeviceProfile` is free of torch; what is not (`make_profile`, `fastest_predicted`) is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trials.profile.device_profile import DeviceProfile

if TYPE_CHECKING:
    from trials.profile.fastest import fastest_predicted
    from trials.profile.profiling import make_profile

__all__ = ["DeviceProfile", "fastest_predicted", "make_profile"]

_HOME = {"fastest_predicted": "fastest", "make_profile": "profiling"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
