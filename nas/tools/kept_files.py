"""The files beside a run's record, looked at without loading a network."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from trials.errors import StoreError
from trials.record.images import read_images


def readable(path: Path) -> str | None:
    """Why a file of a run broke off or was changed; None where it is as long and as it says of itself."""
    try:
        if path.suffix == ".safetensors":
            return _tensors(path)
        if path.suffix == ".npz":
            read_images(path)
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError, struct.error, StoreError) as error:
        return " ".join(str(error).split())[:120]
    return None


def _tensors(path: Path) -> str | None:
    """By the file's own header: where each tensor lies, to the file's end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            return f"{size} bytes are no weights"
        (length,) = struct.unpack("<Q", start)
        if length > size - 8:
            return f"its header of {length:,} bytes is longer than the file"
        header = json.loads(file.read(length))
    ends = [int(one["data_offsets"][1]) for name, one in header.items() if name != "__metadata__"]
    wanted = 8 + length + max(ends, default=0)
    return None if wanted == size else f"{size:,} bytes where {wanted:,} belong"
