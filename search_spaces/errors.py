"""The base of every error that a user can mend, and what can be wrong with a space."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend: one line that says what was given, what was expected and how.

    `exit_code` is what the command line ends with; the message is all it prints.
    """

    exit_code = 2


class SpaceError(UserError, ValueError):
    """A space, operator, ratio or architecture that cannot be: the message says how to mend it."""


def unknown(kind: str, given: str, known: Iterable[str]) -> SpaceError:
    """The error for a name that is not known: what was given, the nearest known one, and all of them."""
    names = list(known)
    lowered = {name.lower(): name for name in names}
    nearest = difflib.get_close_matches(given.lower(), lowered, n=1, cutoff=0.4)
    hint = f"did you mean {lowered[nearest[0]]!r}? " if nearest else ""
    return SpaceError(f"unknown {kind} {given!r}: {hint}known are {', '.join(names)}")
