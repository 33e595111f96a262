"""The options of a latency command as what they stand for: space, target, protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nas.tools.latency.selecting import SpaceOptions
from trials.errors import LatencyError
from trials.latency import Target
from trials.machine.device import resolve
from trials.trial import LatencyProtocol


@dataclass(frozen=True)
class LatencySettings:
    """What to measure, on what, how."""

    space: SpaceOptions
    target: Target
    protocol: LatencyProtocol
    seed: int


def settings_of(given: Mapping[str, Any]) -> LatencySettings:
    """From the options of the command line, None where one was not given.

    Raises:
        LatencyError, DeviceError, SpaceError: a value that is not allowed, or a target that does not exist.
    """
    given = {name: value for name, value in given.items() if value is not None}
    for name, least in (("batch", 1), ("passes", 30), ("attempts", 1), ("seed", 0)):
        if given.get(name, least) < least:
            raise LatencyError(f"--{name}: given {given[name]}; expected a whole number, {least} or more")
    protocol = LatencyProtocol()
    return LatencySettings(
        space=SpaceOptions(**{name: given[name] for name in SpaceOptions.__dataclass_fields__ if name in given}),
        target=Target(
            str(resolve(given.get("device", "auto"))),
            **{name: given[name] for name in ("runtime", "dtype", "threads") if name in given},
        ),
        protocol=replace(
            protocol,
            batch_size=given.get("batch", protocol.batch_size),
            passes=given.get("passes", protocol.passes),
            attempts=given.get("attempts", protocol.attempts),
        ),
        seed=given.get("seed", 0),
    )
