"""Finds the file that an annotation means, where its name is not spelt as the file's is.

Exporters write another ending than the file has, letters composed otherwise (macOS takes them apart), another case,
backslashes, or names as they stand in a web address; also the whole path on the machine where it was labelled, or its
address in the web. What is meant is taken where one file alone can be; nothing is guessed between two, nothing outside
the data's folder is looked at and nothing is fetched.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, unquote

from trials.data.folders import is_image, split_of
from trials.data.problems import MALFORMED, MISSING, BadEntry, quoted

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/|[A-Za-z]:")  # https://, file:/ and the like; C:


def is_elsewhere(name: str) -> bool:
    """Whether it leads out of the folder: an absolute path, one by way of `..`, or an address such as https://."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or _ADDRESS.match(name) is not None


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

    def find_elsewhere(self, name: str, split: str) -> str:
        """The file of the data set that ends as a name does which leads out of it (`is_elsewhere`).

        Of several files of that name the one that has most of the path in common; one in a folder of a split counts
        only where that is `split`, or what the name itself says. BadEntry where there is none, or none alone.
        """
        said = _spellings_within(name)
        for parts in said:
            splits = {split, *(split_of(part) for part in parts), None}
            found = self._by_name.get(_folded(parts[-1]), []) or self._by_stem.get(_stem(parts[-1]), [])
            found = [file for file in found if {split_of(part) for part in PurePosixPath(file).parts[:-1]} <= splits]
            most = max((_in_common(file, parts) for file in found), default=0)
            found = [file for file in found if _in_common(file, parts) == most]
            if len(found) == 1:
                return found[0]
            if found:
                raise BadEntry(
                    f"file_name {quoted(name)} may mean {found[0]} or {found[1]}: write it relative to the folder of "
                    "images",
                    MALFORMED,
                )
        last = next((parts[-1] for parts in said if is_image(parts[-1])), name)
        raise BadEntry(
            f"file_name {quoted(name)} is a place elsewhere, and no {quoted(last)} lies in the data's folder: copy the "
            "image there, nothing is fetched",
            MISSING,
        )

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return _grouped((_folded(PurePosixPath(name).name), name) for name in sorted(self._there))

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return _grouped((_stem(PurePosixPath(name).name), name) for name in sorted(self._there))


def _spellings_within(name: str) -> list[tuple[str, ...]]:
    """What follows host, drive and `..` of a name that leads elsewhere, in parts; the likeliest spelling first."""
    plain = name.replace("\\", "/")
    scheme, is_address, rest = plain.partition("://")
    if is_address and _ADDRESS.match(plain):
        plain = f"/{rest}" if scheme.lower() == "file" else f"/{rest.partition('/')[2]}"
    way, _, query = plain.partition("?")
    # Label Studio serves /data/local-files/?d=images/1.png: there the path is in the query.
    asked = [value.replace("\\", "/") for _, value in parse_qsl(query) if is_image(value)]
    way = way.partition("#")[0]
    served = [way, unquote(way)]
    spelt = [plain, *([*served, *asked] if is_image(way) else [*asked, *served])]
    return list(dict.fromkeys(parts for each in spelt if (parts := _parts_within(each))))


def _parts_within(way: str) -> tuple[str, ...]:
    parts = [part for part in PurePosixPath(way).parts if part.strip("/") and not _ADDRESS.fullmatch(part)]
    above = max((place for place, part in enumerate(parts) if part == ".."), default=-1)
    return tuple(parts[above + 1 :])


def _in_common(file: str, parts: tuple[str, ...]) -> int:
    """How many folders, from the last on, two paths have in common, and 1."""
    count = 1
    for one, other in zip(PurePosixPath(file).parts[-2::-1], parts[-2::-1], strict=False):
        if _folded(one) != _folded(other):
            break
        count += 1
    return count


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, name in pairs:
        groups[key].append(name)
    return dict(groups)


def _stem(name: str) -> str:
    return _folded(_without_ending(name) if is_image(name) else name)


def _joined(folder: str, name: str) -> str:
    return name if folder in ("", ".") else f"{folder}/{name}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _without_ending(name: str) -> str:
    path = PurePosixPath(name)
    return name[: len(name) - len(path.suffix)]
