"""An environment of torch, what torch itself requires, and nothing else: no numpy, torchvision, safetensors."""

from __future__ import annotations

from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement

_KEPT: list[TemporaryDirectory[str]] = []  # until the tests end


@cache
def torch_alone() -> Path:
    """A folder to import from: links to what is installed here of torch and, by their metadata, of what it needs."""
    scratch = TemporaryDirectory(prefix="fusion-nas-torch-alone-")
    _KEPT.append(scratch)
    folder, wanted, seen = Path(scratch.name), ["torch"], set()
    while wanted:
        found = distribution(wanted.pop())
        if found.name in seen:
            continue
        seen.add(found.name)
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))).resolve())
        required = map(Requirement, found.requires or ())
        wanted += [one.name for one in required if one.marker is None or one.marker.evaluate({"extra": ""})]
    return folder
