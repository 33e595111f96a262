"""What a node says of itself. Sent to nodes as it stands: it needs nothing there but Python, and says what it lacks."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

#: Whose versions are told. Ours first: of the others only what trains must be equal.
PACKAGES = ("fusion-nas", "ray", "torch", "torchvision", "optuna", "numpy")


class Node:
    """Answers for the machine that it runs on; an actor of a node, or an object of the driver."""

    def clock(self) -> float:
        """The machine's wall clock, in seconds."""
        return time.time()

    def about(self, session_folder: str | None = None) -> dict[str, Any]:
        """Versions, devices, cores, memory and disks; `session_folder` is where Ray keeps its own there."""
        return {
            "host": platform.node(),
            "python": platform.python_version(),
            "packages": _packages(),
            "formulas": _formulas(),
            "gpus": _gpus(),
            "cores": _cores(),
            "memory_bytes": _memory_bytes(),
            "free_bytes": _free(session_folder),
            "flock": _flock(),
            "token_authentication": _token_authentication(),
        }

    def agreement(self, settings: dict[str, Any], network_input: dict[str, Any], with_data: bool) -> dict[str, Any]:
        """The fingerprints of data and space of a recorded configuration here; `*_error` where one is not to be had.

        network_input: what networks are given of the driver's data. with_data: data that it ships need not be here.
        """
        found: dict[str, Any] = {}
        try:
            from nas.settings.loading import read_config
            from nas.trainings.prepared import make_space
            from search_spaces.networks import InputSpec
            from trials.training.trainer import load_any

            config = read_config(settings)
        except Exception as error:
            return {"data_error": _line(error), "space_error": _line(error)}
        if with_data:
            try:
                found["data"] = load_any(config.data_config()).fingerprint
            except Exception as error:
                found["data_error"] = _line(error)
        try:
            space = make_space(config, InputSpec(**network_input))
            found |= {"space": space.fingerprint, "code": space.code}
        except Exception as error:
            found["space_error"] = _line(error)
        return found


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _formulas() -> str | None:
    """A fingerprint of our own code that trains; None where it cannot be imported."""
    try:
        from nas.trainings.sameness import formulas

        return formulas()
    except Exception:
        return None


def _gpus() -> list[dict[str, Any]]:
    """Name and memory of each CUDA device, by torch; none where there is no torch."""
    try:
        import torch

        found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    except Exception:
        return []
    return [{"name": one.name, "memory_bytes": int(one.total_memory)} for one in found]


def _cores() -> int:
    """Those that a process may use there, of a machine or its container; all of the machine where that is not told."""
    try:
        from trials.cores import cores

        return cores()
    except ImportError:
        return os.cpu_count() or 1


def _memory_bytes() -> int:
    """Of the machine, or of the container where that is less."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            return min(found, int(Path("/sys/fs/cgroup", limit).read_text()))
    return found


def _free(session_folder: str | None) -> dict[str, int]:
    """Free bytes where temporary files, decoded images, Ray's spilled objects and its shared memory lie."""
    places: dict[str, Path] = {"temporary": Path(tempfile.gettempdir())}
    with contextlib.suppress(Exception):
        from trials.data.disk_cache import cache_root

        places["decoded images"] = cache_root()
    if session_folder is not None:
        places["ray"] = Path(session_folder)
    if Path("/dev/shm").is_dir():
        places["object store"] = Path("/dev/shm")
    found = {}
    for name, place in places.items():
        while not place.exists() and place != place.parent:
            place = place.parent
        with contextlib.suppress(OSError):
            found[name] = shutil.disk_usage(place).free
    return found


def _flock() -> str | None:
    """None where files can be locked as measurements need it; else why not."""
    import fcntl

    folder = os.environ.get("FUSION_NAS_LOCKS") or tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile(dir=folder) as one:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return None


def _token_authentication() -> bool | None:
    """Whether Ray asks for a token here; None where it does not say."""
    try:
        from ray._private.authentication.authentication_utils import is_token_auth_enabled

        return bool(is_token_auth_enabled())
    except Exception:
        return None
