"""The file of a table: one archive of plain parts, its schema and a hash over all of them. Free of torch, no pickle.

    table.json           what was trained, on what, with what; the datasheet
    trainings.jsonl      a training a line, see `trials.record.training.Training`; curves rounded
    images.jsonl         whose readings of images the next two hold, in their order
    right.bin            which validation images are right: packed bits, every training's padded to whole bytes
    losses.bin           float16, little-endian: the losses of the first `losses` validation images of each
    parent.safetensors   what inherited trainings started from
    sha256               over names and contents of the others, in this order

The same contents give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.bench.errors import BenchError
from search_spaces.architecture import Architecture
from search_spaces.errors import SpaceError
from trials.readings import Images
from trials.record.training import Identity, Training
from trials.trial import EpochPoint, Failure
from trials.whole_files import write_whole

SCHEMA = 1
FORMAT = "fusion-nas bench"
#: Ten times what a table in the package may take; a larger file is none of ours.
MAX_BYTES = 50 * 1024**2
_HASH = "sha256"
_PARTS = ("table.json", "trainings.jsonl", "images.jsonl", "right.bin", "losses.bin", "parent.safetensors")
_PLAIN = (
    "seed", "epochs", "start", "score", "loss", "correct", "images", "seconds", "train_seconds", "images_per_second",
    "error",
)  # fmt: skip

_OF_ONE_WORKER = ("host", "process", "earlier_attempts")


@dataclass(frozen=True)
class Contents:
    """What a table's file holds. `header` is table.json without format and schema, `images` by a training's identity,
    `parent` safetensors bytes, empty where nothing was inherited."""

    header: Mapping[str, Any]
    trainings: tuple[Training, ...]
    images: Mapping[Identity, Images]
    parent: bytes


def write_table(path: Path, contents: Contents) -> None:
    """Whole or not at all. Raises DiskFull."""
    write_whole(path, to_bytes(contents))


def read_table(path: Path) -> Contents:
    """Raises BenchError where it is no table, of another schema, or not what its hash was taken of."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BenchError(f"{path} is no table: it takes more than {MAX_BYTES // 1024**2} MB; give one of nas bench")
        return from_bytes(path.read_bytes(), str(path))
    except OSError as error:
        raise BenchError(f"{path}: {error.strerror}; give a table of nas bench pack") from None


def to_bytes(contents: Contents) -> bytes:
    """The file's bytes. The losses of all readings must be equally many."""
    environments: list[Mapping[str, Any]] = []
    lines = [_line(training, environments) for training in contents.trainings]
    header = {"format": FORMAT, "schema": SCHEMA, **contents.header, "environments": environments}
    parts = {
        "table.json": json.dumps(header, indent=1, allow_nan=False).encode(),
        "trainings.jsonl": _lines(lines),
        "images.jsonl": _lines({"identity": list(i), "images": len(one.right)} for i, one in contents.images.items()),
        "right.bin": b"".join(np.packbits(one.right).tobytes() for one in contents.images.values()),
        "losses.bin": b"".join(one.losses.astype("<f2").tobytes() for one in contents.images.values()),
        "parent.safetensors": contents.parent,
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, part in {**parts, _HASH: _digest(parts).encode()}.items():
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, part)
    return content.getvalue()


def from_bytes(content: bytes, name: str) -> Contents:
    """The inverse of `to_bytes`; `name` is that of the file, for what is wrong with it. Raises BenchError."""
    parts = _unpacked(content, name)
    try:
        header = json.loads(parts["table.json"])
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise BenchError(f"{name} is no table of fusion-nas bench; give one of nas bench pack")
        if header.get("schema") != SCHEMA:
            raise BenchError(
                f"{name} is a table of schema {header.get('schema')}, this fusion-nas reads {SCHEMA}: "
                "use the version that wrote it, or pack its record again"
            )
        environments = header.pop("environments")
        trainings = tuple(_training(json.loads(line), environments) for line in parts["trainings.jsonl"].splitlines())
        del header["format"], header["schema"]
        return Contents(header, trainings, _images(parts), parts["parent.safetensors"])
    except (KeyError, IndexError, TypeError, ValueError, SpaceError) as error:
        raise BenchError(f"{name} is no table that can be read ({type(error).__name__}: {error})") from None


def _unpacked(content: bytes, name: str) -> dict[str, bytes]:
    """The parts, held against their hash."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            there = {entry.filename: entry.file_size for entry in archive.infolist()}
            if sorted(there) != sorted((*_PARTS, _HASH)) or sum(there.values()) > 4 * MAX_BYTES:
                raise BenchError(f"{name} is no table of fusion-nas bench; give one of nas bench pack")
            parts = {part: archive.read(part) for part in _PARTS}
            expected = archive.read(_HASH).decode(errors="replace")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise BenchError(f"{name} is damaged or no table ({error}): restore it from a copy") from None
    if (found := _digest(parts)) != expected:
        raise BenchError(
            f"{name} does not match its hash (recorded {expected[:16]}, found {found[:16]}): it was changed, "
            "restore it from a copy"
        )
    return parts


def _digest(parts: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name in _PARTS:
        whole.update(f"{name} {len(parts[name])}\n".encode())
        whole.update(parts[name])
    return whole.hexdigest()


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row, separators=(",", ":"), allow_nan=False) + "\n" for row in rows).encode()


def _line(training: Training, environments: list[Mapping[str, Any]]) -> dict[str, Any]:
    # Whose machine it was is nobody's business; what it was is in the rest.
    environment = {key: value for key, value in training.environment.items() if key not in _OF_ONE_WORKER}
    if environment not in environments:
        environments.append(environment)
    return {
        "architecture": training.architecture.to_json(),
        **{name: getattr(training, name) for name in _PLAIN},
        "curve": [[round(point.train_loss, 5), round(point.images_per_second)] for point in training.curve],
        "failure": None if training.failure is None else str(training.failure),
        "environment": environments.index(environment),
    }


def _training(line: Mapping[str, Any], environments: list[Mapping[str, Any]]) -> Training:
    curve = tuple(EpochPoint(place + 1, loss, speed) for place, (loss, speed) in enumerate(line["curve"]))
    failure = None if line["failure"] is None else Failure(line["failure"])
    return Training(
        Architecture.from_json(line["architecture"]), **{name: line[name] for name in _PLAIN}, curve=curve,
        failure=failure, environment=environments[line["environment"]],
    )  # fmt: skip


def _images(parts: Mapping[str, bytes]) -> dict[Identity, Images]:
    found: dict[Identity, Images] = {}
    whose = [json.loads(line) for line in parts["images.jsonl"].splitlines()]
    if not whose:
        return found
    losses = np.frombuffer(parts["losses.bin"], "<f2").astype(np.float16).reshape(len(whose), -1)
    begin = 0
    for place, one in enumerate(whose):
        end = begin + -(-one["images"] // 8)
        bits = np.frombuffer(parts["right.bin"][begin:end], np.uint8)
        key, seed, epochs, start = one["identity"]
        right = np.unpackbits(bits, count=one["images"]).astype(bool)
        found[key, seed, epochs, start] = Images(right, losses[place])
        begin = end
    return found
