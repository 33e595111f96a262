"""The folder an export goes to: all of it or nothing, and never over somebody else's files."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.export import hashes
from nas.export.errors import ExportError
from nas.export.formats import FORMATS
from nas.export.trained import FORMAT

#: What every export holds.
ALWAYS = (
    *("arch.json", "weights.safetensors", "weights.pt", "preprocessing.json", "parity.json", "README.md"),
    hashes.NAME,
)
#: Beside these, what formats write where nobody says which, and a program where there is a model.py.
FILES = (*ALWAYS, *(form.name for form in FORMATS if form.default), "predict.py")
#: All that an export may hold. Python leaves __pycache__ where a model.py was imported.
_OURS = {*FILES, "__pycache__", *(name for form in FORMATS for name in (form.name, *form.beside))}


def refuse_foreign(out: Path, force: bool = False) -> None:
    """Raises ExportError when `out` holds anything that is not an earlier export, unless that may be (`force`)."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ExportError(f"{out} is a file: give another folder")
    if force:
        return
    names = sorted(entry.name for entry in out.iterdir() if entry.name != "__pycache__")
    foreign = [name for name in names if name not in _OURS]
    if foreign:
        raise ExportError(
            f"{out} holds {foreign[0]!r}, which is not an export's: give another folder, move it away, or give --force"
        )
    if names and not _is_export(out):
        raise ExportError(
            f"{out} holds files that are not an earlier export: give another folder, move them away, or give --force"
        )


def _is_export(folder: Path) -> bool:
    try:
        document = json.loads((folder / "arch.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("format") == FORMAT


@contextmanager
def staged(out: Path, force: bool = False) -> Iterator[Path]:
    """An empty folder beside `out` that takes its place when the block ends well, and goes away otherwise.

    With `force` files of others stay where they are beside the export's, but for those of the same names.
    """
    out = out.resolve()  # a link stays, and what it points to is replaced
    refuse_foreign(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.{uuid.uuid4().hex}.partial")
    staging.mkdir()
    try:
        yield staging
        refuse_foreign(out, force)  # minutes may have passed
        if force:
            _keep_foreign(out, staging)
        _replace(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _keep_foreign(out: Path, staging: Path) -> None:
    for entry in out.iterdir() if out.is_dir() else ():
        if entry.name not in _OURS:
            kept = staging / entry.name
            if entry.is_dir() and not entry.is_symlink():
                shutil.copytree(entry, kept, symlinks=True)
            else:
                shutil.copy2(entry, kept, follow_symlinks=False)


def _replace(staging: Path, out: Path) -> None:
    """Two renames: a crash between them leaves no `out`, with old and new whole beside it."""
    if not out.exists():
        staging.rename(out)
        return
    old = out.with_name(f".{out.name}.{uuid.uuid4().hex}.old")
    out.rename(old)
    try:
        staging.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
