"""`nas doctor`: is this machine fit to search, and if not, what is missing."""

from __future__ import annotations

import platform
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from nas.engines.sockets import temporary_folder_is_short
from reports.formatting import format_bytes
from trials.cores import cores
from trials.record.file import network_file_system

#: Bytes that a search should find free: decoded images, weights, what Ray keeps.
LEAST_FREE_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `ok`, what was found, and where it is not ok, the mend."""

    name: str
    ok: bool
    found: str
    mend: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(folder: Path) -> Iterator[Finding]:
    """Look at everything a search in `folder` needs, one finding at a time."""
    checks: list[tuple[str, Callable[[], str], str]] = [
        ("python", _python, ""),
        ("packages", _packages, "install the pinned requirements: make search does"),
        ("torch", _torch, "install torch and torchvision that match each other"),
        ("device", _device, ""),
        ("ray", _ray, "install ray[tune] >= 2.59, or search with --engine local"),
        ("record", lambda: _record(folder), "search with --out on a disk that can be written to"),
        ("room", lambda: _room(folder), "free some, or set TMPDIR, FUSION_NAS_CACHE and --out to disks with room"),
        ("data", _data, "reinstall the package: its embedded dataset is missing or damaged"),
        ("onnx", _onnx, "install onnx, onnxscript and onnxruntime, or search with --export none"),
    ]
    for name, look, mend in checks:
        try:
            yield Finding(name, True, look())
        except Exception as error:  # whatever is wrong with a machine is the finding
            yield Finding(
                name, False, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", mend
            )


def _python() -> str:
    return f"{platform.python_version()} on {platform.platform()}, {cores()} cores"


def _packages() -> str:
    names = ("torch", "torchvision", "optuna", "ray", "fvcore", "sqlalchemy", "pydantic", "moocore")
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)


def _torch() -> str:
    import torch
    import torchvision

    torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)  # fails where the two do not match
    return f"torch {torch.__version__} and torchvision {torchvision.__version__} match"


def _device() -> str:
    from trials.machine.device import environment, has_bf16, resolve

    device = resolve("auto")
    bf16 = "bfloat16 in hardware" if has_bf16(device) else "no bfloat16 in hardware: trains in float32"
    return f"{device.type}: {environment(device)['device']}, {bf16}"


def _ray() -> str:
    import ray

    version = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if version < (2, 59):
        raise RuntimeError(f"ray {ray.__version__} lets others run code on this machine; 2.59 or newer is needed")
    if not temporary_folder_is_short():
        return f"ray {ray.__version__}, its sockets in /tmp: TMPDIR is too long for their paths"
    return f"ray {ray.__version__}"


def _room(folder: Path) -> str:
    from trials.data.disk_cache import cache_root

    places = {"out": folder, "TMPDIR": Path(tempfile.gettempdir()), "cache": cache_root()}
    free = {name: shutil.disk_usage(_existing(place)).free for name, place in places.items()}
    text = ", ".join(f"{name} {format_bytes(count)}" for name, count in free.items())
    if min(free.values()) < LEAST_FREE_BYTES:
        raise RuntimeError(f"free are {text}; a search wants {format_bytes(LEAST_FREE_BYTES)} in each")
    return f"free: {text}"


def _existing(place: Path) -> Path:
    """The folder itself, or the one that it will be made in."""
    while not place.exists():
        place = place.parent
    return place


def _record(folder: Path) -> str:
    place = _existing(folder)
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        connection = sqlite3.connect(Path(scratch) / "probe.db")
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        connection.execute("CREATE TABLE probe (value)")
        connection.commit()
        connection.close()
    kind = network_file_system(place)
    journal = f"a network file system ({kind}): plain journal" if kind else f"a local disk: journal {mode}"
    return f"SQLite {sqlite3.sqlite_version}, {place.resolve()} is writable, on {journal}"


def _data() -> str:
    from trials.data import DataConfig, load_data

    data = load_data(DataConfig())
    return f"{data.name}: {len(data.train):,} training and {len(data.val):,} validation images, {data.fingerprint}"


def _onnx() -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name in ("onnx", "onnxscript", "onnxruntime"))
