"""What is wrong with a space, an operator or an architecture, said in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SpaceError(ValueError):
    """A space, operator, ratio or architecture that cannot be: the message says how to mend it."""


def unknown(kind: str, given: str, known: Iterable[str]) -> SpaceError:
    """The error for a name that is not known: what was given, the nearest known one, and all of them."""
    names = list(known)
    nearest = difflib.get_close_matches(given, names, n=1, cutoff=0.4)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return SpaceError(f"unknown {kind} {given!r}: {hint}known are {', '.join(names)}")
