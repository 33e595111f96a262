"""What is said of a setting, on its own field: help, role, option.

`Annotated[int, Field(ge=1), Setting("Train N architectures.", …)] = 20` is all that there is of a setting: the command
line's options, the docs' table, `--set` and what `--extend` allows are made of it. A subclass that only has another
default or bound gives these alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """When a setting may change."""

    FIXED = "fixed"  # it decides what a run finds: the run keeps what it began with
    PLACE = "where it is"  # what is there decides, and is recognised by its fingerprint: it may have moved
    EXTEND = "extend"  # in an extended run: recorded trials are priced anew, none is trained again
    CIRCUMSTANCE = "any time"  # where and how fast a search runs, and what is written at its end: not what it finds


class Group(StrEnum):
    """The headings of options."""

    SPACE = "What is searched"
    DATA = "Data"
    SEARCH = "Search"
    EFFORT = "What the search may take"
    ASKED = "Objectives and budgets"
    TRAINING = "Training"
    PLACE = "Where it runs"
    LATENCY = "How latency is measured"


@dataclass(frozen=True)
class Setting:
    """Of one setting: `help` is a sentence, in which {choices} stands for the values that its type allows.

    option: the one that sets it; None for a setting of files and `--set` alone.
    metavar: the option's placeholder. group: under which heading it stands.
    default: what is said of the default, where the value does not say it.
    page: the page of the docs that says more.
    repeated: whether the option of a list may be given several times, each adding to it.
    """

    help: str
    role: Role = Role.FIXED
    option: str | None = None
    metavar: str = ""
    group: Group = Group.SEARCH
    default: str | None = None
    page: str | None = None
    repeated: bool = False
