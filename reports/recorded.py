"""What a record holds of a run as JSON, made whole: its configuration, its device's profile, its attention."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trials.attention.histograms import TrialAttention
from trials.errors import StoreDamaged
from trials.record.store import Store

if TYPE_CHECKING:
    from trials.profile.device_profile import DeviceProfile


def recorded_config(store: Store) -> Any:
    """The configuration in an open record, completed by what was so before it could be set."""
    config = store.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("training"), dict):
        return config
    before = {"regime": "scratch", "parent_epochs": None, "recalibrate": False}
    without = {"finalists": "none", "test_fraction": 0.0}
    return {**without, **config, "training": {**before, **config["training"]}}


def device_profile(data: Mapping[str, Any], path: Path) -> DeviceProfile:
    """That of the run in the folder `path`. Raises ProfileError where it is damaged."""
    from trials.profile.device_profile import DeviceProfile  # pydantic takes a while, and few runs have one

    return DeviceProfile.from_json(data, f"{path}: its device profile")


def attention(data: Mapping[str, Any], path: Path) -> dict[int, TrialAttention]:
    """Histograms by trial, of the run in the folder `path`. Raises StoreDamaged."""
    try:
        found = [TrialAttention.from_json(one) for one in data.values()]
    except ValueError as error:
        raise StoreDamaged(f"{path}: its attention histograms are damaged: {error}") from None
    return {one.number: one for one in found}
