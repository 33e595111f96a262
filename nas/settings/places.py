"""Where things are: settings that name a file or folder, made independent of where the program stands.

What is there is recognised by its fingerprint, so a place is no part of what a run is.
"""

from __future__ import annotations

from pathlib import Path

from search_spaces.references import absolute, is_reference, located, short


def absolute_data(name: str) -> str:
    """`folder:PATH` with an absolute path; names of published data as they are."""
    form, colon, folder = name.partition(":")
    return f"{form}:{absolute(folder)}" if colon and folder.strip() else name


def absolute_space(name: str) -> str:
    """`FILE.py:OBJECT` with an absolute path; other names as they are."""
    return located(name) if is_reference(name) else name


#: The settings that name what decides a result.
PLACES = ("space", "data", "training.parent", "latency_profile")


def without_place(key: str, value: object) -> object:
    """What a setting says, without where the thing is that it names."""
    if key not in PLACES or not isinstance(value, str):
        return value
    if key == "space":
        return short(value)
    if key == "data":
        return value.partition(":")[0]
    return Path(value).name
