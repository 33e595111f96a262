"""SHA256SUMS: the hash of every file of an export, as `sha256sum -c` reads it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

NAME = "SHA256SUMS"
#: What is said of a file that came later.
UNNAMED = f"is not named in {NAME}"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def write_hashes(folder: Path) -> None:
    """Of all that lies in it."""
    lines = [f"{_hash(path)}  {path.relative_to(folder).as_posix()}" for path in _files(folder)]
    (folder / NAME).write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")


def named(folder: Path) -> list[str]:
    """The files that it names, none outside the folder; none where it cannot be read."""
    said = _said(folder)
    return [] if isinstance(said, str) else sorted(said)


def wrong_hashes(folder: Path) -> dict[str, str]:
    """By file, what is wrong with it: changed, missing, unknown; empty where nothing is."""
    said = _said(folder)
    if isinstance(said, str):
        return {NAME: said}
    there = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    wrong = dict.fromkeys(said.keys() - there.keys(), "is missing")
    wrong |= dict.fromkeys(there.keys() - said.keys(), UNNAMED)
    changed = (name for name in said.keys() & there.keys() if _hash(there[name]) != said[name])
    return dict(sorted((wrong | dict.fromkeys(changed, "is not what was exported")).items()))


def _said(folder: Path) -> dict[str, str] | str:
    """The hash of each file that is named, or what is wrong with the file of hashes."""
    try:
        text = (folder / NAME).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return "is missing"
    said: dict[str, str] = {}
    for line in text.removesuffix("\n").split("\n"):  # a name may hold what else ends a line
        found = _LINE.fullmatch(line)
        if found is None:
            return f"has a line that is no hash and name: {line[:60]!r}"
        said[found[2]] = found[1]
    outside = [name for name in said if Path(name).is_absolute() or ".." in Path(name).parts]
    return f"names {outside[0]!r}, which is outside the folder" if outside else said


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / NAME and "__pycache__" not in path.parts:
            yield path


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
