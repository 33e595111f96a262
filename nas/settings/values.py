"""Values as people write them in a line: lists, times, figures. ValueError says what was expected."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable


def nearest(name: str, offered: Iterable[str]) -> str:
    """`; did you mean 'cbam'?`: the one that was probably meant; empty where none is near."""
    found = difflib.get_close_matches(name, list(offered), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def read_list(text: str) -> list[str]:
    """`a, b,c` as its parts."""
    return [part.strip() for part in text.split(",") if part.strip()]


def read_whole_numbers(text: str) -> list[int]:
    """`4,8,16` as numbers. Raises ValueError for anything else."""
    try:
        return [int(part) for part in read_list(text)]
    except ValueError:
        raise ValueError("expected whole numbers such as 4,8,16") from None


def read_count(text: str) -> int | str:
    """`3` as a number, `none` as it is. Raises ValueError for anything else."""
    try:
        return "none" if text == "none" else int(text)
    except ValueError:
        raise ValueError("expected a whole number, or none") from None


def read_whole_numbers_or_none(text: str) -> list[int] | str:
    """`3,9,27` as numbers, `none` as it is. Raises ValueError for anything else."""
    try:
        return "none" if text == "none" else read_whole_numbers(text)
    except ValueError:
        raise ValueError("expected whole numbers such as 3,9,27, or none") from None


def read_figures(text: str) -> dict[str, float]:
    """`ap=0.2,ap_small=0.1` by figure, `none` as nothing. Raises ValueError for anything else."""
    try:
        pairs = [part.split("=") for part in read_list(text)] if text != "none" else []
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise ValueError("expected figures and numbers such as ap=0.2,ap_small=0.1") from None


def read_weights(text: str) -> dict[str, float]:
    """`cbam=3,aff` by name, 2 where none is said. Raises ValueError for anything else, or a weight not above 0."""
    found = {}
    for part in read_list(text):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        try:
            found[name] = float(value) if equals else 2.0
        except ValueError:
            found[name] = math.nan
        if not name or not 0 < found[name] < math.inf:
            raise ValueError(f"{part!r}: expected operators and weights above 0, such as cbam=3,aff")
    return found
