"""References to objects in a user's Python file, `my_space.py:SPACE`, as text; free of torch."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def is_reference(name: str) -> bool:
    """Whether a name is one of an object in a Python file."""
    return ".py:" in name


def absolute(path: str) -> str:
    """A path from whatever folder it is read; `~` is the user's home, where there is such a user."""
    with suppress(RuntimeError):
        return str(Path(path).expanduser().absolute())
    return str(Path(path).absolute())


def located(reference: str) -> str:
    """The same reference from whatever folder: with the whole path of its file."""
    file, _, name = reference.rpartition(":")
    return f"{absolute(file)}:{name}"


def short(reference: str) -> str:
    """A reference by the names of its file and object, wherever the file is; other names as they are."""
    if not is_reference(reference):
        return reference
    file, _, name = reference.rpartition(":")
    return f"{Path(file).name}:{name}"
