"""Finds the file that an annotation means, where its name is not spelt as the file's is.

Exporters write another ending than the file has, letters composed otherwise (macOS takes them apart), another case,
backslashes, or names as they stand in a web address. What is meant is taken where one file alone can be; nothing is
guessed between two.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from trials.data.folders import is_image, split_of


class Files:
    """The images of a folder by name; names are relative to `root`, with forward slashes."""

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self._root = root
        self._there = {name for name in names if is_image(name)}
        self._alike: dict[str, list[str]] = defaultdict(list)
        self._stems: dict[str, list[str]] = defaultdict(list)
        self._called: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._there):
            self._alike[_folded(name)].append(name)
            self._stems[_folded(_without_ending(name))].append(name)
            self._called[PurePosixPath(name).name].append(name)

    def find(self, folders: Iterable[str], name: str) -> str | None:
        """The file that `name` means in one of `folders`, the likeliest first; None where there is none, or two."""
        spellings = list(dict.fromkeys([name, name.replace("\\", "/"), unquote(name)]))
        places = [_joined(folder, spelling) for spelling in spellings for folder in folders]
        for place in places:
            if place in self._there or (self._root / place).is_file():  # the second: through a link
                return place
        for place in places:
            if len(found := self._alike.get(_folded(place), [])) == 1:
                return found[0]
        for place in places:
            stem = _without_ending(place) if is_image(place) else place
            if len(found := self._stems.get(_folded(stem), [])) == 1:
                return found[0]
        for spelling in spellings:
            found = self._called.get(PurePosixPath(spelling).name, [])
            if len(found) == 1 and not any(split_of(part) for part in PurePosixPath(found[0]).parts):
                return found[0]  # of a folder that is called otherwise; a split's may hold another image of the name
        return None


def _joined(folder: str, name: str) -> str:
    return name if folder in ("", ".") else f"{folder}/{name}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _without_ending(name: str) -> str:
    path = PurePosixPath(name)
    return name[: len(name) - len(path.suffix)]
