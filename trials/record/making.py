"""How a record appears, whole or not at all, also where two machines make the same one at once."""

from __future__ import annotations

import os
import re
from pathlib import Path

from trials.errors import StoreError
from trials.record.file import FILE_NAME


def _host() -> str:
    return os.uname().nodename


def unfinished_path(path: Path) -> Path:
    """Of this process alone: another machine may be making the same record."""
    return path.with_name(f"{path.name}.{_host()}-{os.getpid()}.new")


def is_unfinished(name: str) -> bool:
    """Whether that is what making a record leaves where it is killed; before there were two names there was one."""
    return re.fullmatch(_unfinished_names(FILE_NAME), name) is not None


def _unfinished_names(record: str, host: str = ".+") -> str:
    return rf"{re.escape(record)}(\.{host}-\d+)?\.new(-journal)?"


def remove_unfinished_of(path: Path, here: bool = False) -> None:
    """What is left of making the record at `path`: by whomever, or by processes of this machine only (`here`)."""
    names = re.compile(_unfinished_names(path.name, re.escape(_host()) if here else ".+"))
    for other in path.parent.iterdir():
        if names.fullmatch(other.name):
            other.unlink(missing_ok=True)


def put_in_place(unfinished: Path, path: Path) -> None:
    """As `os.replace`, but of two machines that make a record at the same time one is told that it is there."""
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        raise StoreError(f"{path} exists already") from None
    except FileNotFoundError:  # who has made it meanwhile has removed what is late
        raise StoreError(f"{path} is being made by another process: give the command again") from None
    except OSError:  # a file system without such links
        os.replace(unfinished, path)
    else:
        unfinished.unlink(missing_ok=True)
