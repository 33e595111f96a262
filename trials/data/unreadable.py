"""Image files that cannot be decoded: named all together, refused or left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trials.data.config import DataError
from trials.data.findings import EXAMPLES, listed


@dataclass(frozen=True)
class Unreadable:
    """One such file: its place in the list of those to decode, its path, and why."""

    place: int
    path: str
    reason: str

    @classmethod
    def of(cls, place: int, path: Path, error: Exception) -> Unreadable:
        """`error` is whatever PIL or the operating system raised."""
        reason = " ".join((getattr(error, "strerror", None) or str(error)).replace(str(path), "it").split())
        return cls(place, str(path), reason or type(error).__name__)

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class UnreadableImages(DataError):
    """Names a few of those `found` (at least one), and says how many more there are."""

    def __init__(self, found: Sequence[Unreadable]) -> None:
        self.found = found
        if len(found) == 1:
            few, them = f"image {found[0]}", "it"
        else:
            named = listed((f"{one.path} ({one.reason})" for one in found[:EXAMPLES]), len(found))
            few, them = f"{len(found):,} images: {named}", "them"
        super().__init__(f"cannot read {few}; mend or remove {them}, or leave {them} out with --data-errors drop")
