"""What may change between the sessions of a run, and what has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.settings.errors import ConfigError
from nas.settings.keys import role_of
from nas.settings.kinds import config_kind
from nas.settings.loading import load_config, name_of
from nas.settings.places import PLACES, without_place
from nas.settings.search import SearchConfig
from nas.settings.setting import Role


def may_extend(key: str) -> bool:
    """Whether a run may go on with another value: recorded trials are priced anew, none is trained again."""
    return role_of(key) is Role.EXTEND


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """`{key: (recorded, given)}` of all settings that decide what a search finds, sections flattened.

    What an older version did not record yet was as it is by default now. Where things are makes no difference.
    """
    defaults = flat(config_kind(new)().to_json())
    before, after = defaults | flat(old), defaults | flat(new)
    keys = [key for key in {**before, **after} if role_of(key) is not Role.CIRCUMSTANCE]
    return {
        key: (before.get(key), after.get(key))
        for key in keys
        if without_place(key, before.get(key)) != without_place(key, after.get(key))
    }


def moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether something that decides a result is now looked for in another place."""
    before, after = flat(old), flat(new)
    return any(before.get(key) != after.get(key) for key in PLACES)


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of tables as `table.key`; what has keys that are values stays whole."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and key != "minimum":
            found.update({f"{key}.{name}": inner for name, inner in value.items()})
        else:
            found[key] = value
    return found


def resumed(
    recorded: Mapping[str, Any],
    folder: str,
    given: Mapping[str, Any],
    extend: bool,
    named: Mapping[str, str] | None = None,
) -> SearchConfig:
    """The configuration that the run in `folder` has recorded, in other circumstances; with `extend`, more may change.

    Args:
        given: settings beside it, flat keys; `named`: how they were given, see `load_config`.

    Raises:
        ConfigError: a setting that the run keeps, or one that only `extend` changes.
    """
    names = {**{key: name_of(key) for key in given}, **(named or {})}
    for key in given:
        role = role_of(key)
        if key == "out":
            raise ConfigError(f"{names[key]}: the run to go on with is {folder}; give --resume alone")
        other = without_place(key, flat(recorded).get(key)) != without_place(key, given[key])
        if role is Role.FIXED or (role is Role.PLACE and other):
            raise ConfigError(
                f"{names[key]}: {folder} goes on with what it recorded; search with another value in another --out"
            )
        if role is Role.EXTEND and not extend:
            raise ConfigError(f"{names[key]}: {folder} goes on with what it recorded; --extend lets that change")
    return load_config(None, {**elsewhere(recorded, given), "out": folder}, names)


def elsewhere(recorded: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration, flat, in the circumstances that are given now.

    How many workers there were, and where, is the recorded engine's, and goes with it where another is given. An
    address asks for Ray.

    Raises:
        ConfigError: an address for an engine that has none.
    """
    kept = {key: value for key, value in flat(recorded).items() if value is not None}
    engine = given.get("engine")
    if given.get("ray.address") is not None:
        if engine not in (None, "ray"):
            raise ConfigError(f"{name_of('ray.address')}: engine {engine} runs in this process: give one of them")
        engine = "ray"
    if engine is not None and engine != recorded.get("engine"):
        kept = {key: value for key, value in kept.items() if key != "workers" and not key.startswith("ray.")}
    return {**kept, **given, **({} if engine is None else {"engine": engine})}
