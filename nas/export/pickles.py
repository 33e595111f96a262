"""Which files of an export run code when they are read. Nothing is read in a way that would."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Collection
from pathlib import Path

import torch

#: What is read as text or by Python, which is looked at elsewhere.
_TEXT = (".py", ".json", ".md", ".txt", ".xml", ".pyc")
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
#: All that an exported program's archive holds, below its one folder.
_PROGRAM = re.compile(
    r"data/weights/weight_\d+|data/constants/tensor_\d+|data/(weights|constants)/model_\1_config\.json|"
    r"models/model\.json|data/sample_inputs/model\.pt|archive_format|archive_version|byteorder|"
    r"\.data/(version|serialization_id)"
)


def wrong_pickles(folder: Path, foreign: Collection[str] = ()) -> dict[str, str]:
    """Files, or parts of archives, that torch would not read without running code; `foreign` are left alone."""
    wrong: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name in foreign or not path.is_file() or path.suffix in _TEXT:
            continue
        if path.name == "weights.pt":
            if not _plain_tensors(path.read_bytes()):
                wrong[name] = "is no file of tensors alone"
        elif path.suffix == ".pt2":
            if (why := _wrong_program(path)) is not None:
                wrong[name] = why
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inside = [part for part in archive.namelist() if part.endswith((".pt", ".pkl", ".pickle"))]
                bad = [part for part in inside if not _plain_tensors(archive.read(part))]
            if bad:
                wrong[name] = f"holds {bad[0]}, a pickle that runs code"
        elif path.read_bytes()[:2] in _PICKLES:
            wrong[name] = "is a pickle, which runs code when it is read"
    return wrong


def _wrong_program(path: Path) -> str | None:
    """What an archive of torch.export holds beside a graph and plain tensors: torch would read it with code."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(set(names)) != len(names):
                return "holds two parts of one name"
            for name in names:
                part = name.partition("/")[2]
                if _PROGRAM.fullmatch(part) is None:
                    return f"holds {name}, which is no part of a graph with plain tensors"
                if part.endswith("model.pt") and not _plain_tensors(archive.read(name)):
                    return f"holds {name}, a pickle that runs code"
                if part.endswith("_config.json"):
                    pickled = [
                        tensor
                        for tensor, entry in json.loads(archive.read(name))["config"].items()
                        if entry.get("use_pickle") is not False or not _PROGRAM.fullmatch(_place(part, entry))
                    ]
                    if pickled:
                        return f"holds {pickled[0]} as an object, which runs code when it is read"
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError, AttributeError):
        return "is no archive of torch.export"
    return None


def _place(config: str, entry: dict[str, object]) -> str:
    return f"{config.rpartition('/')[0]}/{entry['path_name']}"


def _plain_tensors(content: bytes) -> bool:
    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # whatever is met in a file that is something else
        return False
    return True
