"""What is wrong with a data set, entry by entry: collected, listed, and refused or counted; free of torch.

One policy serves images and scenes. What cannot be used (a file that is missing or damaged, an annotation that cannot
be) is refused, or left out and counted. What can be used but tells too much, images on both sides of a split, is
neither: it is a finding (`trials.data.findings`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trials.data.config import DataError, one_line

_SHOWN = 3  # problems that one line names; `nas check` lists them all
_LONGEST_REASON = 120
_IN_MEMORY = re.compile("<_io[.]BytesIO object at 0x[0-9a-f]+>")  # what PIL calls a file whose bytes it was given
_LONGEST = 80  # characters of text from a file that a message repeats

MISSING = "missing file"
UNREADABLE = "unreadable image"
SIZE = "wrong image size"
OUTSIDE = "box outside the image"
NO_AREA = "box without area"
CATEGORY = "unknown category"
DUPLICATE = "duplicate id"
MASK = "bad mask"
MALFORMED = "malformed entry"
EMPTY = "image without objects"

MEND = "Mend them, or leave them out with --data-errors drop"


@dataclass(frozen=True)
class Problem:
    """One bad entry.

    file: the file it stands in, relative to the data set's folder. entry: which of its entries, such as
    "annotation 17"; empty for the file as a whole. what: what was found, and what was expected. kind: one of the
    names above, by which problems are counted.
    """

    file: str
    entry: str
    what: str
    kind: str

    def __str__(self) -> str:
        return one_line(": ".join(part for part in (self.file, self.entry, self.what) if part))


class ProblemList(list[Problem]):
    """Collects problems while a data set is read."""

    def note(self, file: str, entry: str, what: str, kind: str) -> None:
        self.append(Problem(file, entry, what, kind))


class DataRefused(DataError):
    """A data set with bad entries under the policy "refuse"; `problems` has them all, the message the first few.

    mend: what to do about them.
    """

    def __init__(self, name: str, problems: Sequence[Problem], mend: str = MEND) -> None:
        shown = "; ".join(str(problem) for problem in problems[:_SHOWN])
        more = f"; and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
        super().__init__(f"{name} has {counted(problems)}: {shown}{more}. {mend}")
        self.problems = tuple(problems)


def counted(problems: Sequence[Problem]) -> str:
    """How many there are of each kind, as words: "2 bad entries (missing file 1, bad mask 1)"."""
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in counts(problems).items())
    return f"{len(problems):,} bad entr{'y' if len(problems) == 1 else 'ies'} ({kinds})"


def counts(problems: Sequence[Problem]) -> dict[str, int]:
    """How many problems there are of each kind, the most frequent first."""
    return dict(Counter(problem.kind for problem in problems).most_common())


def quoted(value: object) -> str:
    """A value from a file for a message: on one line, its control signs escaped, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def reason_of(error: Exception, path: Path) -> str:
    """Why a file cannot be read, on one line and without its own path: whatever PIL or the operating system raised."""
    said = _IN_MEMORY.sub("it", (getattr(error, "strerror", None) or str(error)).replace(str(path), "it"))
    reason = " ".join(said.split())
    return reason[:_LONGEST_REASON] or type(error).__name__


class BadEntry(Exception):
    """Raised by what checks one entry; whoever reads the file adds the file and the entry to it."""

    def __init__(self, what: str, kind: str) -> None:
        super().__init__(what)
        self.what, self.kind = what, kind
