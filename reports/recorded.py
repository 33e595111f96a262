"""What a record holds of a run as JSON, made whole: its configuration and its device's profile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
