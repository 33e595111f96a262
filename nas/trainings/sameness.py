"""Whether what decides a result is what it was: data, network, operators' formulas, versions."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import search_spaces
import trials
from nas.settings.errors import ConfigError
from nas.trainings.prepared import Prepared
from trials.machine.device import processor

#: Whose releases train otherwise: their version up to the second number is compared.
_TRAINED_WITH = ("torch", "torchvision")
#: Our own code that decides what a training gives: rooms, and files of others.
_FORMULAS = {
    search_spaces: ("fusions", "networks", "discovery"),
    trials: ("training", "tasks", "data/augmentation.py", "data/scene_augmentation.py"),
}


def check_same(folder: Path, description: Mapping[str, Any], prepared: Prepared) -> None:
    """Raises ConfigError where the data or the network are not those of the trials that a run has recorded."""
    config, space = prepared.config, prepared.space
    if description["data"]["fingerprint"] != prepared.data.fingerprint:
        raise ConfigError(
            f"{folder}: the data of {config.data} are not those of its first trials (fingerprint "
            f"{prepared.data.fingerprint}, recorded {description['data']['fingerprint']}): --data says where those "
            "are, --fresh starts over"
        )
    recorded = description.get("space") or {}
    if recorded.get("fingerprint") not in (None, space.fingerprint):
        raise ConfigError(
            f"{folder}: the space {config.space} is another one now (fingerprint {space.fingerprint}, "
            f"recorded {recorded['fingerprint']}): its network or operators have changed; --fresh starts over"
        )
    if recorded.get("code") not in (None, space.code):
        raise ConfigError(
            f"{folder}: the code of {config.space}, with what it imports from beside itself, is not that of its first "
            f"trials (fingerprint {space.code}, recorded {recorded['code']}): put it back, or --fresh starts over"
        )


def check_versions(folder: Path, description: Mapping[str, Any]) -> None:
    """Raises ConfigError where what trains is of other versions than when the run last went on."""
    for what, then, now in changed_versions(description.get("environment") or {}):
        raise ConfigError(
            f"{folder}: its trials were trained with {what} {then}, here is {now}: results may differ; --extend goes "
            "on all the same, --fresh starts over"
        )


def versions() -> dict[str, Any]:
    """The machine of the driver and the versions of what results depend on."""
    found = {"host": platform.node(), "processor": processor(), "python": platform.python_version()}
    for package in ("fusion-nas", "torch", "torchvision", "optuna", "ray", "fvcore", "numpy"):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found | {"formulas": formulas()}


@cache
def formulas() -> str:
    """8 hex digits over our own operators, networks and training loop, as they are installed."""
    whole = hashlib.sha256()
    for package, rooms in _FORMULAS.items():
        root = Path(package.__path__[0])
        for file in sorted(file for room in rooms for file in _files(root / room)):
            whole.update(f"{package.__name__}/{file.relative_to(root)}\0".encode() + file.read_bytes())
    return whole.hexdigest()[:8]


def _files(place: Path) -> Iterator[Path]:
    """A file itself, or all of a room."""
    return iter([place]) if place.suffix else place.rglob("*.py")


def changed_versions(recorded: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What trains otherwise now than when these versions were recorded: what it is, its version then and now."""
    now = versions()
    for package in _TRAINED_WITH:
        before, here = str(recorded.get(package, "")), str(now.get(package, ""))
        if before and before.split(".")[:2] != here.split(".")[:2]:
            yield package, before, here
    if recorded.get("formulas") not in (None, now["formulas"]):
        yield "operators and training code of fingerprint", recorded["formulas"], now["formulas"]
