"""The folder an export goes to: all of it or nothing, and never over somebody else's files.

Where others' files are beside it (`force`), its own are put in one by one and nothing else is touched.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.export import hashes
from nas.export.errors import ExportError
from nas.export.formats import FORMATS
from nas.export.trained import FORMAT
from trials.record.file import FILE_NAME
from trials.whole_files import FULL, disk_full, runs

#: What every export holds.
ALWAYS = (
    *("arch.json", "weights.safetensors", "weights.pt", "preprocessing.json", "parity.json", "README.md"),
    hashes.NAME,
)
#: Beside these, what formats write where nobody says which, and a program where there is a model.py.
FILES = (*ALWAYS, *(form.name for form in FORMATS if form.default), "predict.py")
#: All that an export may hold. Python leaves __pycache__ where a model.py was imported.
OURS = {*FILES, "__pycache__", *(name for form in FORMATS for name in (form.name, *form.beside))}


def refuse_foreign(out: Path, force: bool = False) -> None:
    """Raises ExportError when `out` holds anything that is not an earlier export, unless that may be (`force`); never
    may it be a run."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ExportError(f"{out} is a file: give another folder")
    if (out / FILE_NAME).exists():
        raise ExportError(f"{out} holds {FILE_NAME!r}, it is a run: give another folder, such as {out / 'exported'}")
    if force:
        return
    names = sorted(entry.name for entry in out.iterdir() if entry.name != "__pycache__")
    foreign = [name for name in names if name not in OURS]
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


def changed(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """By file, what is not as it was exported, and what lies there that is none of an export's."""
    wrong = hashes.wrong_hashes(folder)
    foreign = [name for name, why in wrong.items() if why == hashes.UNNAMED and Path(name).parts[0] not in OURS]
    notes = dict.fromkeys(foreign, "is no file of the export, and was not looked at")
    return {name: why for name, why in wrong.items() if name not in notes}, notes


@contextmanager
def staged(out: Path, force: bool = False) -> Iterator[Path]:
    """An empty folder beside `out` that takes its place when the block ends well, and goes away otherwise.

    With `force` files of others stay as they are beside the export's, but for those of the same names. What killed
    exports left beside `out` is removed.

    Raises:
        DiskFull: there is no room; an earlier export is still there.
    """
    out = out.resolve()  # a link stays, and what it points to is replaced
    out.parent.mkdir(parents=True, exist_ok=True)
    _tidy(out)
    refuse_foreign(out, force)
    staging = _beside(out, "partial")
    try:
        staging.mkdir()
        yield staging
        refuse_foreign(out, force)  # minutes may have passed
        if force and out.exists():
            _put_beside(staging, out)
        else:
            _replace(staging, out)
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(out) from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _beside(out: Path, what: str) -> Path:
    return out.with_name(f".{out.name}.{os.getpid()}-{uuid.uuid4().hex}.{what}")


def _tidy(out: Path) -> None:
    """Where one was killed between its two renames, the earlier export comes back."""
    name = re.compile(rf"\.{re.escape(out.name)}\.(\d+)-[0-9a-f]+\.(partial|old)")
    for path in sorted(out.parent.iterdir()):
        found = name.fullmatch(path.name)
        if found is None or runs(int(found[1])):
            continue
        if found[2] == "old" and not out.exists():
            path.rename(out)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _put_beside(staging: Path, out: Path) -> None:
    """The hashes come last: one that was broken off on the way is told by `nas verify`."""
    names = [path.relative_to(staging) for path in sorted(staging.rglob("*")) if path.is_file()]
    for name in names:
        if (out / name).is_dir() or any(parent.is_symlink() or parent.is_file() for parent in _inside(out, name)):
            raise ExportError(f"{out / name} cannot be written, what has that name is no file of an export: move it")
    earlier = hashes.named(out) if _is_export(out) else []
    for name in sorted(names, key=lambda name: name.name == hashes.NAME):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / name, out / name)
    for name in (Path(name) for name in earlier):
        if name not in names and name.parts[0] in OURS and not any(map(Path.is_symlink, _inside(out, name))):
            (out / name).unlink(missing_ok=True)


def _inside(out: Path, name: Path) -> list[Path]:
    """The folders between `out` and its file `name`."""
    return [out / parent for parent in name.parents if parent.parts]


def _replace(staging: Path, out: Path) -> None:
    """Two renames: a crash between them leaves no `out`, with old and new whole beside it."""
    if not out.exists():
        staging.rename(out)
        return
    old = _beside(out, "old")
    out.rename(old)
    try:
        staging.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
